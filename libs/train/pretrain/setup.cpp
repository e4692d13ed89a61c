#include "train/pretrain/setup.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/core/log.hpp"
#include "train/data/dataset_check.hpp"
#include "train/data/provenance.hpp"
#include "train/data/rated_cases.hpp"
#include "train/model/cuda_kernels.hpp"
#include "train/model/safetensors.hpp"
#include "train/pretrain/step_graph.hpp"
#include "train/run/device.hpp"
#include "train/run/run_directory.hpp"

namespace wsp::train {
namespace {

namespace fs = std::filesystem;

// What the kernels of the loss hold of an anchor: depth, where the method weighs by it, and
// continuous columns. Other losses than the contrastive one have no such limit.
void check_cuda_kernels(const TrainConfig& config, const torch::Device& device) {
  if (config.cuda_kernels != "on") return;
  const auto kernel = contrastive_kernel(config.method);
  const std::int64_t most = kMostCoordinates - (kernel && kernel->use_depth ? 1 : 0);
  const auto continuous = (config.continuous.empty() ? 0 : 1) +
                          std::count_if(config.kernel_columns.begin(), config.kernel_columns.end(),
                                        [](const std::string& column) {
                                          return parse_kernel_column(column).sigma.has_value();
                                        });
  if (kernel && continuous > most)
    throw Error(
        ErrorCode::usage,
        fmt::format("--cuda-kernels on takes {}at most {} continuous --kernel-column, found {}: "
                    "use --cuda-kernels off",
                    kernel->use_depth ? "the depth and " : "", most, continuous));
  require_cuda_kernels(device);
}

// What the device cannot do is refused before the dataset is read.
void prepare_device(const TrainConfig& config, const RunOptions& options,
                    const torch::Device& device) {
  if (config.loss_tile > 0 && !device.is_cpu() &&
      (config.method == "lexp" || config.method == "rnc"))
    throw Error(
        ErrorCode::usage,
        fmt::format(
            "--loss-tile {}: the loss of --method {} is whole matrices on a card; leave it out",
            config.loss_tile, config.method));
  check_cuda_kernels(config, device);
  check_step_graph(options.cuda_graph, config, device);
  prepare_precision(device, config.precision);
  if (device.is_cpu() && config.precision == "bf16")
    log::warn(
        "--precision bf16 on a CPU without instructions for it is many times slower than fp32");
  if (config.norm == "group" && config.encoder == "tinynet")
    log::warn("--norm group changes nothing: TinyNet has no normalisation layers");
  prepare_algorithms(device, config.deterministic);
  try_device(device);
}

TrainConfig resolve(TrainConfig config, const RunOptions& options, int ranks,
                    const torch::Device& device) {
  config.ranks = ranks;
  check_config(config);
  config.precision = resolve_precision(config.precision, device);
  prepare_device(config, options, device);
  const fs::path description = options.dataset / "dataset.json";
  if (!fs::is_regular_file(description))
    throw Error(ErrorCode::no_input, "no dataset at " + options.dataset.string() +
                                         ": expected the directory that wsp-ingest --out made");
  config.dataset_sha256 = hex(sha256_file(description));
  if (!options.init.empty()) {
    if (!fs::is_regular_file(options.init))
      throw Error(ErrorCode::usage,
                  "--init is '" + options.init.string() +
                      "', which is no file: expected encoder weights in safetensors, such as "
                      "encoder.safetensors of an earlier run");
    config.init_sha256 = hex(sha256_file(options.init));
  }
  return config;
}

void load_initial_weights(Encoder& encoder, const fs::path& init) {
  TensorFile file;
  try {
    file = read_tensor_file(init);
  } catch (const Error& e) {
    if (e.code() != ErrorCode::corrupt) throw;
    throw Error(
        ErrorCode::corrupt,
        fmt::format("--init {} is no sound safetensors file: expected encoder.safetensors of a "
                    "run, or torchvision's weights written by Python's "
                    "safetensors.torch.save_file ({})",
                    init.string(), e.what()));
  }
  const auto of_run = [](const auto& item) { return item.first.starts_with("model.encoder."); };
  if (std::any_of(file.tensors.begin(), file.tensors.end(), of_run))
    throw Error(ErrorCode::usage,
                fmt::format("--init {} is a checkpoint of a whole run: give encoder.safetensors or "
                            "encoder-best.safetensors of its run directory, or go on with --resume",
                            init.string()));
  load_encoder_weights(encoder, init);
}

std::unique_ptr<Method> build(const TrainConfig& config, const RunOptions& options,
                              const TrainingSet& set, const torch::Device& device) {
  EncoderOptions encoder_options;
  encoder_options.name = config.encoder;
  encoder_options.cuda_kernels = config.cuda_kernels == "on";
  encoder_options.norm = config.norm == "group" ? Norm::group : Norm::batch;
  torch::manual_seed(config.seed);
  auto encoder = make_encoder(encoder_options);
  if (config.image_size < encoder->smallest_image())
    throw Error(ErrorCode::usage,
                fmt::format("--image-size is {}: {} needs at least {}", config.image_size,
                            config.encoder, encoder->smallest_image()));
  if (!options.init.empty()) load_initial_weights(*encoder, options.init);
  MethodOptions m;
  m.name = config.method;
  m.kernel.shape = config.kernel == "laplacian" ? KernelShape::laplacian : KernelShape::rbf;
  m.kernel.sigma = config.sigma;
  m.kernel.normalisation =
      config.normalisation == "reference" ? Normalisation::reference : Normalisation::paper;
  m.temperature = config.temperature;
  m.momentum = config.momentum;
  m.barlow_lambda = config.barlow_lambda;
  m.loss_tile = config.loss_tile;
  if (config.cuda_kernels == "on")
    m.cuda_loss =
        config.precision == "fp32" ? ContrastivePrecision::exact : ContrastivePrecision::tensor;
  m.classes = set.classes;
  auto method = make_method(m, std::move(encoder));
  const KernelOptions& kernel = method->kernel();
  if (!config.kernel_columns.empty() && (kernel.own_view_only || config.method == "supervised"))
    throw Error(
        ErrorCode::usage,
        fmt::format(
            "--kernel-column {}: --method {} weighs no pairs by a kernel; leave the "
            "column out, or choose wsp, supcon, depth-aware, yaware, lexp or a kernel- method",
            config.kernel_columns.front(), config.method));
  method->to(device);
  // An image has one channel and is in both formats at once; the convolutions follow their weights.
  if (use_channels_last(config.channels_last, device, config.precision))
    make_channels_last(*method);
  return method;
}

std::set<std::int32_t> subjects_drawn(const TrainingSet& set) {
  std::set<std::int32_t> drawn;  // set.subjects also names those that are held back
  for (const TrainSlice& slice : set.slices) drawn.insert(slice.subject);
  return drawn;
}

std::optional<std::set<std::string>> everyone_trained_on(const TrainConfig& config,
                                                         const RunOptions& options,
                                                         const TrainingSet& set) {
  std::set<std::string> marks;
  if (config.method != "random")
    for (const std::int32_t s : subjects_drawn(set))
      marks.insert(subject_mark(set.subjects[static_cast<std::size_t>(s)]));
  if (options.init.empty()) return marks;
  const Provenance before = provenance_of(read_tensor_file(options.init).metadata, options.init);
  if (before.trained_on)
    marks.insert(before.trained_on->begin(), before.trained_on->end());
  else if (!before.dataset_sha256.empty() && before.method != "random")
    return std::nullopt;  // an earlier release's; foreign weights have seen no dataset of ours
  return marks;
}

const TrainConfig& take_ratings(TrainConfig& config, const RunOptions& options,
                                const DatasetReader& reader) {
  if (!options.exclude.empty())
    config.exclude = cases_rated_exclude(options.exclude, options.dataset, reader);
  return config;
}

}  // namespace

SelectOptions select_options(const TrainConfig& config) {
  SelectOptions o;
  o.label = config.label;
  for (const std::string& column : config.kernel_columns)
    o.columns.push_back(parse_kernel_column(column));
  if (!config.continuous.empty()) o.continuous = parse_kernel_column(config.continuous);
  o.depth = parse_depth_scale(config.depth_scale);
  o.include_flagged = config.include_flagged;
  o.include_unlabelled = config.include_unlabelled;
  o.splits = config.splits;
  o.subjects = config.subjects;
  o.exclude = config.exclude;
  o.positive = config.positive;
  o.hold_back = config.hold_back;
  return o;
}

SamplerOptions sampler_options(const TrainConfig& config) {
  SamplerOptions o;
  o.batch = config.batch;
  o.samples_per_epoch = config.samples_per_epoch;
  o.seed = config.seed;
  o.balanced = !is_continuous(config.method);  // y is no class
  return o;
}

TrainSetup::TrainSetup(TrainConfig wanted, const RunOptions& run_options, int ranks,
                       const torch::Device& run_device)
    : options(run_options),
      device(run_device),
      config(resolve(std::move(wanted), run_options, ranks, run_device)),
      reader(options.dataset),
      set(select_slices(reader, select_options(take_ratings(config, options, reader)))),
      sampler(set, sampler_options(config)) {
  check_dataset(reader, options.dataset, options.verify);
  method = build(config, options, set, device);
  trained_on = everyone_trained_on(config, options, set);
}

LoaderOptions TrainSetup::loader_options() const {
  LoaderOptions o;
  o.image_size = config.image_size;
  // On the CPU the networks want the cores, on CUDA nothing else does.
  o.workers = options.workers == 0 && device.is_cpu() ? 1 : options.workers;
  o.ring = options.ring;
  if (options.cache == "ram" || (options.cache == "device" && device.is_cpu()))
    o.cache = CacheMode::ram;
  else if (options.cache == "device")
    o.cache = CacheMode::device;
  else if (options.cache != "none")
    throw Error(ErrorCode::usage,
                "--cache is '" + options.cache + "': expected none, ram or device");
  for (const TrainSlice& slice : set.slices) o.cache_rows.push_back(slice.row);
  o.cache_limit_bytes = options.cache_limit_bytes;
  o.skip_corrupt = config.skip_corrupt;
  o.deadline_s = options.timeout_s;
  return o;
}

std::vector<std::string> TrainSetup::notes() const {
  std::int64_t trainable = 0;
  for (const torch::Tensor& p : method->parameters())
    if (p.requires_grad()) trainable += p.numel();
  std::vector<std::string> lines{
      fmt::format("{} with {}: {:.2f} million trainable parameters, representation {}",
                  config.method, config.encoder, static_cast<double>(trainable) / 1e6,
                  method->encoder().representation()),
      fmt::format("{} slices of {} subjects to draw from, {} slices held back for the probe",
                  set.slices.size(), subjects_drawn(set).size(), set.held_back.size())};
  if (!device.is_cpu())
    lines.push_back(fmt::format("computing in {} on {}", config.precision, device.str()));
  for (const std::string& line : set.left_out) lines.push_back("left out: " + line);
  if (!trained_on)
    lines.emplace_back(
        "the --init weights do not say on whom they were trained, so these will not either: "
        "wsp-eval probe can tell it only "
        "with --pretraining DATASET");
  if (config.norm == "batch" && (config.micro_batch > 0 || config.ranks > 1) &&
      config.encoder != "tinynet")
    lines.emplace_back(
        "batch normalisation takes its statistics over each micro-batch of each rank; --norm group "
        "has none and gives the gradient of the whole batch");
  if (const std::int64_t stored = reader.layout().height; config.image_size > stored)
    lines.push_back(fmt::format(
        "the dataset's slices of {0} x {0} are enlarged, which adds no detail and costs {1:.1f} "
        "times "
        "the work: --image-size {0} is what it holds",
        stored, std::pow(static_cast<double>(config.image_size) / static_cast<double>(stored), 2)));
  return lines;
}

std::vector<ViewParameters> batch_views(const TrainConfig& config, std::int64_t epoch,
                                        std::int64_t sample, std::int64_t m) {
  AugmentOptions o;
  o.probability = config.augment_probability;
  o.flip_x = config.flip_x;
  o.flip_y = config.flip_y;
  o.max_angle_deg = config.max_angle_deg;
  o.max_shift = config.max_shift;
  o.min_crop_area = config.min_crop_area;
  o.max_crop_area = config.max_crop_area;
  std::vector<ViewParameters> views;
  views.reserve(static_cast<std::size_t>(2 * m));
  for (const int view : {0, 1})
    for (std::int64_t i = 0; i < m; ++i)
      views.push_back(draw_view(o, config.seed, static_cast<std::uint64_t>(epoch),
                                static_cast<std::uint64_t>(sample + i), view));
  return views;
}

ViewDrawing view_drawing(const TrainConfig& config) {
  const bool kernel = config.cuda_kernels == "on";
  const bool bf16 = kernel && config.precision == "bf16";
  const bool fp16 = kernel && config.precision == "fp16";
  return {kernel, bf16 ? torch::kBFloat16 : fp16 ? torch::kHalf : torch::kFloat};
}

nlohmann::json run_facts(const TrainSetup& setup, const RankEnvironment& environment,
                         const torch::Device& device) {
  return {{"started", utc_now()},
          {"tool_version", WSP_VERSION},
          {"host_cores", std::thread::hardware_concurrency()},
          {"command", setup.options.command},
          {"device", device.str()},
          {"precision", setup.config.precision},
          {"threads", setup.options.threads},
          {"ranks", environment.ranks},
          {"launcher", environment.launcher},
          {"torch", TORCH_VERSION}};
}

}  // namespace wsp::train

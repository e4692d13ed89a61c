#include "train/unet/setup.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/core/json_text.hpp"
#include "io/manifest/manifest.hpp"
#include "train/data/dataset_check.hpp"
#include "train/data/rated_cases.hpp"
#include "train/run/device.hpp"
#include "train/run/distributed.hpp"
#include "train/unet/loss.hpp"

namespace wsp::train {
namespace {

UNetConfig resolve(UNetConfig config, const RunOptions& options, const DatasetReader& reader) {
  const DatasetLayout& layout = reader.layout();
  if (layout.width != layout.height)
    throw Error(ErrorCode::usage, fmt::format("the dataset's slices are {}x{}: expected squares",
                                              layout.width, layout.height));
  config.stored_size = layout.width;
  config.dataset_sha256 = hex(sha256_file(options.dataset / "dataset.json"));
  config.exclude = cases_rated_exclude(options.exclude, options.dataset, reader);
  check_config(config);
  if (const int ranks = rank_environment().ranks; ranks > 1)
    throw Error(ErrorCode::usage,
                fmt::format("wsp-unet trains in one process, found {} ranks: start "
                            "it without a launcher",
                            ranks));
  return config;
}

// What the device cannot do is refused before the dataset is read. Resolves the precision.
torch::Device ready_device(const RunOptions& options, std::string& precision) {
  const torch::Device device = choose_device(options.device, 0);
  precision = resolve_precision(precision, device);
  prepare_precision(device, precision);
  prepare_algorithms(device, false);
  try_device(device);
  return device;
}

std::shared_ptr<UNet> make_network(const UNetConfig& config, const torch::Device& device,
                                   std::shared_ptr<UNet> init) {
  torch::manual_seed(config.seed);
  auto net = init ? std::move(init) : std::make_shared<UNet>(network_options(config));
  net->to(device);
  if (use_channels_last(config.channels_last, device, config.precision)) make_channels_last(*net);
  return net;
}

// The network of --init, and what it saw.
struct InitialNetwork {
  std::shared_ptr<UNet> net;
  std::string sha256;  // of its weights' file
  std::optional<std::set<std::string>> trained_on;
};

[[noreturn]] void refuse_init(const std::filesystem::path& init, const std::string& why) {
  throw Error(ErrorCode::usage, "--init " + init.string() + " holds another network: " + why);
}

// That of a run, which must be the one that is asked for.
InitialNetwork network_of_run(const UNetConfig& config, const std::filesystem::path& init) {
  TrainedUNet found = load_trained_unet(init);
  const auto of = [](const UNetConfig& c) {
    return fmt::format("{} --width {} --depth {} --norm {}",
                       c.context_mm.empty()
                           ? fmt::format("--neighbours {}", c.neighbours)
                           : fmt::format("--context-mm {}", fmt::join(c.context_mm, ",")),
                       c.width, c.depth, c.norm);
  };
  if (of(found.config) != of(config))
    refuse_init(init, fmt::format("it wants {}, asked for is {}", of(found.config), of(config)));
  return {std::move(found.net), hex(sha256_file(found.file)), std::move(found.trained_on)};
}

// That of a model that export_unet() wrote. The descriptor says what the network takes, the
// weights' names and shapes say the rest. On whom it was trained neither says.
InitialNetwork network_of_model(const UNetConfig& config, const std::filesystem::path& init) {
  const ExportedUNet model = read_exported_unet("--init", init);
  nlohmann::json input = model.descriptor.at("input");
  input.erase("size");  // a network takes any
  if (const nlohmann::json wanted = described_input(config); input != wanted)
    refuse_init(init, "it takes " + json_text(input) + ", asked for is " + json_text(wanted));
  InitialNetwork found{std::make_shared<UNet>(network_options(config)),
                       model.descriptor.at("sha256").get<std::string>(),
                       {}};
  try {
    load_unet_torchscript(*found.net, model.bytes);
  } catch (const Error& e) {
    throw Error(e.code(),
                fmt::format("--init {} holds another network than --width {} --depth {} "
                            "--norm {}: {}",
                            init.string(), config.width, config.depth, config.norm, e.what()));
  }
  return found;
}

}  // namespace

UNetSetup::UNetSetup(UNetConfig wanted, const RunOptions& run_options)
    : options(run_options),
      device(ready_device(options, wanted.precision)),
      reader(options.dataset),
      config(resolve(std::move(wanted), options, reader)),
      set(select_volumes(reader, {config.splits, config.hold_back, config.exclude})),
      sampler(set.training,
              {config.batch, config.samples_per_epoch, config.liver_share, config.seed}) {
  check_dataset(reader, options.dataset, options.verify);
  trained_on = subject_marks(set.training);
  std::shared_ptr<UNet> init;
  if (!options.init.empty()) {
    InitialNetwork found = options.init.extension() == ".json"
                               ? network_of_model(config, options.init)
                               : network_of_run(config, options.init);
    config.init_sha256 = found.sha256;
    init = std::move(found.net);
    if (found.trained_on)
      trained_on->merge(*found.trained_on);
    else
      trained_on.reset();
  }
  net = make_network(config, device, std::move(init));
  steps_per_epoch = sampler.steps_per_epoch();
  total_batches = config.epochs * steps_per_epoch;
  if (config.max_steps > 0) total_batches = std::min(total_batches, config.max_steps);
}

LoaderOptions UNetSetup::loader_options() const {
  LoaderOptions o;
  o.image_size = config.image_size;
  // On the CPU the network wants the cores, on CUDA nothing else does.
  o.workers = options.workers == 0 && device.is_cpu() ? 1 : options.workers;
  o.ring = options.ring;
  if (options.cache != "none" && options.cache != "ram")
    throw Error(ErrorCode::usage, "--cache is '" + options.cache + "': expected none or ram");
  o.cache = options.cache == "ram" ? CacheMode::ram : CacheMode::none;
  for (const MaskedVolume& volume : set.training)
    for (std::int64_t i = 0; i < volume.count; ++i)
      o.cache_rows.push_back(volume.first_row + static_cast<std::uint32_t>(i));
  o.cache_limit_bytes = options.cache_limit_bytes;
  o.masks = true;
  o.deadline_s = options.timeout_s;
  return o;
}

std::vector<std::uint32_t> UNetSetup::rows_of(std::int64_t batch) const {
  if (batch >= total_batches) return {};
  const std::int64_t epoch = batch / steps_per_epoch, step = batch % steps_per_epoch;
  auto sample = static_cast<std::uint64_t>(step * config.batch);
  std::vector<std::uint32_t> rows;
  for (const DrawnSlice& drawn : sampler.batch(epoch, step)) {
    const MaskedVolume& volume = set.training[drawn.volume];
    const std::int64_t z = drawn.row - volume.first_row;
    for (const std::int64_t away :
         draw_context(context_offsets(config.neighbours, config.context_mm, volume.spacing_mm),
                      config, static_cast<std::uint64_t>(epoch), sample++))
      rows.push_back(volume.first_row + static_cast<std::uint32_t>(std::clamp<std::int64_t>(
                                            z + away, 0, volume.count - 1)));
  }
  return rows;
}

std::vector<std::string> UNetSetup::notes() const {
  std::int64_t weights = 0;
  for (const torch::Tensor& p : net->parameters()) weights += p.numel();
  std::size_t liver = 0, background = 0;
  for (const MaskedVolume& volume : set.training) {
    liver += volume.liver.size();
    background += volume.background.size();
  }
  std::vector<std::string> lines{
      fmt::format("U-Net of {:.2f} million parameters on {} slices of {}x{}",
                  static_cast<double>(weights) / 1e6, 2 * config.neighbours + 1, config.image_size,
                  config.image_size),
      fmt::format("{} volumes to train on ({} slices with liver, {} without), {} held back",
                  set.training.size(), liver, background, set.validation.size())};
  if (!device.is_cpu())
    lines.push_back(fmt::format("computing in {} on {}", config.precision, device.str()));
  for (const std::string& line : set.left_out) lines.push_back("left out: " + line);
  return lines;
}

TrainedBatch backward_pairs(const UNetSetup& setup, const DeviceBatch& batch) {
  const UNetConfig& config = setup.config;
  const std::int64_t channels = 2 * config.neighbours + 1, side = config.image_size;
  const auto epoch = static_cast<std::uint64_t>(batch.number / setup.steps_per_epoch);
  const std::int64_t first = batch.number % setup.steps_per_epoch * config.batch;
  std::vector<PairParameters> parameters;
  for (std::int64_t i = 0; i < config.batch; ++i)
    parameters.push_back(draw_pair(config, epoch, static_cast<std::uint64_t>(first + i)));
  const torch::Tensor images = network_intensity(batch.hu).view({-1, channels, side, side});
  const torch::Tensor masks = batch.masks.view({-1, channels, side, side})
                                  .narrow(1, config.neighbours, 1)
                                  .to(torch::kFloat);
  TrainedBatch result;
  result.pair = augment_pairs(images, masks, parameters, config.elastic_grid);
  {
    const Autocast autocast(setup.device, config.precision);
    const bool last = use_channels_last(config.channels_last, setup.device, config.precision);
    result.logits =
        setup.net->forward(last ? result.pair.images.contiguous(torch::MemoryFormat::ChannelsLast)
                                : result.pair.images);
  }
  const torch::Tensor loss =
      segmentation_loss(result.logits, result.pair.masks, config.dice_weight);
  loss.backward();
  result.loss = loss.detach();
  return result;
}

double validation_dice(const UNetSetup& setup) {
  const std::vector<MaskedVolume>& volumes = setup.set.validation;
  LoaderOptions options = setup.loader_options();
  options.cache = CacheMode::none;
  options.cache_rows.clear();
  std::vector<double> both(volumes.size()), sum(volumes.size());
  setup.net->eval();
  predict_volumes(setup.reader, volumes, std::move(options), *setup.net, setup.config, 1,
                  setup.config.batch, setup.device, "fp32", [&](const PredictedSlices& s) {
                    const torch::Tensor liver = s.probability > 0.5, truth = s.masks != 0;
                    both[s.volume] += (liver & truth).sum().item<double>();
                    sum[s.volume] += liver.sum().item<double>() + truth.sum().item<double>();
                  });
  setup.net->train();
  double dice = 0;
  for (std::size_t v = 0; v < both.size(); ++v) dice += sum[v] > 0 ? 2 * both[v] / sum[v] : 1;
  return dice / static_cast<double>(both.size());
}

}  // namespace wsp::train

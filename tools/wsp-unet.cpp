// wsp-unet: train a liver U-Net on a dataset with masks; export, judge and run it.
#include <fmt/format.h>
#include <malloc.h>

#include <cmath>
#include <iostream>
#include <limits>
#include <nlohmann/json.hpp>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/json_text.hpp"
#include "tool_main.hpp"
#include "train/unet/unet.hpp"
#include "training_options.hpp"
#include "wsp-unet-predict.hpp"
#ifdef WSP_WITH_MEDICAL
#include "preprocess/segment/builtin_model.hpp"
#endif

namespace {

using wsp::train::UNetConfig;

struct Options {
  UNetConfig config;
  wsp::train::RunOptions run;
  wsp::train::UNetExport exported;
  wsp::train::UNetEvaluate evaluated;
  double central_fraction = 0.7;
  wsp::PredictOptions predicted;
  std::filesystem::path evaluation_out;
  bool no_tensorboard = false, no_clean = false, evaluate_force = false;
  CLI::App *train = nullptr, *exporting = nullptr, *evaluate = nullptr, *predict = nullptr;
};

void declare_network(CLI::App& app, UNetConfig& c) {
  auto* network = app.add_option_group("Network");
  network
      ->add_option("--neighbours", c.neighbours,
                   "Slices on either side that the network also sees; 0: 2-D")
      ->capture_default_str();
  network
      ->add_option("--context-mm", c.context_mm,
                   "Instead: how many mm away these slices are, such as 6,16,40")
      ->delimiter(',')
      ->excludes("--neighbours");
  network
      ->add_option("--width", c.width,
                   "Channels of the first level, a multiple of 8; doubled at each next")
      ->capture_default_str();
  network->add_option("--depth", c.depth, "Times that the image is halved")->capture_default_str();
  network->add_option("--norm", c.norm, "batch or group")->capture_default_str();
  network
      ->add_option("--image-size", c.image_size,
                   "Side of the images that the network sees; divides the stored size")
      ->capture_default_str();
}

void declare_run(CLI::App& app, Options& o) {
  auto& r = o.run;
  app.add_option("DATASET", r.dataset, "Made with wsp-ingest --slices all --masks DIR")->required();
  app.add_option("--out", r.out, "Run directory to make")->required();
  auto* run = app.add_option_group("Run");
  run->add_option("--init", r.init,
                  "Network to start from: run directory, weights file, MODEL.json that wsp-unet "
                  "export wrote, or builtin (the ingest's)");
  run->add_flag("--resume", r.resume, "Go on where a run stopped");
  run->add_flag("--force", r.force, "Replace an earlier run");
  wsp::declare_running(*run, r);
  run->add_option("--validate-every", r.probe_every, "Epochs; 0: never")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  wsp::declare_patience(*run, r, "validations without a better one");
  run->add_flag("--no-tensorboard", o.no_tensorboard, "Write metrics.jsonl only");
}

void declare_data(CLI::App& app, Options& o) {
  auto& c = o.config;
  auto& r = o.run;
  auto* data = app.add_option_group("Data and sampling");
  wsp::declare_splits(*data, c);
  wsp::declare_exclude(*data, r.exclude);
  data->add_option("--hold-back", c.hold_back, "Part of the subjects kept for validation")
      ->capture_default_str();
  wsp::declare_reading(*data, r, {"none", "ram"});
  data->add_option("--batch", c.batch, "Slices per batch")->capture_default_str();
  wsp::declare_length(*data, c);
  data->add_option("--liver-share", c.liver_share, "Part of the drawn slices that hold liver")
      ->capture_default_str();
}

void declare_augmentation(CLI::App& app, UNetConfig& c) {
  auto* group = app.add_option_group("Augmentation");
  wsp::declare_affine(*group, c);
  group
      ->add_option("--cut-context", c.cut_context,
                   "Part of the slices for which the scan is taken to end within what the network "
                   "sees, above and below each for itself")
      ->capture_default_str();
  group->add_flag("--flip-x", c.flip_x, "Also mirror left and right (the liver has a side)");
  group->add_flag("--flip-y", c.flip_y, "Also mirror front and back");
  group
      ->add_option("--elastic", c.elastic,
                   "Standard deviation of the elastic displacement, part of the image; 0: none")
      ->capture_default_str();
  group->add_option("--elastic-grid", c.elastic_grid, "Its control points along a side")
      ->capture_default_str();
  group->add_option("--gain", c.gain, "Intensities in [0, 1]: largest change of the gain")
      ->capture_default_str();
  group->add_option("--offset", c.offset, "Largest offset")->capture_default_str();
  group->add_option("--gamma", c.gamma, "Largest logarithm of the exponent")->capture_default_str();
  group->add_option("--noise", c.noise, "Largest standard deviation of the noise")
      ->capture_default_str();
}

void declare_optimisation(CLI::App& app, UNetConfig& c) {
  auto* group = app.add_option_group("Optimisation (AdamW)");
  group->add_option("--lr", c.learning_rate, "Learning rate")->capture_default_str();
  group->add_option("--schedule", c.schedule, "Its decay to 0: poly or cosine")
      ->capture_default_str();
  wsp::declare_steps(*group, c);
  group->add_option("--dice-weight", c.dice_weight, "Of the Dice loss beside the cross-entropy")
      ->capture_default_str();
  c.precision = "auto";
  group
      ->add_option("--precision", c.precision,
                   "fp32, tf32, bf16 or auto: fp32 on the CPU; on a card bf16 where it has it, "
                   "else tf32")
      ->capture_default_str();
  group
      ->add_option("--channels-last", c.channels_last,
                   "auto (on CUDA in bf16), on or off: layout of the images in the network")
      ->capture_default_str();
}

void declare_export(CLI::App& app, wsp::train::UNetExport& e) {
  app.add_option("RUN", e.source, "Run directory (its best weights) or weights file")->required();
  app.add_option("--model", e.descriptor, "DIR/NAME.json to write; NAME.ts goes beside it")
      ->required();
  app.add_option("--with", e.with,
                 "MODEL.json of another network with the same input, which wsp-unet export wrote: "
                 "the model gives the mean of their probabilities")
      ->type_name("MODEL.json");
  app.add_option("--name", e.name, "The model's name")->capture_default_str();
  app.add_option("--model-version", e.model_version, "Its version")->capture_default_str();
  app.add_option("--comment", e.comment, "What it was trained on");
  app.add_flag("--onnx", e.onnx, "Write NAME.onnx instead, for ONNX Runtime");
  app.add_flag("--half", e.half, "Keep the weights in half precision: half the bytes");
  app.add_flag("--refine", e.refine,
               "Ask wsp-ingest to move the mask's border to where the HU say (docs/LIVER.md)");
  app.add_flag("--force", e.force, "Replace an earlier model");
}

void declare_evaluate(CLI::App& app, Options& o) {
  auto& e = o.evaluated;
  app.add_option("RUN", e.source, "Run directory (its best weights) or weights file")->required();
  app.add_option("DATASET", e.dataset, "Made with wsp-ingest --slices all --masks DIR")->required();
  app.add_option("--out", o.evaluation_out, "Directory for evaluation.json and evaluation.tsv");
  app.add_flag("--force", o.evaluate_force, "Replace an earlier evaluation");
  app.add_flag("--all", e.all, "Also volumes whose subjects the network was trained on");
  wsp::declare_exclude(app, e.exclude);
  app.add_flag("--no-clean", o.no_clean,
               "Compare masks before clean-up (largest component, holes filled)");
  app.add_option("--min-area-mm2", e.min_area_mm2, "Least liver of a slice of the extent, mm2")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  wsp::declare_earlier(app, "--min-area", "--min-area-mm2", e.min_area_mm2);
  app.add_option("--central-fraction", o.central_fraction,
                 "Part of the liver's extent that is kept")
      ->check(CLI::Range(0.001, 1.0))
      ->capture_default_str();
  app.add_option("--resamples", e.resamples, "Of the bootstrap")
      ->check(CLI::Range(0, 1000000))
      ->capture_default_str();
  app.add_option("--device", e.device, "auto, cpu, cuda or cuda:N")->capture_default_str();
  app.add_option("--precision", e.precision,
                 "auto (on a card what the network was trained in, on the CPU fp32), fp32, bf16 or "
                 "fp16 (on a card)")
      ->capture_default_str();
}

// Activations of many megabytes come and go at each step: given back to the system every time, they
// cost more in page faults than the small network computes.
void keep_freed_memory() {
  constexpr int kLargestKept = 32 << 20;  // the most that glibc takes
  ::mallopt(M_MMAP_THRESHOLD, kLargestKept);
  ::mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
}

// Where the network that comes with the tools lies.
std::filesystem::path builtin_model() {
#ifdef WSP_WITH_MEDICAL
  if (const auto found = wsp::builtin_liver_model()) return *found;
#endif
  throw wsp::Error(wsp::ErrorCode::no_input,
                   "--init builtin: no liver network came with this program: give its MODEL.json");
}

int train(Options& o, const wsp::CommonOptions& common) {
  if (o.run.init == "builtin") o.run.init = builtin_model();
  o.config.seed = common.seed;
  if (!o.config.context_mm.empty()) o.config.neighbours = std::ssize(o.config.context_mm);
  o.run.threads = common.threads;
  o.run.may_extend = true;
  o.run.tensorboard = !o.no_tensorboard;
  const auto s = wsp::train::train_unet(o.config, o.run);
  if (common.json) {
    std::cout << wsp::json_text(nlohmann::json{{"steps", s.steps},
                                               {"epochs", s.epochs},
                                               {"first_loss", s.first_loss},
                                               {"last_loss", s.last_loss},
                                               {"best_dice", s.best_dice},
                                               {"last_dice", s.last_dice},
                                               {"slices_per_s", s.slices_per_s},
                                               {"wait_share", s.wait_share},
                                               {"stopped_early", s.stopped_early},
                                               {"weights", s.weights.string()}})
              << "\n";
    return 0;
  }
  wsp::print_loss(s.first_loss, s.last_loss, s.steps);
  if (s.best_dice >= 0) fmt::print("validation  mean Dice {:.4f} at best\n", s.best_dice);
  wsp::print_speed(s.slices_per_s, s.wait_share);
  fmt::print("weights     {}\n", s.weights.string());
  return 0;
}

int export_model(const Options& o, const wsp::CommonOptions& common) {
  const auto descriptor = wsp::train::export_unet(o.exported);
  if (common.json)
    std::cout << wsp::json_text(descriptor) << "\n";
  else
    fmt::print(
        "model       {}\n{} {}, SHA-256 {}\n", o.exported.descriptor.string(),
        o.exported.onnx ? "ONNX       " : "TorchScript",
        (o.exported.descriptor.parent_path() / descriptor["file"].get<std::string>()).string(),
        descriptor["sha256"].get<std::string>());
  return 0;
}

void print_table(const nlohmann::json& result) {
  const auto cell = [](const nlohmann::json& value, const char* format) {
    return value.is_null() ? std::string("-")
                           : fmt::format(fmt::runtime(format), value.get<double>());
  };
  fmt::print("{:<24} {:>7} {:>7} {:>8} {:>8} {:>8} {:>6} {:>6} {:>8}\n", "case", "Dice", "IoU",
             "volume", "HD95 mm", "ASSD mm", "first", "last", "kept IoU");
  for (const auto& c : result["cases"])
    fmt::print("{:<24} {:>7} {:>7} {:>8} {:>8} {:>8} {:>6} {:>6} {:>8}\n",
               c["case"].get<std::string>(), cell(c["dice"], "{:.4f}"), cell(c["iou"], "{:.4f}"),
               cell(c["volume_error"], "{:+.3f}"), cell(c["hd95_mm"], "{:.2f}"),
               cell(c["assd_mm"], "{:.2f}"), cell(c["first_off"], "{:+.0f}"),
               cell(c["last_off"], "{:+.0f}"), cell(c["kept_iou"], "{:.4f}"));
  fmt::print("\nmean of {} volumes ({}), 95 % bootstrap interval over subjects\n",
             result["volumes"].get<int>(), result["part"].get<std::string>());
  if (const auto& seen = result["trained_on"]; seen.is_null())
    fmt::print(
        "  the weights do not say on whom they were trained: some of these volumes may have been "
        "seen\n");
  else if (seen.get<int>() > 0)
    fmt::print("  the network was trained on the subjects of {} of them: this flatters it\n",
               seen.get<int>());
  if (const int left = result["left_out"].get<int>(); left > 0)
    fmt::print("  {} volumes of subjects trained on are left out\n", left);
  for (const auto& [name, m] : result["mean"].items())
    fmt::print("  {:<16} {:>9}  [{}, {}]\n", name, cell(m["mean"], "{:.4f}"),
               cell(m["low"], "{:.4f}"), cell(m["high"], "{:.4f}"));
}

int evaluate(Options& o, const wsp::CommonOptions& common) {
  const auto json_file = o.evaluation_out / "evaluation.json",
             tsv_file = o.evaluation_out / "evaluation.tsv";
  const bool write = !o.evaluation_out.empty();
  for (const auto& path : {json_file, tsv_file})
    if (write && !o.evaluate_force && std::filesystem::exists(path))
      throw wsp::Error(wsp::ErrorCode::output,
                       path.string() + " exists: give another --out, or replace it with --force");
  o.evaluated.threads = common.threads;
  o.evaluated.seed = common.seed;
  o.evaluated.clean = !o.no_clean;
  o.evaluated.central_permille = std::lround(o.central_fraction * 1000);
  const auto evaluation = wsp::train::evaluate_unet(o.evaluated);
  const auto result = wsp::train::evaluation_json(evaluation, o.evaluated);
  if (write) {
    std::error_code code;
    std::filesystem::create_directories(o.evaluation_out, code);
    if (code)
      throw wsp::Error(wsp::ErrorCode::output,
                       "cannot make " + o.evaluation_out.string() + ": " + code.message());
    wsp::write_file_atomic(tsv_file, wsp::train::evaluation_tsv(evaluation));
    wsp::write_file_atomic(json_file, wsp::json_text(result, 1) + "\n");
  }
  if (common.json)
    std::cout << wsp::json_text(result) << "\n";
  else
    print_table(result);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  o.run.verify = false;
  wsp::Tool tool;
  tool.name = "wsp-unet";
  tool.recorded = wsp::train::recorded_unet;
  tool.description =
      "Train a liver U-Net on a dataset with masks; export it for wsp-ingest, judge it, run it";
  tool.footer =
      "Examples:\n"
      "  wsp-ingest scans --out liver-data --slices all --masks liver-masks --ids keep\n"
      "  wsp-unet train liver-data --out unet\n"
      "  wsp-unet evaluate unet liver-data --out unet-scores\n"
      "  wsp-unet export unet --model models/liver.json    then: wsp-ingest ... --liver-model "
      "models/liver.json\n"
      "  wsp-unet predict unet scan.nii.gz --out masks\n"
      "Watch it: tensorboard --logdir unet/tensorboard. Stop it: Ctrl-C or SIGTERM; go on with "
      "--resume.";
  for (int i = 0; i < argc; ++i) o.run.command += (i > 0 ? " " : "") + std::string(argv[i]);
  tool.declare = [&](CLI::App& app) {
    o.train = app.add_subcommand("train", "Train a network, or go on");
    declare_run(*o.train, o);
    declare_network(*o.train, o.config);
    declare_data(*o.train, o);
    declare_augmentation(*o.train, o.config);
    declare_optimisation(*o.train, o.config);
    o.exporting = app.add_subcommand(
        "export", "Write TorchScript or ONNX and its descriptor, for wsp-ingest --liver-model");
    declare_export(*o.exporting, o.exported);
    o.evaluate =
        app.add_subcommand("evaluate", "Compare predicted with given masks, volume by volume");
    declare_evaluate(*o.evaluate, o);
    o.predict =
        app.add_subcommand("predict", "Write liver masks of NIfTI or NRRD volumes as NIfTI");
    wsp::declare_predict(*o.predict, o.predicted);
    app.require_subcommand(1);
  };
  tool.run = [&](const wsp::CommonOptions& common) {
    keep_freed_memory();
    if (o.train->parsed()) return train(o, common);
    if (o.exporting->parsed()) return export_model(o, common);
    if (o.evaluate->parsed()) return evaluate(o, common);
    return wsp::predict(o.predicted, common);
  };
  return wsp::tool_main(argc, argv, tool);
}

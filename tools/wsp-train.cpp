// wsp-train: pretrain an encoder of CT slices on a dataset of HDF5 shards.
#include <fmt/format.h>

#include <iostream>
#include <nlohmann/json.hpp>

#include "io/core/error.hpp"
#include "io/core/json_text.hpp"
#include "tool_main.hpp"
#include "train/model/catalogue.hpp"
#include "train/pretrain/train.hpp"
#include "training_options.hpp"

namespace {

using wsp::train::RunOptions;
using wsp::train::TrainConfig;

struct Options {
  TrainConfig config;
  RunOptions run;
  std::string preset = "paper", cache_limit;
  bool no_flips = false, no_tensorboard = false;
  CLI::App *train = nullptr, *redraw = nullptr;
  std::filesystem::path redraw_run, redraw_out;
  std::int64_t epoch = 0, step = 0;
};

void declare_directory(CLI::App& app, Options& o) {
  TrainConfig& c = o.config;
  RunOptions& r = o.run;
  auto* run = app.add_option_group("Run");
  run->add_option("--out", r.out, "Run directory: weights, checkpoints, metrics (required)");
  run->add_flag("--resume", r.resume,
                "Go on from the newest whole checkpoint of --out; with more --epochs or "
                "--max-steps also beyond its end");
  run->add_flag("--force", r.force, "Start again over an earlier run in --out")
      ->excludes("--resume");
  run->add_option("--init", r.init,
                  "Encoder weights to start from (safetensors; torchvision's names fit)");
  c.precision = "auto";
  run->add_option(
         "--precision", c.precision,
         "fp32, tf32, bf16, fp16 or auto: fp32 on the CPU; on a card bf16 where it has it, "
         "else tf32")
      ->capture_default_str();
  run->add_option("--channels-last", c.channels_last,
                  "auto (on CUDA in bf16 or fp16), on or off: layout of the images in the networks")
      ->capture_default_str();
  run->add_flag("--deterministic", c.deterministic,
                "The same bits again on the same card, slower; on the CPU always so");
  run->add_option("--cuda-kernels", c.cuda_kernels,
                  "on: views, contrastive loss and TinyNet's pooling by our own CUDA kernels, "
                  "which have not yet run on a card: "
                  "they are tested on the host only. off: by LibTorch")
      ->capture_default_str();
  run->add_option("--cuda-graph", r.cuda_graph,
                  "on: forward, loss and backward of a step as one CUDA graph, which has not yet "
                  "run on a card")
      ->capture_default_str();
  wsp::declare_running(*run, r);
  run->add_flag("--no-tensorboard", o.no_tensorboard, "Write no TensorBoard files");
  run->add_option("--timeout", r.timeout_s, "Seconds before a silent rank or disk is an error")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
}

void declare_method(CLI::App& app, Options& o) {
  TrainConfig& c = o.config;
  auto* method = app.add_option_group("Method");
  method
      ->add_option("--method", c.method,
                   "What pulls slices together: " + wsp::train::methods_text())
      ->capture_default_str();
  method->add_option("--encoder", c.encoder, wsp::train::encoders_text())->capture_default_str();
  method->add_option("--norm", c.norm, "batch or group: ResNet's normalisation")
      ->capture_default_str();
  method
      ->add_option("--temperature", c.temperature,
                   "tau of the contrastive losses; of rnc 2 where none is given")
      ->capture_default_str();
  method->add_option("--sigma", c.sigma, "Width of the depth kernel, on depths from 0 to 1")
      ->capture_default_str();
  method->add_option("--kernel", c.kernel, "rbf or laplacian")->capture_default_str();
  method
      ->add_option("--normalisation", c.normalisation,
                   "paper, or reference: what the published code computes")
      ->capture_default_str();
  method
      ->add_option(
          "--kernel-column", c.kernel_columns,
          "Further column of the kernel: NAME (equal) or NAME:SIGMA (Gaussian); repeatable")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  method->add_option("--continuous", c.continuous,
                     "Label that yaware, lexp (NAME:SIGMA, the Gaussian's width in its unit) and "
                     "rnc (NAME) learn from");
  method->add_option("--momentum", c.momentum, "BYOL: first value of the target's momentum")
      ->capture_default_str();
  method->add_option("--barlow-lambda", c.barlow_lambda, "Barlow Twins: weight of the off-diagonal")
      ->capture_default_str();
}

void declare_data(CLI::App& app, Options& o) {
  TrainConfig& c = o.config;
  RunOptions& r = o.run;
  auto* data = app.add_option_group("Data");
  data->add_option("--label", c.label, "Label column that is y")->capture_default_str();
  data->add_option("--depth", c.depth_scale, "kept, liver or volume: over what depth is 0 to 1")
      ->capture_default_str();
  data->add_option("--image-size", c.image_size, "Side of the images that the network sees")
      ->capture_default_str();
  data->add_flag("--include-flagged", c.include_flagged,
                 "Also cases with a truncated liver or doubtful depth");
  data->add_flag("--include-unlabelled", c.include_unlabelled, "Also slices without a label");
  wsp::declare_exclude(*data, r.exclude);
  wsp::declare_splits(*data, c);
  data->add_option("--hold-back", c.hold_back, "Part of the subjects kept for the online probe")
      ->capture_default_str();
  data->add_flag("--skip-corrupt", c.skip_corrupt,
                 "Replace and count damaged slices instead of stopping");
  wsp::declare_reading(*data, r, {"none", "ram", "device"});
}

void declare_sampling(CLI::App& app, Options& o) {
  TrainConfig& c = o.config;
  auto* sampling = app.add_option_group("Sampling and augmentation");
  sampling->add_option("--batch", c.batch, "Slices per batch, over all ranks")
      ->capture_default_str();
  wsp::declare_length(*sampling, c);
  wsp::declare_affine(*sampling, c);
  sampling->add_option("--max-crop-area", c.max_crop_area, "Largest crop, part of the area")
      ->capture_default_str();
  sampling->add_flag("--no-flips", o.no_flips, "Do not mirror");
}

void declare_optimisation(CLI::App& app, Options& o) {
  TrainConfig& c = o.config;
  auto* optimisation = app.add_option_group("Optimisation");
  optimisation
      ->add_option("--preset", o.preset,
                   "Defaults: paper, or published (the published code's own: lr and decay 1e-5, "
                   "sigma 0.85, normalisation reference)")
      ->capture_default_str();
  optimisation->add_option("--optimizer", c.optimizer, "adam, adamw, lars or sgd")
      ->capture_default_str();
  optimisation->add_option("--lr", c.learning_rate, "Learning rate; cosine decay to 0")
      ->capture_default_str();
  wsp::declare_steps(*optimisation, c);
  optimisation->add_option("--accumulate", c.accumulate, "Batches per optimizer step")
      ->capture_default_str();
  optimisation
      ->add_option(
          "--micro-batch", c.micro_batch,
          "Slices embedded at once: the gradient of the whole batch in less memory; 0: all")
      ->capture_default_str();
  optimisation
      ->add_option("--loss-tile", c.loss_tile,
                   "Anchors per tile of the contrastive loss; 0: one matrix")
      ->capture_default_str();
}

void declare_probe(CLI::App& app, Options& o) {
  RunOptions& r = o.run;
  auto* probe = app.add_option_group("Online probe");
  probe->add_option("--probe-every", r.probe_every, "Epochs; 0: never")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  probe->add_option("--probe-label", r.probe_label, "Label column to predict (default: --label)");
  wsp::declare_patience(*probe, r, "epochs without a better probe");
}

void declare_run(CLI::App& app, Options& o) {
  app.add_option("DATASET", o.run.dataset, "Dataset directory that wsp-ingest made");
  declare_directory(app, o);
  declare_method(app, o);
  declare_data(app, o);
  declare_sampling(app, o);
  declare_optimisation(app, o);
  declare_probe(app, o);
}

void declare(CLI::App& app, Options& o) {
  o.train = app.add_subcommand("run", "Train an encoder, or go on with one");
  declare_run(*o.train, o);
  o.redraw =
      app.add_subcommand("redraw", "Draw again the slices and views that a step of a run saw");
  o.redraw->add_option("RUN", o.redraw_run, "Run directory")->required();
  o.redraw->add_option("--dataset", o.run.dataset, "Its dataset")->required();
  o.redraw->add_option("--epoch", o.epoch, "From 0")->required();
  o.redraw->add_option("--step", o.step, "Step within the epoch, from 0")->required();
  o.redraw->add_option("--out", o.redraw_out, "Directory for views.png and views.json");
  wsp::declare_earlier(*o.redraw, "--sheet", "--out", o.redraw_out);
  app.require_subcommand(1);
}

// A preset gives the defaults; what was asked for wins.
void apply_preset(const CLI::App& app, Options& o) {
  const TrainConfig defaults = wsp::train::preset(o.preset, o.config.method);
  const auto fill = [&](const char* option, auto& field, const auto& value) {
    if (app.get_option(option)->count() == 0) field = value;
  };
  fill("--lr", o.config.learning_rate, defaults.learning_rate);
  fill("--weight-decay", o.config.weight_decay, defaults.weight_decay);
  fill("--temperature", o.config.temperature, defaults.temperature);
  fill("--sigma", o.config.sigma, defaults.sigma);
  fill("--normalisation", o.config.normalisation, defaults.normalisation);
}

int report(const wsp::train::TrainSummary& s, const Options& o, bool json) {
  if (s.rank != 0) return 0;
  if (json) {
    std::cout << wsp::json_text(nlohmann::json{{"steps", s.steps},
                                               {"epochs", s.epochs},
                                               {"first_loss", s.first_loss},
                                               {"last_loss", s.last_loss},
                                               {"first_probe", s.first_probe},
                                               {"last_probe", s.last_probe},
                                               {"best_probe", s.best_probe},
                                               {"slices_per_s", s.slices_per_s},
                                               {"wait_share", s.wait_share},
                                               {"corrupt_slices", s.corrupt_slices},
                                               {"stopped_early", s.stopped_early},
                                               {"weights", s.weights.string()}})
              << "\n";
    return 0;
  }
  if (o.config.method != "random") {
    wsp::print_loss(s.first_loss, s.last_loss, s.steps);
    if (s.best_probe >= 0)
      fmt::print(
          "probe       {:.3f} before training, {:.3f} at the end, {:.3f} at best (balanced "
          "accuracy by held-back subject)\n",
          s.first_probe, s.last_probe, s.best_probe);
    wsp::print_speed(s.slices_per_s, s.wait_share);
    if (s.corrupt_slices > 0) fmt::print("corrupt     {} slices replaced\n", s.corrupt_slices);
    fmt::print("metrics     {}\n", (o.run.out / "metrics.jsonl").string());
    if (std::filesystem::exists(o.run.out / "tensorboard"))
      fmt::print("tensorboard --logdir {}\n", (o.run.out / "tensorboard").string());
  }
  fmt::print("weights     {}\n", s.weights.string());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  wsp::Tool tool;
  tool.name = "wsp-train";
  tool.usual_verb = "run";
  tool.recorded = wsp::train::recorded_training;
  tool.description =
      "Pretrain an encoder of CT slices by weakly-supervised positional contrastive learning";
  tool.footer =
      "wsp-train DATASET ... is wsp-train run DATASET ...\n\n"
      "Examples:\n"
      "  wsp-train dataset --out run --encoder resnet18 --image-size 256\n"
      "  wsp-train dataset --out run --encoder resnet18 --image-size 256 --resume\n"
      "  wsp-train dataset --out run --encoder resnet18 --image-size 256 --resume --epochs 80\n"
      "  mpirun -np 4 -x MASTER_ADDR=127.0.0.1 wsp-train dataset --out run\n"
      "Watch it: tensorboard --logdir run/tensorboard. Stop it: Ctrl-C or SIGTERM; go on with "
      "--resume.";
  tool.declare = [&](CLI::App& app) {
    o.run.verify = false;
    declare(app, o);
  };
  for (int i = 0; i < argc; ++i) o.run.command += (i > 0 ? " " : "") + std::string(argv[i]);
  tool.run = [&](const wsp::CommonOptions& common) {
    if (o.redraw->parsed()) {
      if (o.redraw_out.empty())
        throw wsp::Error(wsp::ErrorCode::usage,
                         "--out is required: the directory for views.png and views.json");
      wsp::train::redraw_views(o.redraw_run, o.run.dataset, o.epoch, o.step, o.redraw_out);
      std::cout << (o.redraw_out / "views.png").string() << "\n";
      return 0;
    }
    if (o.run.dataset.empty() || o.run.out.empty())
      throw wsp::Error(wsp::ErrorCode::usage,
                       "expected wsp-train DATASET --out RUN; see wsp-train --help");
    apply_preset(*o.train, o);
    o.config.flip_x = o.config.flip_y = !o.no_flips;
    o.run.tensorboard = !o.no_tensorboard;
    o.config.seed = common.seed;
    o.run.threads = common.threads;
    o.run.may_extend = true;
    return report(wsp::train::train(o.config, o.run), o, common.json);
  };
  return wsp::tool_main(argc, argv, tool);
}

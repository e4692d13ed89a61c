// A training step without the loader: views from int16, forward, WSP loss, backward, gradient norm,
// Adam, as the trainer does it on the device. Prints a line: ours, milliseconds, CPU milliseconds
// per step; or JSON, with the peak of memory.
#include <fmt/format.h>
#include <sys/resource.h>
#include <tbb/global_control.h>
#include <torch/torch.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "card.hpp"
#include "timer.hpp"
#include "train/model/cuda_kernels.hpp"
#include "train/pretrain/config.hpp"
#include "train/pretrain/step_graph.hpp"
#include "train/run/device.hpp"
#include "whole_step.hpp"

namespace {

using namespace wsp;
using namespace wsp::train;

struct Options : wsp::bench::StepChoices {
  int threads = 2;
  int steps = 10;
  int warm_up = 3;
  bool parts = false;
  std::string device = "cpu";
  std::int64_t compare_micro_batch = 0;
  double memory_limit_gb = 0;
  bool deterministic = false, json = false;
};

using wsp::bench::median;
using wsp::bench::seconds;
using wsp::bench::WholeStep;

double cpu_seconds() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const auto of = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return of(used.ru_utime) + of(used.ru_stime);
}

// The gradient of a batch by two sizes of micro-batch: the largest difference, relative to its
// norm.
double gradient_difference(WholeStep& bench, const Options& o) {
  bench.parameters.zero_gradients();
  (void)bench.gradient(0, o.micro_batch);
  const torch::Tensor one = bench.parameters.gradients().clone();
  bench.parameters.zero_gradients();
  (void)bench.gradient(0, o.compare_micro_batch);
  return ((bench.parameters.gradients() - one).norm() / one.norm()).item<double>();
}

int run(const Options& o) {
  const tbb::global_control limit(tbb::global_control::max_allowed_parallelism,
                                  static_cast<std::size_t>(o.threads));
  at::set_num_threads(o.threads);
  const torch::Device device = choose_device(o.device, 0);
  prepare_precision(device, o.precision);
  prepare_algorithms(device, o.deterministic);
  try_device(device);
  if (o.cuda_kernels) require_cuda_kernels(device);
  if (o.cuda_graph) {
    TrainConfig config;
    config.batch = o.batch;
    config.micro_batch = o.micro_batch;
    config.precision = o.precision;
    check_step_graph("on", config, device);
  }
  const int card = device.is_cuda() ? device.index() : wsp::bench::kNoCard;
  if (o.memory_limit_gb > 0)
    wsp::bench::limit_memory(card, static_cast<std::int64_t>(o.memory_limit_gb * 1e9));
  WholeStep bench(o, device);
  std::vector<double> total, gradient, update;
  double cpu = 0, began = 0;
  for (int step = -o.warm_up; step < o.steps; ++step) {
    if (step == 0) {
      wsp::bench::wait_for_card(card);
      wsp::bench::reset_peak(card);
      cpu = cpu_seconds();
      began = seconds();
    }
    const double begin = seconds();
    const StepResult result = bench.gradient(step + o.warm_up, o.micro_batch);
    const double backward_at = seconds();
    bench.update(result);
    const double end = seconds();
    if (step < 0) continue;
    total.push_back(1000 * (end - begin));
    gradient.push_back(1000 * (backward_at - begin));
    update.push_back(1000 * (end - backward_at));
  }
  wsp::bench::wait_for_card(card);
  // On a card only the whole row of steps has a time: the host runs ahead.
  const double ms = device.is_cuda() ? 1000 * (seconds() - began) / o.steps : median(total);
  const double cpu_ms = 1000 * (cpu_seconds() - cpu) / o.steps;
  const double loss = bench.last_loss();
  if (o.json) {
    nlohmann::json found{{"ms", ms}, {"cpu_ms", cpu_ms}, {"loss", loss}};
    if (const auto peak = wsp::bench::peak_bytes(card))
      found["peak_MiB"] = static_cast<double>(*peak) / 1048576;
    if (o.compare_micro_batch > 0) found["gradient_difference"] = gradient_difference(bench, o);
    fmt::print("{}\n", found.dump());
    return 0;
  }
  fmt::print("ours {:.2f} {:.2f} loss {:.4f}\n", ms, cpu_ms, loss);
  if (o.parts)
    fmt::print("views and gradient {:.2f} update {:.2f}\n", median(gradient), median(update));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  CLI::App app("Times a training step");
  app.add_option("--encoder", o.encoder, "tinynet or resnet18")->capture_default_str();
  app.add_option("--threads", o.threads, "Threads of every kind")->capture_default_str();
  app.add_option("--batch", o.batch, "Slices, two views each")->capture_default_str();
  app.add_option("--size", o.size, "Side of the images")->capture_default_str();
  app.add_option("--steps", o.steps, "Steps that are timed")->capture_default_str();
  app.add_option("--warm-up", o.warm_up, "Steps before them")->capture_default_str();
  app.add_flag("--parts", o.parts, "Also the time of each part");
  app.add_option("--device", o.device, "cpu, cuda or cuda:N")->capture_default_str();
  app.add_option("--precision", o.precision, "fp32, tf32, bf16 or fp16")->capture_default_str();
  app.add_option("--channels-last", o.channels_last, "auto, on or off")->capture_default_str();
  app.add_option("--norm", o.norm, "batch or group")->capture_default_str();
  app.add_option("--micro-batch", o.micro_batch, "Slices embedded at once; 0: all")
      ->capture_default_str();
  app.add_option("--loss-tile", o.loss_tile, "Anchors per tile of the loss; 0: one matrix")
      ->capture_default_str();
  app.add_option("--compare-micro-batch", o.compare_micro_batch,
                 "Also compare the gradient by this micro-batch (JSON)");
  app.add_option("--memory-limit-gb", o.memory_limit_gb, "Let LibTorch take no more of the card");
  app.add_flag("--deterministic", o.deterministic, "As wsp-train's");
  app.add_flag("--cuda-kernels", o.cuda_kernels, "As wsp-train's");
  app.add_flag("--cuda-graph", o.cuda_graph, "As wsp-train's");
  app.add_flag("--json", o.json, "Print one JSON object");
  CLI11_PARSE(app, argc, argv);
  try {
    return run(o);
  } catch (const std::exception& e) {
    fmt::print(stderr, "train_step_bench: {}\n", readable_error(e).what());
    return 1;
  }
}

// A training step on the CPU without the loader: views from int16, forward, WSP loss, backward,
// gradient norm, Adam. Prints a line: ours, median milliseconds, CPU milliseconds per step.
#include <fmt/format.h>
#include <sys/resource.h>
#include <tbb/global_control.h>
#include <torch/torch.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>

#include "train/engine/optimizer.hpp"
#include "train/engine/step.hpp"
#include "train/engine/views.hpp"

namespace {

using namespace wsp::train;

struct Options {
  std::string encoder = "tinynet";
  int threads = 2;
  std::int64_t batch = 16;
  std::int64_t size = 160;
  int steps = 10;
  int warm_up = 3;
  bool parts = false;
};

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double cpu_seconds() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const auto of = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return of(used.ru_utime) + of(used.ru_stime);
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return (values[(values.size() - 1) / 2] + values[values.size() / 2]) / 2;
}

int run(const Options& o) {
  const tbb::global_control limit(tbb::global_control::max_allowed_parallelism,
                                  static_cast<std::size_t>(o.threads));
  at::set_num_threads(o.threads);
  torch::manual_seed(1);
  EncoderOptions encoder;
  encoder.name = o.encoder;
  const auto method = make_method({}, make_encoder(encoder));
  method->train();
  FlatParameters parameters(*method);
  Optimizer optimizer(parameters, {});
  GradScaler scaler(false);
  Ranks ranks({}, torch::kCPU, 60);
  const torch::Tensor hu = torch::randint(-100, 401, {o.batch, o.size, o.size}, torch::kShort);
  Targets targets;
  targets.label = torch::arange(o.batch, torch::kLong).remainder(4);
  targets.depth = torch::rand({o.batch}, torch::kDouble);

  std::vector<double> total, augmentation, gradient, update;
  double loss = 0;
  double cpu = 0;
  for (int step = -o.warm_up; step < o.steps; ++step) {
    if (step == 0) cpu = cpu_seconds();
    const double begin = seconds();
    std::vector<ViewParameters> drawn;
    for (int view = 0; view < 2; ++view)
      for (std::int64_t i = 0; i < o.batch; ++i)
        drawn.push_back(draw_view(
            {}, 1, 0, static_cast<std::uint64_t>((step + o.warm_up) * o.batch + i), view));
    const torch::Tensor views = draw_views(hu, drawn);
    const double drawn_at = seconds();
    const StepResult result = backward_batch(*method, views, targets, {}, scaler, ranks);
    const double backward_at = seconds();
    const double norm = parameters.gradient_norm().item<double>();
    if (std::isfinite(norm)) optimizer.step(1e-4);
    parameters.zero_gradients();
    loss = result.loss.item<double>();
    const double end = seconds();
    if (step < 0) continue;
    total.push_back(1000 * (end - begin));
    augmentation.push_back(1000 * (drawn_at - begin));
    gradient.push_back(1000 * (backward_at - drawn_at));
    update.push_back(1000 * (end - backward_at));
  }
  fmt::print("ours {:.2f} {:.2f} loss {:.4f}\n", median(total),
             1000 * (cpu_seconds() - cpu) / o.steps, loss);
  if (o.parts)
    fmt::print("views {:.2f} gradient {:.2f} update {:.2f}\n", median(augmentation),
               median(gradient), median(update));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  CLI::App app("Times a training step on the CPU");
  app.add_option("--encoder", o.encoder, "tinynet or resnet18")->capture_default_str();
  app.add_option("--threads", o.threads, "Threads of every kind")->capture_default_str();
  app.add_option("--batch", o.batch, "Slices, two views each")->capture_default_str();
  app.add_option("--size", o.size, "Side of the images")->capture_default_str();
  app.add_option("--steps", o.steps, "Steps that are timed")->capture_default_str();
  app.add_option("--warm-up", o.warm_up, "Steps before them")->capture_default_str();
  app.add_flag("--parts", o.parts, "Also the time of each part");
  CLI11_PARSE(app, argc, argv);
  return run(o);
}

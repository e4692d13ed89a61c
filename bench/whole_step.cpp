#include "whole_step.hpp"

#include <cmath>

#include "train/pretrain/setup.hpp"
#include "train/run/device.hpp"

namespace wsp::bench {
namespace {

using namespace wsp::train;

std::unique_ptr<Method> networks(const StepChoices& how, const torch::Device& device) {
  torch::manual_seed(1);
  EncoderOptions encoder;
  encoder.name = how.encoder;
  encoder.norm = how.norm == "group" ? Norm::group : Norm::batch;
  encoder.cuda_kernels = how.cuda_kernels;
  MethodOptions options;
  options.loss_tile = how.loss_tile;
  if (how.cuda_kernels)
    options.cuda_loss =
        how.precision == "fp32" ? ContrastivePrecision::exact : ContrastivePrecision::tensor;
  auto method = make_method(options, make_encoder(encoder));
  method->train();
  method->to(device);
  if (use_channels_last(how.channels_last, device, how.precision)) make_channels_last(*method);
  return method;
}

}  // namespace

WholeStep::WholeStep(const StepChoices& choices, const torch::Device& on)
    : how(choices),
      device(on),
      method(networks(choices, on)),
      parameters(*method),
      optimizer(parameters, {}),
      scaler(false),
      ranks({}, torch::kCPU, 60) {
  hu = torch::randint(-100, 401, {how.batch, how.size, how.size}, torch::kShort).to(device);
  targets.label = torch::arange(how.batch, torch::kLong).remainder(4).to(device);
  targets.depth = torch::rand({how.batch}, torch::kDouble).to(device);
  if (how.cuda_graph)
    graph.emplace(
        make_cuda_recorder(device), [this](const torch::Tensor& views, const Targets& its) {
          return backward_batch(*method, views, its, {0, how.precision, 1.0}, scaler, ranks);
        });
}

std::vector<ViewParameters> WholeStep::drawn(int step) const {
  std::vector<ViewParameters> views;
  for (int view = 0; view < 2; ++view)
    for (std::int64_t i = 0; i < how.batch; ++i)
      views.push_back(draw_view({}, 1, 0, static_cast<std::uint64_t>(step * how.batch + i), view));
  return views;
}

ViewDrawing WholeStep::drawing() const {
  TrainConfig config;
  config.cuda_kernels = how.cuda_kernels ? "on" : "off";
  config.precision = how.precision;
  return view_drawing(config);
}

StepResult WholeStep::gradient(int step, std::int64_t micro_batch) {
  const auto all = drawn(step);
  const auto views = [&](std::int64_t at, std::int64_t count) {
    std::vector<ViewParameters> some;
    for (const std::int64_t view : {std::int64_t{0}, how.batch})
      for (std::int64_t i = 0; i < count; ++i)
        some.push_back(all[static_cast<std::size_t>(view + at + i)]);
    return draw_views(hu.narrow(0, at, count), some, drawing());
  };
  if (graph) return graph->run(draw_views(hu, all, drawing()), targets);
  return backward_batch(*method, views, how.batch, targets, {micro_batch, how.precision, 1.0},
                        scaler, ranks);
}

void WholeStep::update(const StepResult& result) {
  const torch::NoGradGuard no_grad;
  const torch::Tensor norm = parameters.gradient_norm();
  if (device.is_cpu()) {
    if (std::isfinite(norm.item<double>())) optimizer.step(1e-4);
    loss_ = result.loss.item<double>();
  } else {
    optimizer.step(1e-4, torch::isfinite(norm).logical_not().to(torch::kFloat).view({1}));
    (void)late_.get();  // the step before must be done: the host is at most one ahead
    late_ = OnItsWay(result.loss);
  }
  parameters.zero_gradients();
}

double WholeStep::last_loss() { return device.is_cpu() ? loss_ : late_.get().item<double>(); }

}  // namespace wsp::bench

#include <torch/torch.h>

#include "card.hpp"
#include "parts.hpp"
#include "timer.hpp"
#include "train/model/cuda_kernels.hpp"
#include "train/run/device.hpp"
#include "whole_step.hpp"

namespace wsp::bench {
namespace {

using namespace wsp::train;

/// Medians over turns, in the order in which they were asked for. The stages have the names that
/// roofline.py's key() gives its own.
class StageTimes {
 public:
  StageTimes(const Options& options, int card) : o_(options), card_(card) {}

  template <class Work>
  void add(const std::string& stage, Work&& work) {
    std::vector<double> turns;
    for (int turn = 0; turn < o_.turns; ++turn)
      turns.push_back(milliseconds([this] { wait_for_card(card_); }, o_.calls, work));
    found_.push_back({{"stage", stage}, {"ms", median(turns)}});
  }
  [[nodiscard]] const nlohmann::json& found() const { return found_; }

 private:
  const Options& o_;
  int card_;
  nlohmann::json found_ = nlohmann::json::array();
};

// A stage forward, with the graph that the way back needs, and back, each on what it gets in a
// step: the activations of the stage before, and parameters whose gradients are added to.
void add_encoder(StageTimes& times, WholeStep& step, torch::Tensor x) {
  Encoder& encoder = step.method->encoder();
  for (std::size_t stage = 0; stage < encoder.stages().size(); ++stage) {
    const std::string& name = encoder.stages()[stage];
    const auto forward = [&] {
      const Autocast autocast(step.device, step.how.precision);
      return encoder.run_stage(stage, x);
    };
    times.add(name + " forward", [&] { (void)forward(); });
    const torch::Tensor y = forward();
    const torch::Tensor gradient = torch::randn_like(y);
    times.add(name + " backward", [&] {
      x.mutable_grad().reset();  // in a step nothing is added to it
      torch::autograd::backward({y}, {gradient}, /*retain_graph=*/true);
    });
    x = y.detach().requires_grad_(true);
  }
  step.parameters.zero_gradients();
}

}  // namespace

nlohmann::json layers(const Options& o) {
  const torch::Device device = choose_device(o.device, 0);
  const int card = device.is_cuda() ? device.index() : kNoCard;
  StepChoices how;
  how.encoder = o.encoder;
  how.precision = device.is_cuda() ? o.precision : "fp32";
  how.batch = o.batch;
  how.size = o.size;
  how.cuda_kernels = o.cuda_kernels;
  prepare_precision(device, how.precision);
  prepare_algorithms(device, false);
  try_device(device);
  if (how.cuda_kernels) require_cuda_kernels(device);
  WholeStep step(how, device);
  StageTimes times(o, card);

  const auto drawn = step.drawn(0);
  const auto views = [&] { return draw_views(step.hu, drawn, step.drawing()); };
  times.add("augmentation", [&] { (void)views(); });
  add_encoder(times, step, views());
  torch::Tensor z = torch::randn({2 * how.batch, step.method->encoder().latent()},
                                 torch::TensorOptions(device).requires_grad(true));
  times.add("loss", [&] {
    z.mutable_grad().reset();
    step.method->loss({z}, step.targets).backward();
  });
  // On a card with the flag that the trainer gives it.
  const torch::Tensor skip = device.is_cuda() ? torch::zeros({1}, device) : torch::Tensor();
  times.add("Adam", [&] { step.optimizer.step(1e-4, skip); });
  int steps = 0;
  times.add("whole", [&] { step.update(step.gradient(steps++, 0)); });

  const bool half = how.precision == "bf16" || how.precision == "fp16";
  nlohmann::json found = {
      {"encoder", how.encoder}, {"batch", how.batch},
      {"size", how.size},       {"precision", how.precision},
      {"bytes", half ? 2 : 4},  {"channels_last", use_channels_last("auto", device, how.precision)},
      {"stages", times.found()}};
  if (const auto name = card_name(card)) found["card"] = *name;
  return found;
}

}  // namespace wsp::bench

#include "train/run/optimizer.hpp"

#include <cmath>
#include <numbers>
#include <optional>

#include "io/core/error.hpp"
#include "train/kernels/adam.hpp"

namespace wsp::train {
namespace {

constexpr std::int64_t kAlignment = 16;  // floats: segments start on cache lines

}  // namespace

FlatParameters::FlatParameters(torch::nn::Module& module) {
  torch::NoGradGuard no_grad;
  std::int64_t total = 0;
  std::vector<torch::Tensor> parameters;
  for (const auto& entry : module.named_parameters()) {
    torch::Tensor parameter = entry.value();
    if (!parameter.requires_grad()) continue;
    if (!parameter.is_non_overlapping_and_dense()) parameter.set_data(parameter.contiguous());
    segments_.push_back({entry.key(), total, parameter.numel(), parameter.sizes().vec(),
                         parameter.strides().vec()});
    parameters.push_back(parameter);
    total += (parameter.numel() + kAlignment - 1) / kAlignment * kAlignment;
  }
  if (parameters.empty()) return;
  values_ = torch::zeros({total}, parameters.front().options().requires_grad(false));
  gradients_ = torch::zeros_like(values_);
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const torch::Tensor place = view(values_, segments_[i]);
    place.copy_(parameters[i]);
    parameters[i].set_data(place);
    parameters[i].mutable_grad() = view(gradients_, segments_[i]);
  }
}

torch::Tensor FlatParameters::view(const torch::Tensor& flat, const Segment& segment) {
  return flat.as_strided(segment.sizes, segment.strides, segment.offset);
}

torch::Tensor FlatParameters::gradient_norm() const { return gradients_.norm(); }

Optimizer::Optimizer(FlatParameters& parameters, OptimizerOptions options)
    : parameters_(parameters), options_(std::move(options)) {
  const auto buffer = [&](const char* name) {
    buffers_.emplace_back(name, torch::zeros_like(parameters_.values()));
  };
  if (options_.name == "adam" || options_.name == "adamw") {
    buffer("exp_avg");
    buffer("exp_avg_sq");
  } else if (options_.name == "lars" || options_.name == "sgd") {
    buffer("momentum");
  } else {
    throw Error(ErrorCode::usage,
                "--optimizer is '" + options_.name + "': expected adam, adamw, lars or sgd");
  }
}

void Optimizer::step(double learning_rate, const torch::Tensor& skip) {
  torch::NoGradGuard no_grad;
  if (fused_adam(learning_rate, skip)) return;
  if (skip.defined() && skip.item<float>() != 0) return;
  ++steps_;
  if (buffers_.size() == 2)
    adam(learning_rate);
  else
    momentum_sgd(learning_rate);
}

// LibTorch's own kernel: one pass over parameters, gradients and moments, and a flag on the card
// that makes it a no-op.
bool Optimizer::fused_adam(double learning_rate, const torch::Tensor& skip) {
#if TORCH_VERSION_MAJOR >= 2
  torch::Tensor& value = parameters_.values();
  if (buffers_.size() != 2 || !value.is_cuda() || value.scalar_type() != torch::kFloat)
    return false;
  const auto one = [](const torch::Tensor& t) { return std::vector<torch::Tensor>{t}; };
  if (!device_steps_.defined())
    device_steps_ = torch::full({1}, static_cast<double>(steps_), value.options());
  device_steps_.add_(1);
  ++steps_;  // of a step that is skipped nobody asks: the run stops
  const std::optional<torch::Tensor> none;
  const auto flag = skip.defined() ? std::optional<torch::Tensor>(skip) : none;
  const auto run = [&](const auto& step) {
    step(one(value), one(parameters_.gradients()), one(buffers_[0].second), one(buffers_[1].second),
         std::vector<torch::Tensor>{}, one(device_steps_), learning_rate, options_.beta1,
         options_.beta2, options_.weight_decay, options_.eps, /*amsgrad=*/false, /*maximize=*/false,
         none, flag);
  };
  if (options_.name == "adamw")
    run([](auto&&... a) { at::_fused_adamw_(a...); });
  else
    run([](auto&&... a) { at::_fused_adam_(a...); });
  if (skip.defined()) device_steps_.sub_(skip);
  return true;
#else
  (void)learning_rate;
  (void)skip;
  return false;
#endif
}

void Optimizer::adam(double learning_rate) {
  torch::Tensor& value = parameters_.values();
  torch::Tensor& gradient = parameters_.gradients();
  torch::Tensor& first = buffers_[0].second;
  torch::Tensor& second = buffers_[1].second;
  const bool decoupled = options_.name == "adamw";
  const double correction1 = 1 - std::pow(options_.beta1, static_cast<double>(steps_));
  const double correction2 = 1 - std::pow(options_.beta2, static_cast<double>(steps_));
  if (value.is_cpu() && value.scalar_type() == torch::kFloat) {
    AdamStep s;
    s.new_first = static_cast<float>(1 - options_.beta1);
    s.new_second = static_cast<float>(1 - options_.beta2);
    s.beta2 = static_cast<float>(options_.beta2);
    s.eps = static_cast<float>(options_.eps);
    s.step_size = static_cast<float>(learning_rate / correction1);
    s.root_correction2 = static_cast<float>(1 / std::sqrt(correction2));
    s.added_decay = decoupled ? 0.0F : static_cast<float>(options_.weight_decay);
    s.kept_value = decoupled ? static_cast<float>(1 - learning_rate * options_.weight_decay) : 1.0F;
    adam_step_cpu(s, value.numel(), value.data_ptr<float>(), gradient.data_ptr<float>(),
                  first.data_ptr<float>(), second.data_ptr<float>());
    return;
  }
  if (decoupled)
    value.mul_(1 - learning_rate * options_.weight_decay);
  else if (options_.weight_decay != 0)
    gradient.add_(value, options_.weight_decay);
  first.lerp_(gradient, 1 - options_.beta1);
  second.mul_(options_.beta2).addcmul_(gradient, gradient, 1 - options_.beta2);
  const torch::Tensor denominator =
      second.sqrt().mul_(1 / std::sqrt(correction2)).add_(options_.eps);
  value.addcdiv_(first, denominator, -learning_rate / correction1);
}

// SGD with momentum; LARS scales each tensor's update by trust * |w| / (|g| + decay * |w|), vectors
// (biases, normalisation) excepted from that and from decay, as its users do.
void Optimizer::momentum_sgd(double learning_rate) {
  torch::Tensor& momentum = buffers_[0].second;
  const bool lars = options_.name == "lars";
  for (const auto& segment : parameters_.segments()) {
    torch::Tensor value = FlatParameters::view(parameters_.values(), segment);
    torch::Tensor update = FlatParameters::view(parameters_.gradients(), segment);
    torch::Tensor velocity = FlatParameters::view(momentum, segment);
    const bool vector = segment.sizes.size() <= 1;
    if (!(lars && vector) && options_.weight_decay != 0)
      update = update.add(value, options_.weight_decay);
    if (lars && !vector) {
      const torch::Tensor value_norm = value.norm(), update_norm = update.norm();
      const torch::Tensor trust = torch::where(
          (value_norm > 0).logical_and(update_norm > 0),
          options_.trust_coefficient * value_norm / update_norm, torch::ones_like(value_norm));
      update = update * trust;
    }
    velocity.mul_(options_.momentum).add_(update);
    value.add_(velocity, -learning_rate);
  }
}

std::vector<torch::Tensor> Optimizer::flat_state() const {
  std::vector<torch::Tensor> flat;
  for (const auto& [name, tensor] : buffers_) flat.push_back(tensor);
  return flat;
}

std::map<std::string, torch::Tensor> Optimizer::state() const {
  std::map<std::string, torch::Tensor> tensors;
  for (const auto& [name, flat] : buffers_)
    for (const auto& segment : parameters_.segments())
      tensors[name + "." + segment.name] =
          FlatParameters::view(flat, segment).contiguous().to(torch::kCPU, false, true);
  return tensors;
}

void Optimizer::load_state(const std::map<std::string, torch::Tensor>& state, std::int64_t steps) {
  torch::NoGradGuard no_grad;
  for (auto& [name, flat] : buffers_)
    for (const auto& segment : parameters_.segments()) {
      const auto found = state.find(name + "." + segment.name);
      if (found == state.end() || found->second.sizes().vec() != segment.sizes)
        throw Error(ErrorCode::corrupt,
                    "the optimizer's state of " + segment.name + " is missing or of another shape");
      FlatParameters::view(flat, segment).copy_(found->second);
    }
  set_steps(steps);
}

torch::Tensor step_where_finite(FlatParameters& parameters, Optimizer& optimizer,
                                const torch::Tensor& loss, double clip_norm, double learning_rate) {
  const torch::NoGradGuard no_grad;
  const torch::Tensor norm = parameters.gradient_norm();
  const torch::Tensor skip = torch::isfinite(norm)
                                 .logical_and(torch::isfinite(loss))
                                 .logical_not()
                                 .to(torch::kFloat)
                                 .view({1});
  if (clip_norm > 0) parameters.gradients().mul_((clip_norm / norm).clamp_max(1));
  optimizer.step(learning_rate, skip);
  return norm;
}

double scheduled_rate(double base, std::int64_t step, std::int64_t steps,
                      std::int64_t warmup_steps) {
  if (step < warmup_steps)
    return base * static_cast<double>(step + 1) / static_cast<double>(warmup_steps);
  const double rest = static_cast<double>(std::max<std::int64_t>(1, steps - warmup_steps));
  const double done = std::min(1.0, static_cast<double>(step - warmup_steps) / rest);
  return base * 0.5 * (1 + std::cos(std::numbers::pi * done));
}

}  // namespace wsp::train

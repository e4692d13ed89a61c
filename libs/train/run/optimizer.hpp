#pragma once
#include <torch/torch.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace wsp::train {

struct OptimizerOptions {
  std::string name = "adam";  ///< adam (decay added to the gradient), adamw, lars, sgd
  double weight_decay = 1e-4;
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  double momentum = 0.9;             ///< lars, sgd
  double trust_coefficient = 0.001;  ///< lars
};

/// The trainable parameters of a module in one flat buffer, and their gradients in another, so that
/// a step, a norm, a clip or an all-reduce is one operation on any device. Parameters become views
/// of the buffer; their shapes and strides stay.
class FlatParameters {
 public:
  explicit FlatParameters(torch::nn::Module& module);
  [[nodiscard]] torch::Tensor& values() { return values_; }
  [[nodiscard]] torch::Tensor& gradients() { return gradients_; }
  struct Segment {
    std::string name;
    std::int64_t offset, count;
    std::vector<std::int64_t> sizes, strides;
  };
  [[nodiscard]] const std::vector<Segment>& segments() const { return segments_; }
  /// A segment of any buffer of the same layout, shaped like its parameter.
  [[nodiscard]] static torch::Tensor view(const torch::Tensor& flat, const Segment& segment);
  void zero_gradients() { gradients_.zero_(); }
  /// Euclidean norm of the gradients, on their device.
  [[nodiscard]] torch::Tensor gradient_norm() const;

 private:
  torch::Tensor values_, gradients_;
  std::vector<Segment> segments_;
};

/// Adam (Kingma and Ba), AdamW (Loshchilov and Hutter), LARS (You et al. 2017) and SGD over flat
/// parameters.
class Optimizer {
 public:
  /// Throws Error(usage) for an unknown name.
  Optimizer(FlatParameters& parameters, OptimizerOptions options);
  /// One step with this learning rate. Where `skip` is given, one float32 on the parameters'
  /// device, and is not 0, nothing changes; Adam and AdamW on CUDA then need no word from the
  /// device (LibTorch 2 and newer), the others read it.
  void step(double learning_rate, const torch::Tensor& skip = {});
  [[nodiscard]] std::int64_t steps() const { return steps_; }
  /// The moments as flat buffers, laid out like the parameters, for copying between ranks.
  [[nodiscard]] std::vector<torch::Tensor> flat_state() const;
  void set_steps(std::int64_t steps) {
    steps_ = steps;
    device_steps_.reset();
  }
  /// State as named tensors ("exp_avg.NAME", ...), shaped like the parameters; on the CPU.
  [[nodiscard]] std::map<std::string, torch::Tensor> state() const;
  /// Inverse of state(); throws Error(corrupt) when a tensor is missing or of another shape.
  void load_state(const std::map<std::string, torch::Tensor>& state, std::int64_t steps);

 private:
  void adam(double learning_rate);
  bool fused_adam(double learning_rate, const torch::Tensor& skip);
  void momentum_sgd(double learning_rate);
  FlatParameters& parameters_;
  OptimizerOptions options_;
  std::int64_t steps_ = 0;
  torch::Tensor device_steps_;  ///< steps_ on the card, for the fused step
  std::vector<std::pair<std::string, torch::Tensor>> buffers_;
};

/// Clip the gradients (clip_norm 0: not) and make a step, without waiting for the device: it
/// decides itself that a step whose scalar `loss` or gradient is not finite changes no weight.
/// Returns the norm before clipping, on the device.
torch::Tensor step_where_finite(FlatParameters& parameters, Optimizer& optimizer,
                                const torch::Tensor& loss, double clip_norm, double learning_rate);

/// Learning rate at a step: linear warm-up, then half a cosine down to 0 at the last step.
double scheduled_rate(double base, std::int64_t step, std::int64_t steps,
                      std::int64_t warmup_steps);

}  // namespace wsp::train

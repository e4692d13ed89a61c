#pragma once
#include <torch/torch.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "train/kernels/contrastive_cuda.hpp"
#include "train/model/encoder.hpp"
#include "train/model/losses.hpp"

namespace wsp::train {

struct MethodOptions {
  std::string name = "wsp";  ///< one of method_names()
  KernelOptions kernel;      ///< shape, sigma, normalisation; use_* follow from the method
  double temperature = 0.1;
  double momentum = 0.996;  ///< BYOL: first value of the EMA, rises to 1 by cosine
  double barlow_lambda = 0.005;
  std::int64_t loss_tile = 0;
  /// Contrastive methods: the loss by our CUDA kernels, whatever the tile.
  std::optional<ContrastivePrecision> cuda_loss = std::nullopt;
  std::int64_t classes = 0;  ///< supervised: number of classes
};

/// One pretraining method: networks around an encoder, what they put out for views, and a loss on
/// that. Splitting the two lets a batch be embedded in pieces (micro-batches) or on several ranks,
/// and the loss be taken on the whole.
class Method : public torch::nn::Module {
 public:
  /// Run the networks. views: [2m, 1, s, s], view 1 of m slices, then view 2. Every tensor returned
  /// has 2m rows in the same order. Outputs that carry no gradient (targets) are detached.
  /// Contrastive methods and Barlow Twins: {z}; Rank-N-Contrast: {representation}; BYOL, SimSiam:
  /// {prediction, target}; supervised: {logits, representation}; random: {representation}. Both
  /// views pass in one go, so that batch normalisation takes its statistics over both.
  virtual std::vector<torch::Tensor> forward(const torch::Tensor& views) = 0;
  /// Scalar loss of the outputs of the whole batch (2n rows in the order of forward).
  /// Throws Error(failure) for "random", Error(usage) for a label beyond the classes.
  virtual torch::Tensor loss(const std::vector<torch::Tensor>& outputs, const Targets& targets) = 0;
  /// After an optimizer step; progress in (0, 1] of the whole training (BYOL moves its target
  /// network).
  virtual void after_step(double progress) { (void)progress; }
  /// Which output is the embedding that telemetry looks at.
  [[nodiscard]] virtual std::size_t embedding_output() const { return 0; }
  /// The kernel that weights pairs, for telemetry.
  [[nodiscard]] const KernelOptions& kernel() const { return options_.kernel; }
  [[nodiscard]] const MethodOptions& options() const { return options_; }
  [[nodiscard]] Encoder& encoder() { return *encoder_; }
  /// False for "random": exported without training.
  [[nodiscard]] virtual bool trains() const { return true; }
  [[nodiscard]] virtual bool needs_labels() const { return false; }

 protected:
  Method(MethodOptions options, std::shared_ptr<Encoder> encoder);
  MethodOptions options_;
  std::shared_ptr<Encoder> encoder_;  ///< registered as "encoder"
};

/// What the contrastive loss of a method weighs pairs by: its use_* alone are set. Nothing for a
/// method of another loss or an unknown one.
std::optional<KernelOptions> contrastive_kernel(const std::string& method);
/// Build a method; throws Error(usage) for an unknown name or a supervised method without classes.
std::unique_ptr<Method> make_method(const MethodOptions& options, std::shared_ptr<Encoder> encoder);

}  // namespace wsp::train

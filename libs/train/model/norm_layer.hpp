#pragma once
#include <torch/torch.h>

#include <string>

#include "train/model/encoder.hpp"

/// The normalisation that the networks share; not for users of the library.
namespace wsp::train {

/// Group normalisation in the type of its weights: autocast does so itself on CUDA, but hands it
/// bfloat16 on the CPU, which refuses to mix the two.
class FloatGroupNormImpl : public torch::nn::GroupNormImpl {
 public:
  FloatGroupNormImpl(std::int64_t groups, std::int64_t channels)
      : torch::nn::GroupNormImpl(torch::nn::GroupNormOptions(groups, channels)) {}
  torch::Tensor forward(const torch::Tensor& x) {
    return torch::nn::GroupNormImpl::forward(x.to(weight.scalar_type()));
  }
};
TORCH_MODULE(FloatGroupNorm);

/// Batch or group normalisation under one name, without a module level of its own.
class NormLayer {
 public:
  NormLayer() = default;
  NormLayer(torch::nn::Module& owner, const std::string& name, Norm norm, std::int64_t groups,
            std::int64_t channels) {
    if (norm == Norm::batch)
      batch_ = owner.register_module(name, torch::nn::BatchNorm2d(channels));
    else
      group_ = owner.register_module(name, FloatGroupNorm(groups, channels));
  }
  torch::Tensor operator()(const torch::Tensor& x) {
    return batch_.is_empty() ? group_(x) : batch_(x);
  }

 private:
  torch::nn::BatchNorm2d batch_{nullptr};
  FloatGroupNorm group_{nullptr};
};

}  // namespace wsp::train

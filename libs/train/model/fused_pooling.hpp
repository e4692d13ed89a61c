#pragma once
#include <torch/torch.h>

namespace wsp::train {

/// ReLU(max_pool2d(conv + bias, 2)) of a convolution's map before its bias, in one pass forward and
/// one back, differentiable once. conv: [n, c, h, w] in either layout, which the result keeps; on
/// the CPU float32 by the reference of kernels/pool_relu.hpp, on a card by its kernels, float32,
/// bfloat16 or half, where cuda_kernels_built(). bias: [c] float32. Neither map is kept for the way
/// back, only a byte per output. Throws Error(failure) for other types or shapes.
torch::Tensor bias_relu_pool(const torch::Tensor& conv, const torch::Tensor& bias);

/// The layer of pooled_convolution() with bias_relu_pool() behind LibTorch's convolution.
torch::Tensor fused_pooled_convolution(const torch::Tensor& x, const torch::Tensor& weight,
                                       const torch::Tensor& bias);

}  // namespace wsp::train

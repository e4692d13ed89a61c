#pragma once
#include <torch/torch.h>

namespace wsp::train {

/// conv2d(x, weight) for a 3x3 kernel, stride 1, padding 1, without bias; differentiable once. On
/// the CPU in float32 by Winograd's algorithm (kernels/winograd.hpp), with results that do not
/// depend on the threads; elsewhere, or where the channels do not fit, by Torch. x: [n, c, h, w];
/// the result is channels-last on the CPU.
torch::Tensor fast_convolution(const torch::Tensor& x, const torch::Tensor& weight);

}  // namespace wsp::train

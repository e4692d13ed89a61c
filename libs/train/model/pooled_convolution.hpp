#pragma once
#include <torch/torch.h>

namespace wsp::train {

/// ReLU(max_pool2d(conv2d(x, weight, bias), 2)) for a 5x5 kernel without padding, differentiable
/// once. On the CPU in float32 as one layer (kernels/pooled_conv.hpp), whose result does not depend
/// on the threads beyond what Torch's own convolution does; elsewhere Torch's operations one by
/// one. x: [n, c, h, w]; the result is channels-last on the CPU.
torch::Tensor pooled_convolution(const torch::Tensor& x, const torch::Tensor& weight,
                                 const torch::Tensor& bias);

/// The same by Torch's operations only: what the other is compared with.
torch::Tensor pooled_convolution_plain(const torch::Tensor& x, const torch::Tensor& weight,
                                       const torch::Tensor& bias);

}  // namespace wsp::train

#pragma once
#include <torch/torch.h>

/// When the CPU layers of libs/train/kernels stand in for LibTorch's own; not for users of the
/// library.
namespace wsp::train {

/// A dense float32 tensor in main memory.
bool is_plain_float(const torch::Tensor& t);

/// A copy where it has another order in memory.
torch::Tensor channels_last(const torch::Tensor& t);

/// Autocast on the CPU: the layer then belongs to LibTorch, in its type.
bool cpu_autocast();

}  // namespace wsp::train

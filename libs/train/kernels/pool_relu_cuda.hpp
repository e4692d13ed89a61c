#pragma once
#include "train/kernels/pool_relu.hpp"

/// bias_relu_pool_cpu() and its way back on CUDA. Not yet run on a card: it compiles wherever nvcc
/// is found, a thread's work is tested on the host, and nothing uses it by default.
namespace wsp::train {

/// All pointers are device memory: conv and out of `type`, bias float32 [c], winner as
/// bias_relu_pool_cpu() has it. The sum is rounded to `type` once. `stream` is a cudaStream_t; the
/// call does not wait. Returns 0 or the cudaError_t of the launch; invalid value where a size is
/// not positive, nothing is left after pooling, or a map has more than 2^31 rows or places.
[[nodiscard]] int bias_relu_pool_cuda(const PoolShape& shape, PixelType type, const void* conv,
                                      const float* bias, void* out, std::uint8_t* winner,
                                      void* stream) noexcept;

/// gradient and conv_gradient of `type`.
[[nodiscard]] int bias_relu_pool_backward_cuda(const PoolShape& shape, PixelType type,
                                               const void* gradient, const std::uint8_t* winner,
                                               void* conv_gradient, void* stream) noexcept;

}  // namespace wsp::train

#pragma once
#include <cstdint>

#include "train/kernels/pixel_type.hpp"

/// 2x2 max pooling (stride 2), bias and ReLU of a convolution's map in one pass over it, and the
/// way back; plain C++. On a card it replaces four passes of LibTorch's: bias, pooling with 8 bytes
/// of index per value, ReLU.
namespace wsp::train {

/// A convolution's map before its bias: n images of h x w pixels and c channels, [n][c][h][w], or
/// [n][h][w][c] with channels_last. What is pooled lies in the same order; an odd last row or
/// column is not pooled.
struct PoolShape {
  std::int64_t n = 0, c = 0, h = 0, w = 0;
  bool channels_last = false;
  WSP_HOST_DEVICE std::int64_t out_h() const { return h / 2; }
  WSP_HOST_DEVICE std::int64_t out_w() const { return w / 2; }
  [[nodiscard]] std::int64_t in_values() const { return n * c * h * w; }
  [[nodiscard]] std::int64_t out_values() const { return n * c * out_h() * out_w(); }
};

/// In place of a winner where nothing positive was found: 4, as pooled_conv.hpp has it.
constexpr std::uint8_t kNothingPositive = 4;

/// out = max(0, max of the window + bias); winner: 2 * row + column of the window's maximum, the
/// first of equals, or kNothingPositive. NaN wins and stays, as in Torch. conv, out: float32; bias
/// [c]. The reference of pool_relu_cuda.hpp.
void bias_relu_pool_cpu(const PoolShape& shape, const float* conv, const float* bias, float* out,
                        std::uint8_t* winner);

/// Gradient of the map: that of `out` at the winners, 0 elsewhere. Every pixel is written.
void bias_relu_pool_backward_cpu(const PoolShape& shape, const float* gradient,
                                 const std::uint8_t* winner, float* conv_gradient);

}  // namespace wsp::train

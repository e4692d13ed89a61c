#pragma once
#include <cstdint>

/// Plain C++: no Torch, no TBB type stands here.
namespace wsp::train {

/// A 5x5 convolution without padding, 2x2 max pooling and ReLU as one layer on the CPU. Images are
/// channels-last, [n][h][w][channels]. The pooling lets the gradient of at most one of four
/// convolved pixels through, and ReLU less: the backward kernels touch only those, so that they do
/// at most a quarter of a dense convolution's work.
///
/// Every function works on a range, so that the caller chooses the threads; what is computed does
/// not depend on how the ranges are cut (of groups, for the input's gradient).
struct PooledConv {
  static constexpr std::int64_t kKernel = 5;
  std::int64_t n = 0, in_h = 0, in_w = 0, in_c = 0, out_c = 0;
  [[nodiscard]] std::int64_t conv_h() const { return in_h - kKernel + 1; }
  [[nodiscard]] std::int64_t conv_w() const { return in_w - kKernel + 1; }
  [[nodiscard]] std::int64_t out_h() const { return conv_h() / 2; }
  [[nodiscard]] std::int64_t out_w() const { return conv_w() / 2; }
  /// Images that are worked on together in pooled_conv_backward_input.
  [[nodiscard]] std::int64_t group() const;
  [[nodiscard]] std::int64_t groups() const { return (n + group() - 1) / group(); }
};

/// True where this processor and these channels are served: AVX2 with FMA; in_c 1 or a multiple of
/// 16, out_c a multiple of 16; an output of at least one pixel.
bool pooled_conv_served(const PooledConv& shape);

/// Which of the four pixels of a window the maximum came from: 2 * row + column, the first of
/// equals; kNone where it is not positive.
constexpr std::uint8_t kNoWinner = 4;

/// Pooling and ReLU of images [first, last). conv: [last - first][conv_h][conv_w][out_c], these
/// images alone; out, winner: [n][out_h][out_w][out_c]. NaN passes through, as in Torch.
void pool_relu(const PooledConv& shape, std::int64_t first, std::int64_t last, const float* conv,
               float* out, std::uint8_t* winner);

/// Convolution of one channel, pooling and ReLU of images [first, last) in one pass. x:
/// [n][in_h][in_w]; weight: [out_c][5][5].
void first_conv_pool_relu(const PooledConv& shape, std::int64_t first, std::int64_t last,
                          const float* x, const float* weight, const float* bias, float* out,
                          std::uint8_t* winner);

/// Gradient of the weights and biases of output channels [first, last). x: [n][in_h][in_w][in_c];
/// gradient: of the output, [n][out_h][out_w][out_c]. Writes weight_gradient [out_c][in_c][5][5]
/// and bias_gradient [out_c].
void pooled_conv_backward_weight(const PooledConv& shape, std::int64_t first, std::int64_t last,
                                 const float* x, const float* gradient, const std::uint8_t* winner,
                                 float* weight_gradient, float* bias_gradient);

/// Weights [out_c][in_c][5][5] in the order that pooled_conv_backward_input reads, as many floats.
void pack_weight(const PooledConv& shape, const float* weight, float* packed);

/// Gradient of the input for groups [first, last) of images; in_c > 1. x_gradient:
/// [n][in_h][in_w][in_c].
void pooled_conv_backward_input(const PooledConv& shape, std::int64_t first, std::int64_t last,
                                const float* packed, const float* gradient,
                                const std::uint8_t* winner, float* x_gradient);

}  // namespace wsp::train

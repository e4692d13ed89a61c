#pragma once
#include <cstdint>

/// Plain C++: no Torch, no TBB type stands here.
namespace wsp::train {

/// A 3x3 convolution with stride 1 and padding 1 by Winograd's F(2x2, 3x3) (Lavin and Gray, Fast
/// algorithms for convolutional neural networks): 16 multiplications where a direct convolution has
/// 36, and about its accuracy. Images are channels-last, [n][h][w][channels]; weights
/// [out_c][in_c][3][3]. Work is cut into tiles of 2x2 output pixels; the caller chooses the
/// threads, and no result depends on how ranges are cut.
struct Winograd {
  static constexpr std::int64_t kPoints = 16;  ///< transformed values of a tile
  std::int64_t n = 0, h = 0, w = 0, in_c = 0, out_c = 0;
  [[nodiscard]] std::int64_t tiles_y() const { return (h + 1) / 2; }
  [[nodiscard]] std::int64_t tiles_x() const { return (w + 1) / 2; }
  [[nodiscard]] std::int64_t tiles() const { return n * tiles_y() * tiles_x(); }
  /// The convolution that carries the gradient of the output back to the input.
  [[nodiscard]] Winograd backward() const { return {n, h, w, out_c, in_c}; }
};

/// True where this processor (AVX2 with FMA) and these channels (multiples of 16) are served.
bool winograd_served(const Winograd& shape);

/// Floats of transformed weights.
inline std::int64_t winograd_weight_size(const Winograd& s) {
  return Winograd::kPoints * s.in_c * s.out_c;
}
/// Transform the weights for blocks [first, last) of 16 output channels.
void winograd_weight(const Winograd& shape, std::int64_t first, std::int64_t last,
                     const float* weight, float* transformed);
/// The same for shape.backward(), from the same weights [shape.out_c][shape.in_c][3][3]; blocks of
/// 16 of its output channels, which are the input channels of `shape`.
void winograd_weight_backward(const Winograd& shape, std::int64_t first, std::int64_t last,
                              const float* weight, float* transformed);

/// Convolve tiles [first, last). x: [n][h][w][in_c]; out: [n][h][w][out_c].
void winograd_forward(const Winograd& shape, std::int64_t first, std::int64_t last, const float* x,
                      const float* transformed, float* out);

/// Tiles that winograd_gradient_tiles and winograd_gradient_point take together.
std::int64_t winograd_gradient_block(const Winograd& shape);
/// Floats that hold the transforms of a block: of x, then of the output's gradient.
std::int64_t winograd_gradient_size(const Winograd& shape);
/// Transform tiles [begin + first, begin + last) of x and of the output's gradient; begin starts a
/// block.
void winograd_gradient_tiles(const Winograd& shape, std::int64_t begin, std::int64_t first,
                             std::int64_t last, const float* x, const float* gradient,
                             float* transforms);
/// Add the products of a block of `count` tiles at one of the 16 points to sums [16][in_c][out_c].
void winograd_gradient_point(const Winograd& shape, std::int64_t point, std::int64_t count,
                             const float* transforms, float* sums);
/// Gradient of the weights out of the sums of all blocks, for blocks [first, last) of 16 output
/// channels.
void winograd_weight_gradient(const Winograd& shape, std::int64_t first, std::int64_t last,
                              const float* sums, float* weight_gradient);

}  // namespace wsp::train

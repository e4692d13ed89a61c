#include <algorithm>
#include <cmath>

#include "train/kernels/pool_relu.hpp"

namespace wsp::train {
namespace {

std::int64_t place(const PoolShape& s, std::int64_t rows, std::int64_t columns, std::int64_t image,
                   std::int64_t channel, std::int64_t y, std::int64_t x) {
  return s.channels_last ? ((image * rows + y) * columns + x) * s.c + channel
                         : ((image * s.c + channel) * rows + y) * columns + x;
}

// visit(place in the output, places of the window's four pixels, channel)
template <class Visit>
void each_window(const PoolShape& s, Visit&& visit) {
  for (std::int64_t image = 0; image < s.n; ++image)
    for (std::int64_t channel = 0; channel < s.c; ++channel)
      for (std::int64_t y = 0; y < s.out_h(); ++y)
        for (std::int64_t x = 0; x < s.out_w(); ++x) {
          std::int64_t pixel[4];
          for (std::int64_t k = 0; k < 4; ++k)
            pixel[k] = place(s, s.h, s.w, image, channel, 2 * y + k / 2, 2 * x + k % 2);
          visit(place(s, s.out_h(), s.out_w(), image, channel, y, x), pixel, channel);
        }
}

}  // namespace

void bias_relu_pool_cpu(const PoolShape& s, const float* conv, const float* bias, float* out,
                        std::uint8_t* winner) {
  each_window(s, [&](std::int64_t to, const std::int64_t* pixel, std::int64_t channel) {
    std::uint8_t best = 0;
    for (std::uint8_t k = 1; k < 4; ++k)
      if (conv[pixel[k]] > conv[pixel[best]] || std::isnan(conv[pixel[k]])) best = k;
    const float value = conv[pixel[best]] + bias[channel];
    out[to] = value <= 0 ? 0.0F : value;
    winner[to] = value <= 0 ? kNothingPositive : best;
  });
}

void bias_relu_pool_backward_cpu(const PoolShape& s, const float* gradient,
                                 const std::uint8_t* winner, float* conv_gradient) {
  std::fill(conv_gradient, conv_gradient + s.in_values(), 0.0F);
  each_window(s, [&](std::int64_t from, const std::int64_t* pixel, std::int64_t) {
    if (winner[from] != kNothingPositive) conv_gradient[pixel[winner[from]]] = gradient[from];
  });
}

}  // namespace wsp::train

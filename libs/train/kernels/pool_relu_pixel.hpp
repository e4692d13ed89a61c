#pragma once
#include "train/kernels/pool_relu.hpp"

/// What one thread of pool_relu.cu does, for host and device. The grid has a row of outputs in x; a
/// thread has kVector neighbouring channels of a pixel with the channels last, else one pixel.
namespace wsp::train {

/// Rows of windows and places in each: of whole windows forward, of cut ones too backward, since
/// every pixel is written.
struct PoolGrid {
  std::int64_t rows, places;
};
WSP_HOST_DEVICE inline PoolGrid pool_grid(const PoolShape& s, int vector, bool backward) {
  const std::int64_t y = backward ? (s.h + 1) / 2 : s.out_h(),
                     x = backward ? (s.w + 1) / 2 : s.out_w();
  return s.channels_last ? PoolGrid{s.n * y, x * (s.c / vector)} : PoolGrid{s.n * s.c * y, x};
}

/// Where a thread's window lies.
struct PoolWindow {
  std::int64_t plane;       ///< image with the channels last, else image and channel
  std::int64_t y, x;        ///< of the window
  std::int64_t channel;     ///< first of the thread's
  std::int64_t pixel_step;  ///< between neighbours in a row
  std::int64_t first;       ///< of the thread's values at a pixel

  WSP_HOST_DEVICE PoolWindow(const PoolShape& s, int vector, bool backward, std::int64_t row,
                             std::int64_t place) {
    // Fewer than 2^31 rows and places: 32-bit divisions are cheap.
    const auto windows = static_cast<std::uint32_t>(backward ? (s.h + 1) / 2 : s.out_h());
    const auto r = static_cast<std::uint32_t>(row), p = static_cast<std::uint32_t>(place);
    plane = r / windows;
    y = r % windows;
    if (s.channels_last) {
      const auto groups = static_cast<std::uint32_t>(s.c / vector);
      x = p / groups;
      channel = std::int64_t{p % groups} * vector;
      pixel_step = s.c;
      first = channel;
    } else {
      x = place;
      channel = plane % s.c;
      pixel_step = 1;
      first = 0;
    }
  }
  /// Of a value in a map of `rows` rows of `columns` pixels.
  WSP_HOST_DEVICE std::int64_t at(std::int64_t rows, std::int64_t columns, std::int64_t row,
                                  std::int64_t column) const {
    return ((plane * rows + row) * columns + column) * pixel_step + first;
  }
};

template <PixelType kType, int kVector>
WSP_HOST_DEVICE inline void bias_relu_pool_at(const PoolShape& s, std::int64_t row,
                                              std::int64_t place,
                                              const typename Stored<kType>::Bits* conv,
                                              const float* bias, typename Stored<kType>::Bits* out,
                                              std::uint8_t* winner) {
  using Type = Stored<kType>;
  using Values = Packed<typename Type::Bits, kVector>;
  const PoolWindow window(s, kVector, /*backward=*/false, row, place);
  Values pixel[4];
  WSP_UNROLLED (k, 4)
    pixel[k] = *reinterpret_cast<const Values*>(
        conv + window.at(s.h, s.w, 2 * window.y + k / 2, 2 * window.x + k % 2));
  Values values;
  Packed<std::uint8_t, kVector> winners;
  WSP_UNROLLED (i, kVector) {
    float best = Type::value(pixel[0].value[i]);
    int which = 0;
    WSP_UNROLLED (k, 4) {
      const float other = Type::value(pixel[k].value[i]);
      if (other > best || other != other) {
        best = other;
        which = k;
      }
    }
    const float sum = best + bias[window.channel + i];
    const bool none = sum <= 0;
    values.value[i] = Type::bits(none ? 0.0F : sum);
    winners.value[i] = none ? kNothingPositive : static_cast<std::uint8_t>(which);
  }
  const std::int64_t to = window.at(s.out_h(), s.out_w(), window.y, window.x);
  *reinterpret_cast<Values*>(out + to) = values;
  *reinterpret_cast<Packed<std::uint8_t, kVector>*>(winner + to) = winners;
}

template <PixelType kType, int kVector>
WSP_HOST_DEVICE inline void bias_relu_pool_backward_at(
    const PoolShape& s, std::int64_t row, std::int64_t place,
    const typename Stored<kType>::Bits* gradient, const std::uint8_t* winner,
    typename Stored<kType>::Bits* conv_gradient) {
  using Type = Stored<kType>;
  using Values = Packed<typename Type::Bits, kVector>;
  const PoolWindow window(s, kVector, /*backward=*/true, row, place);
  Values values{};
  Packed<std::uint8_t, kVector> winners;
  const bool whole = window.y < s.out_h() && window.x < s.out_w();
  if (whole) {
    const std::int64_t from = window.at(s.out_h(), s.out_w(), window.y, window.x);
    values = *reinterpret_cast<const Values*>(gradient + from);
    winners = *reinterpret_cast<const Packed<std::uint8_t, kVector>*>(winner + from);
  } else {
    WSP_UNROLLED (i, kVector) winners.value[i] = kNothingPositive;
  }
  WSP_UNROLLED (k, 4) {
    const std::int64_t y = 2 * window.y + k / 2, x = 2 * window.x + k % 2;
    if (y >= s.h || x >= s.w) continue;
    Values pixel;
    WSP_UNROLLED (i, kVector)
      pixel.value[i] = winners.value[i] == k ? values.value[i] : Type::bits(0.0F);
    *reinterpret_cast<Values*>(conv_gradient + window.at(s.h, s.w, y, x)) = pixel;
  }
}

/// Channels that a thread takes: as many as 16 bytes hold where they divide c and the maps are
/// aligned.
inline int pool_vector(const PoolShape& s, PixelType type, bool aligned) {
  const int most = type == PixelType::f32 ? 4 : 8;
  return s.channels_last && aligned && s.c % most == 0 ? most : 1;
}

}  // namespace wsp::train

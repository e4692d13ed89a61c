#include <tbb/blocked_range.h>
#include <tbb/parallel_for.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <string>

#include "io/core/error.hpp"
#include "train/kernels/augment.hpp"
#include "train/kernels/augment_pixel.hpp"
#include "train/kernels/vector_clones.hpp"

namespace wsp::train {
namespace {

constexpr std::int64_t kBandRows = 64;  // of one view per task

/// Pixels [first, last) of a row.
struct Span {
  std::int64_t first, last;
};

std::int64_t floor_div(std::int64_t a, std::int64_t b) {  // b > 0
  return a / b - (a % b < 0 ? 1 : 0);
}

/// Which i in [0, count) satisfy low <= start + step * i < high.
Span solve(std::int64_t start, std::int64_t step, std::int64_t low, std::int64_t high,
           std::int64_t count) {
  if (step == 0) return start >= low && start < high ? Span{0, count} : Span{0, 0};
  if (step < 0) {  // mirrored, both bounds in integers
    return solve(-start, -step, 1 - high, 1 - low, count);
  }
  const std::int64_t first = -floor_div(start - low, step);
  const std::int64_t last = -floor_div(start - high, step);
  return {std::clamp<std::int64_t>(first, 0, count), std::clamp<std::int64_t>(last, 0, count)};
}

Span intersect(Span a, Span b) {
  const std::int64_t first = std::max(a.first, b.first);
  return {first, std::max(first, std::min(a.last, b.last))};
}

/// Two neighbours in a row, read at once: half the loads where loads are what it takes longest for.
using Pair = std::int32_t __attribute__((aligned(2), may_alias));
static_assert(std::endian::native == std::endian::little, "the left neighbour is the lower half");

/// A run of pixels whose four neighbours all lie inside the source: nothing is checked.
WSP_VECTOR_CLONES("avx2", "default")
void draw_interior(const std::int16_t* hu, std::int32_t size, std::int64_t x, std::int64_t y,
                   std::int64_t step_x, std::int64_t step_y, std::int64_t count, float* out) {
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t at_x = x + i * step_x;
    const std::int64_t at_y = y + i * step_y;
    const std::int32_t offset = fixed_floor(at_y) * size + fixed_floor(at_x);
    const std::int32_t top = *reinterpret_cast<const Pair*>(hu + offset);
    const std::int32_t bottom = *reinterpret_cast<const Pair*>(hu + offset + size);
    out[i] =
        blend(static_cast<float>(static_cast<std::int16_t>(top)), static_cast<float>(top >> 16),
              static_cast<float>(static_cast<std::int16_t>(bottom)),
              static_cast<float>(bottom >> 16), fixed_part(at_x), fixed_part(at_y));
  }
}

void draw_row(const std::int16_t* hu, std::int64_t size, const FixedAffine& a, std::int64_t row,
              float* out) {
  const std::int64_t x = source_x(a, 0, row);
  const std::int64_t y = source_y(a, 0, row);
  const std::int64_t end = size * kFixedOne;
  // `touched` pixels have a neighbour inside the source, `interior` ones have all four there.
  const Span touched =
      intersect(solve(x, a.xx, 1 - kFixedOne, end, size), solve(y, a.yx, 1 - kFixedOne, end, size));
  const Span interior = intersect(touched, intersect(solve(x, a.xx, 0, end - kFixedOne, size),
                                                     solve(y, a.yx, 0, end - kFixedOne, size)));
  const auto border = [&](std::int64_t from, std::int64_t to) {
    for (std::int64_t i = from; i < to; ++i)
      out[i] = sample_anywhere(hu, size, source_point(x + i * a.xx, y + i * a.yx));
  };
  std::fill(out, out + touched.first, 0.0F);
  if (interior.first < interior.last) {
    border(touched.first, interior.first);
    draw_interior(hu, static_cast<std::int32_t>(size), x + interior.first * a.xx,
                  y + interior.first * a.yx, a.xx, a.yx, interior.last - interior.first,
                  out + interior.first);
    border(interior.last, touched.last);
  } else {
    border(touched.first, touched.last);
  }
  std::fill(out + touched.last, out + size, 0.0F);
}

void check(const Affine& affine, std::int64_t index) {
  for (std::size_t i = 0; i < affine.size(); ++i) {
    const float limit = i % 3 == 2 ? kMaxAffineOffset : kMaxAffineScale;
    if (std::isfinite(affine[i]) && std::abs(affine[i]) <= limit) continue;
    throw Error(ErrorCode::failure, "augmentation: coefficient " + std::to_string(i) +
                                        " of affine " + std::to_string(index) + " is " +
                                        std::to_string(affine[i]) + ", expected at most " +
                                        std::to_string(limit) + " in magnitude");
  }
}

}  // namespace

void augment_cpu(const std::int16_t* hu, const Affine* affine, std::int64_t n, std::int64_t views,
                 std::int64_t size, float* out) {
  if (size < 1 || size > kMaxAugmentSize)
    throw Error(ErrorCode::failure, "augmentation: images of " + std::to_string(size) +
                                        " pixels a side, expected 1 to 32768");
  for (std::int64_t i = 0; i < views * n; ++i) check(affine[i], i);

  const std::int64_t bands = (size + kBandRows - 1) / kBandRows;
  const std::int64_t pixels = size * size;
  // Views innermost: the second finds the source in cache.
  tbb::parallel_for(tbb::blocked_range<std::int64_t>(0, n * bands * views), [&](const auto& range) {
    for (std::int64_t task = range.begin(); task != range.end(); ++task) {
      const std::int64_t view = task % views;
      const std::int64_t band = task / views % bands;
      const std::int64_t image = task / views / bands;
      const FixedAffine map = to_fixed(affine[view * n + image].data());
      float* target = out + (view * n + image) * pixels;
      const std::int64_t last = std::min(size, (band + 1) * kBandRows);
      for (std::int64_t row = band * kBandRows; row < last; ++row)
        draw_row(hu + image * pixels, size, map, row, target + row * size);
    }
  });
}

}  // namespace wsp::train

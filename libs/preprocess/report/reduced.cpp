#include "preprocess/report/reduced.hpp"

#include <algorithm>
#include <cmath>

namespace wsp::qa {
namespace {

constexpr std::int64_t kSide = 128;

}  // namespace

ReducedCase reduced_case(std::int64_t width, std::int64_t height, std::size_t slices) {
  ReducedCase r;
  r.factor = std::max<std::int64_t>(1, std::min(width, height) / kSide);
  r.width = width / r.factor;
  r.height = height / r.factor;
  r.hu.resize(r.plane() * slices);
  r.coverage.resize(r.plane() * slices);
  return r;
}

void reduce_slice(std::span<const std::int16_t> hu, std::span<const std::uint8_t> mask,
                  std::int64_t width, std::int16_t low, std::int16_t high, std::size_t k,
                  ReducedCase& out, MaskSums& sums) {
  const auto w = static_cast<std::size_t>(width), f = static_cast<std::size_t>(out.factor);
  const auto columns = static_cast<std::size_t>(out.width);
  const auto area = static_cast<std::int32_t>(f * f);
  std::vector<std::int32_t> row_hu(columns * f), row_mask(columns * f);
  for (std::size_t y = 0; y < static_cast<std::size_t>(out.height); ++y) {
    std::fill(row_hu.begin(), row_hu.end(), 0);
    std::fill(row_mask.begin(), row_mask.end(), 0);
    for (std::size_t dy = 0; dy < f; ++dy) {
      const std::int16_t* image = hu.data() + (y * f + dy) * w;
      const std::uint8_t* liver = mask.data() + (y * f + dy) * w;
      for (std::size_t x = 0; x < columns * f; ++x) {  // vectorised by the compiler
        row_hu[x] += image[x];
        row_mask[x] += liver[x];
      }
    }
    for (std::size_t x = 0; x < columns; ++x) {
      std::int32_t sum = 0, covered = 0;
      for (std::size_t dx = 0; dx < f; ++dx) {
        sum += row_hu[x * f + dx];
        covered += row_mask[x * f + dx];
      }
      const std::size_t at = k * out.plane() + y * columns + x;
      out.hu[at] = static_cast<std::int16_t>(std::lrint(static_cast<double>(sum) / area));
      out.coverage[at] = static_cast<std::uint8_t>(covered * 255 / area);
      if (covered == 0) continue;
      for (std::size_t dy = 0; dy < f; ++dy)
        for (std::size_t dx = 0; dx < f; ++dx) {
          const std::size_t pixel = (y * f + dy) * w + x * f + dx;
          if (mask[pixel] == 0) continue;
          const std::int64_t value = hu[pixel];
          ++sums.n;
          sums.sum += value;
          sums.squares += value * value;
          sums.low += value <= low ? 1 : 0;
          sums.high += value >= high ? 1 : 0;
        }
    }
  }
}

}  // namespace wsp::qa

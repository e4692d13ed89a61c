#pragma once
#include <cstdint>
#include <span>
#include <vector>

/// Slices reduced to about 128 pixels a side: what the checks on pixels and the pictures work on.
namespace wsp::qa {

/// The kept slices of one case, each averaged over squares of `factor` pixels (a remainder at the
/// right and lower edge is dropped).
struct ReducedCase {
  std::int64_t width = 0, height = 0, factor = 1;
  std::vector<std::int16_t> hu;        ///< [slice][y][x], mean HU within the window
  std::vector<std::uint8_t> coverage;  ///< [slice][y][x], liver share in 255ths

  [[nodiscard]] std::size_t plane() const { return static_cast<std::size_t>(width * height); }
  [[nodiscard]] std::size_t slices() const { return plane() == 0 ? 0 : hu.size() / plane(); }
  [[nodiscard]] std::span<const std::int16_t> image(std::size_t k) const {
    return {hu.data() + k * plane(), plane()};
  }
  [[nodiscard]] std::span<const std::uint8_t> liver(std::size_t k) const {
    return {coverage.data() + k * plane(), plane()};
  }
};

/// Sums over the mask's pixels at full resolution.
struct MaskSums {
  std::int64_t n = 0, sum = 0, squares = 0, low = 0, high = 0;
};

/// An empty case for slices of width x height pixels with room for `slices`.
ReducedCase reduced_case(std::int64_t width, std::int64_t height, std::size_t slices);
/// Reduce one slice [height][width] into place k, and add its mask pixels to `sums`; `low` and
/// `high` are the ends of the window.
void reduce_slice(std::span<const std::int16_t> hu, std::span<const std::uint8_t> mask,
                  std::int64_t width, std::int16_t low, std::int16_t high, std::size_t k,
                  ReducedCase& out, MaskSums& sums);

}  // namespace wsp::qa

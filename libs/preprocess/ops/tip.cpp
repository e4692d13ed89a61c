#include "preprocess/ops/tip.hpp"

#include <algorithm>
#include <cmath>
#include <span>

#include "preprocess/ops/liver.hpp"
#include "preprocess/ops/slice_part.hpp"

namespace wsp {
namespace {

constexpr double kFromMm2 = 400, kLeastTipMm2 = 100, kLeastKept = 0.4, kMostBelowMm = 40;
constexpr double kSideMm = 2, kHalfWidthMm = 4, kMeanMm = 4, kSpreads = 1.5, kMostHu = 25;

// The box's pixels of a slice whose mean of kMeanMm about it lies within `most` of `mode`.
template <class Visit>  // visit(pixel)
void for_values(std::span<const std::int16_t> hu, const Geometry& g, const SliceBox& box,
                double mode, double most, Visit visit) {
  const auto [nx, ny, nz] = g.size;
  const auto hx = static_cast<std::int64_t>(kMeanMm / 2 / g.spacing_mm[0]);
  const auto hy = static_cast<std::int64_t>(kMeanMm / 2 / g.spacing_mm[1]);
  for (std::int64_t y = box.y0; y < box.y0 + box.ny; ++y)
    for (std::int64_t x = box.x0; x < box.x0 + box.nx; ++x) {
      std::int64_t sum = 0, count = 0;
      for (std::int64_t v = std::max<std::int64_t>(0, y - hy); v <= std::min(ny - 1, y + hy); ++v)
        for (std::int64_t u = std::max<std::int64_t>(0, x - hx); u <= std::min(nx - 1, x + hx);
             ++u) {
          sum += hu[static_cast<std::size_t>(v * nx + u)];
          ++count;
        }
      const double mean = static_cast<double>(sum) / static_cast<double>(count);
      if (std::abs(mean - mode) < most) visit(static_cast<std::size_t>(y * nx + x));
    }
}

// The box's pixels that are nearer than `mm` to `set`, or just so near.
SlicePixels within_mm(const SlicePixels& set, double mm, const SliceBox& box, const Geometry& g) {
  SlicePixels near(set.size());
  const auto away = distances_in_slice(set, box, g);
  for (std::int64_t y = 0; y < box.ny; ++y)
    for (std::int64_t x = 0; x < box.nx; ++x)
      near[static_cast<std::size_t>((box.y0 + y) * g.size[0] + box.x0 + x)] =
          away[static_cast<std::size_t>(y * box.nx + x)] <= mm * mm ? 1 : 0;
  return near;
}

SlicePixels complement(SlicePixels set) {
  for (auto& pixel : set) pixel ^= 1;
  return set;
}

std::int64_t pixels_of(std::span<const std::uint8_t> set) {
  return std::count(set.begin(), set.end(), 1);
}

}  // namespace

std::int64_t complete_tip(const Volume& volume, LiverMask& mask, double mode_hu, double spread_hu) {
  const Geometry& g = volume.geometry;
  const double pixel_mm2 = g.spacing_mm[0] * g.spacing_mm[1];
  const auto areas = liver_areas_mm2(mask);
  const auto extent = liver_extent(areas, pixel_mm2 / 2);
  const auto from = liver_extent(areas, kFromMm2);
  if (!from || extent->first == 0) return 0;
  const auto mm = [&](std::int64_t z) { return volume.z_mm[static_cast<std::size_t>(z)]; };
  const double most = std::min(kMostHu, kSpreads * spread_hu);
  const auto voxels = static_cast<std::size_t>(g.slice_voxels());
  const auto slice = [&](std::int64_t z) {
    return std::span(mask.voxels.data() + static_cast<std::size_t>(z) * voxels, voxels);
  };
  const double pixel_mm = std::max(g.spacing_mm[0], g.spacing_mm[1]);
  const double side_mm = std::max(kSideMm, pixel_mm);
  std::int64_t added = 0;
  SlicePixels above(slice(from->first).begin(), slice(from->first).end());
  for (std::int64_t z = from->first - 1; z >= 0; --z) {
    if (mm(extent->first) - mm(z) > kMostBelowMm) break;
    // Room for what lies beside the liver above, and a rim that is none.
    const auto box = box_about(above, side_mm + 2 * pixel_mm, g);
    if (box.nx == 0) break;
    const SlicePixels near = within_mm(above, side_mm, box, g);
    SlicePixels like(voxels);
    for_values(volume.slice(z), g, box, mode_hu, most, [&](std::size_t i) { like[i] = near[i]; });
    // Opened by a disc.
    const SlicePixels core = complement(within_mm(complement(like), kHalfWidthMm, box, g));
    SlicePixels inner(voxels);
    std::transform(core.begin(), core.end(), like.begin(), inner.begin(),
                   [](std::uint8_t a, std::uint8_t b) { return a & b; });
    const SlicePixels tip = within_mm(inner, kHalfWidthMm, box, g);
    const auto size = static_cast<double>(pixels_of(tip));
    const auto here = slice(z);
    if (size * pixel_mm2 < kLeastTipMm2 ||
        size < kLeastKept * static_cast<double>(pixels_of(above))) {
      if (z < extent->first) break;
    } else {
      const auto before = pixels_of(here);
      std::transform(tip.begin(), tip.end(), here.begin(), here.begin(),
                     [](std::uint8_t a, std::uint8_t b) { return a | b; });
      added += pixels_of(here) > before ? 1 : 0;
    }
    above.assign(here.begin(), here.end());
  }
  return added;
}

}  // namespace wsp

#include "preprocess/ops/dome.hpp"

#include <algorithm>
#include <span>
#include <vector>

#include "preprocess/ops/liver.hpp"
#include "preprocess/ops/runs.hpp"
#include "preprocess/ops/slice_part.hpp"

namespace wsp {
namespace {

constexpr std::int16_t kSoftTissueHu = -20, kLungHu = -400;
constexpr double kLeastMm2 = 100, kLeastCovered = 0.05, kMissed = 0.2, kMostPart = 0.75,
                 kMostGrowth = 1.1, kMostAboveMm = 40;
// Lung is looked for beyond what shares a voxel with the island.
constexpr double kRingFromMm = 2, kRingToMm = 6, kLeastLung = 0.8;

// Soft tissue of a slice in connected parts.
struct Tissue {
  RunRows rows;
  Parts parts;

  Tissue(std::span<const std::int16_t> hu, const Geometry& g) : rows(g.size[0]) {
    for (std::int64_t y = 0; y < g.size[1]; ++y)
      rows.add_row(hu.data() + y * g.size[0], kSoftTissueHu);
    parts = parts_of_slice(rows);
  }
  template <class Visit>  // visit(part, row, run)
  void for_runs(Visit visit) const {
    for (std::size_t y = 0; y < rows.rows(); ++y)
      for (std::size_t r = rows.first(y); r < rows.first(y + 1); ++r)
        visit(static_cast<std::size_t>(parts.of_run[r]), static_cast<std::int64_t>(y),
              rows.runs()[r]);
  }
};

// Lung within the ring about a part, as a share.
double lung_about(const SlicePixels& part, const SliceBox& box, std::span<const std::int16_t> hu,
                  const Geometry& g) {
  const auto away = distances_in_slice(part, box, g);
  std::int64_t ring = 0, lung = 0;
  for (std::int64_t y = 0; y < box.ny; ++y)
    for (std::int64_t x = 0; x < box.nx; ++x) {
      const float mm2 = away[static_cast<std::size_t>(y * box.nx + x)];
      if (mm2 <= kRingFromMm * kRingFromMm || mm2 > kRingToMm * kRingToMm) continue;
      ++ring;
      const auto at = static_cast<std::size_t>((box.y0 + y) * g.size[0] + box.x0 + x);
      lung += hu[at] <= kLungHu ? 1 : 0;
    }
  return ring == 0 ? 0 : static_cast<double>(lung) / static_cast<double>(ring);
}

struct Islands {
  std::int64_t pixels = 0;
  bool joined = false;  ///< what was missed of them is liver now
};

// The islands of at most `most` pixels of a slice, whose liver below is `below`, join it.
Islands add_islands(std::span<const std::int16_t> hu, const Geometry& g,
                    std::span<const std::uint8_t> below, std::int64_t most,
                    std::span<std::uint8_t> slice) {
  SlicePixels liver(slice.begin(), slice.end());
  for (std::size_t i = 0; i < liver.size(); ++i) liver[i] |= below[i];
  const Tissue tissue(hu, g);
  std::vector<std::int64_t> covered(tissue.parts.size.size());
  std::vector<double> x_sum(covered.size());
  double body = 0, body_x = 0;
  tissue.for_runs([&](std::size_t p, std::int64_t y, const Run& run) {
    const auto row = liver.begin() + y * g.size[0];
    covered[p] += std::count(row + run.begin, row + run.end, 1);
    const double length = run.end - run.begin;
    const double sum = length * (run.begin + run.end - 1) / 2;
    x_sum[p] += sum;
    body += length;
    body_x += sum;
  });
  Islands found;
  for (std::size_t p = 0; p < covered.size(); ++p) {
    const auto size = tissue.parts.size[p];
    const auto pixels = static_cast<double>(size);
    if (static_cast<double>(covered[p]) < kLeastCovered * pixels || size > most ||
        pixels * g.spacing_mm[0] * g.spacing_mm[1] < kLeastMm2 || x_sum[p] / pixels > body_x / body)
      continue;
    SlicePixels part(slice.size());
    tissue.for_runs([&](std::size_t of, std::int64_t y, const Run& run) {
      if (of != p) return;
      std::fill(part.begin() + y * g.size[0] + run.begin, part.begin() + y * g.size[0] + run.end,
                1);
    });
    const SliceBox box = box_about(part, kRingToMm, g);
    if (lung_about(part, box, hu, g) < kLeastLung) continue;
    found.pixels += size;
    std::int64_t missed = 0;
    for (std::size_t i = 0; i < slice.size(); ++i) missed += part[i] & ~slice[i] & 1;
    if (static_cast<double>(missed) < kMissed * pixels) continue;
    for (std::size_t i = 0; i < slice.size(); ++i) slice[i] |= part[i];
    found.joined = true;
  }
  return found;
}

}  // namespace

std::int64_t complete_dome(const Volume& volume, LiverMask& mask) {
  const Geometry& g = volume.geometry;
  const auto voxels = static_cast<std::size_t>(g.slice_voxels());
  const double pixel_mm2 = g.spacing_mm[0] * g.spacing_mm[1];
  const auto areas = liver_areas_mm2(mask);
  const auto extent = liver_extent(areas, pixel_mm2 / 2);
  std::int64_t added = 0;
  if (!extent) return added;
  const auto [first, last] = *extent;
  const auto mm = [&](std::int64_t z) { return volume.z_mm[static_cast<std::size_t>(z)]; };
  const double top_mm = mm(last) + kMostAboveMm;
  const double largest = *std::max_element(areas.begin(), areas.end()) / pixel_mm2;
  Islands island;  // of the slice below
  for (std::int64_t z = std::max(first + 1, (first + last) / 2); z < g.size[2]; ++z) {
    if (mm(z) > top_mm) break;
    const std::span<std::uint8_t> slice{mask.voxels.data() + static_cast<std::size_t>(z) * voxels,
                                        voxels};
    const double most =
        island.pixels > 0 ? kMostGrowth * static_cast<double>(island.pixels) : kMostPart * largest;
    island =
        add_islands(volume.slice(z), g, mask.slice(z - 1), static_cast<std::int64_t>(most), slice);
    if (z > last && island.pixels == 0) break;
    added += island.joined ? 1 : 0;
  }
  return added;
}

}  // namespace wsp

#include "preprocess/ops/liver.hpp"

#include <algorithm>
#include <array>
#include <numeric>

namespace wsp {
namespace {

// Fill what the background cannot reach from the border (4-connected) within one slice.
bool fill_holes(std::uint8_t* slice, const RunRows& mask, std::size_t first_row,
                std::size_t height) {
  if (mask.first(first_row) == mask.first(first_row + height)) return false;
  RunRows around(mask.width());
  for (std::size_t y = 0; y < height; ++y) around.add_complement(mask.row(first_row + y));
  const Parts gaps = parts_of_slice(around);
  std::vector<bool> outside(gaps.size.size(), false);
  const auto each_run = [&](const auto& take) {
    for (std::size_t y = 0; y < height; ++y)
      for (std::size_t i = around.first(y); i < around.first(y + 1); ++i)
        take(y, around.runs()[i], static_cast<std::size_t>(gaps.of_run[i]));
  };
  each_run([&](std::size_t y, const Run& run, std::size_t gap) {
    if (y == 0 || y + 1 == height || run.begin == 0 || run.end == mask.width()) outside[gap] = true;
  });
  bool changed = false;
  each_run([&](std::size_t y, const Run& run, std::size_t gap) {
    if (outside[gap]) return;
    std::uint8_t* row = slice + static_cast<std::int64_t>(y) * mask.width();
    std::fill(row + run.begin, row + run.end, std::uint8_t{1});
    changed = true;
  });
  return changed;
}

// Call take(first voxel, one behind the last, part) for every run of a mask.
template <class Take>
void for_each_run(const MaskRuns& runs, const Parts& parts, const Take& take) {
  for (std::size_t r = 0; r < runs.rows.rows(); ++r)
    for (std::size_t i = runs.rows.first(r); i < runs.rows.first(r + 1); ++i) {
      const auto row = static_cast<std::int64_t>(r) * runs.rows.width();
      const Run& run = runs.rows.runs()[i];
      take(row + run.begin, row + run.end, static_cast<std::size_t>(parts.of_run[i]));
    }
}

}  // namespace

std::vector<double> liver_areas_mm2(const LiverMask& mask) {
  return liver_areas_mm2(MaskRuns(mask));
}

std::vector<double> liver_areas_mm2(const MaskRuns& mask) {
  const double pixel = mask.geometry.spacing_mm[0] * mask.geometry.spacing_mm[1];
  std::vector<double> areas(static_cast<std::size_t>(mask.geometry.size[2]));
  for (std::size_t z = 0; z < areas.size(); ++z)
    areas[z] = pixel * static_cast<double>(mask.pixels(static_cast<std::int64_t>(z)));
  return areas;
}

std::optional<SliceRange> liver_extent(const std::vector<double>& areas_mm2, double min_area_mm2) {
  // The area is a pixel count times a product of two decimals: allow its last bits.
  const double least = min_area_mm2 * (1 - 1e-9);
  std::optional<SliceRange> extent;
  for (std::size_t z = 0; z < areas_mm2.size(); ++z) {
    if (areas_mm2[z] <= 0 || areas_mm2[z] < least) continue;
    if (!extent) extent = SliceRange{static_cast<std::int64_t>(z), 0};
    extent->last = static_cast<std::int64_t>(z);
  }
  return extent;
}

SliceRange central_slices(const SliceRange& extent, std::int64_t permille) {
  const std::int64_t length = extent.count();
  const std::int64_t n = std::max<std::int64_t>(1, permille * length / 1000);
  const std::int64_t first = extent.first + (length - n) / 2;
  return {first, first + n - 1};
}

double normalised_depth(double z_mm, double lowest_mm, double highest_mm) {
  return highest_mm > lowest_mm ? (z_mm - lowest_mm) / (highest_mm - lowest_mm) : 0.5;
}

void clean_mask(LiverMask& mask) {
  bool changed = false;
  MaskRuns runs(mask);
  const Parts parts = parts_of_volume(runs);
  if (parts.size.size() > 1) {
    const auto keep = static_cast<std::size_t>(
        std::max_element(parts.size.begin(), parts.size.end()) - parts.size.begin());
    for_each_run(runs, parts, [&](std::int64_t begin, std::int64_t end, std::size_t part) {
      if (part != keep)
        std::fill(mask.voxels.data() + begin, mask.voxels.data() + end, std::uint8_t{0});
    });
    runs = MaskRuns(mask);
    changed = true;
  }
  const auto height = static_cast<std::size_t>(mask.geometry.size[1]);
  for (std::int64_t z = 0; z < mask.geometry.size[2]; ++z)
    changed |= fill_holes(mask.voxels.data() + z * mask.geometry.slice_voxels(), runs.rows,
                          static_cast<std::size_t>(z) * height, height);
  if (changed) mask.flags.push_back(Code::MASK_CLEANED);
}

void drop_misplaced(LiverMask& mask, std::vector<std::uint8_t>& probability,
                    const std::function<bool(const SliceRange& slices)>& plausible) {
  const MaskRuns runs(mask);
  const Parts parts = parts_of_volume(runs);
  if (parts.size.size() < 2) return;
  std::vector<SliceRange> reach(parts.size.size(), {mask.geometry.size[2], -1});
  const std::int64_t plane = mask.geometry.slice_voxels();
  for_each_run(runs, parts, [&](std::int64_t begin, std::int64_t, std::size_t part) {
    reach[part].first = std::min(reach[part].first, begin / plane);
    reach[part].last = std::max(reach[part].last, begin / plane);
  });
  const std::int64_t largest = *std::max_element(parts.size.begin(), parts.size.end());
  std::vector<bool> well(parts.size.size(), false);
  bool some = false;
  for (std::size_t k = 0; k < well.size(); ++k) {
    if (parts.size[k] * 5 < largest) continue;
    well[k] = plausible(reach[k]);
    some = some || well[k];
  }
  if (!some ||
      std::count(well.begin(), well.end(), true) == static_cast<std::ptrdiff_t>(well.size()))
    return;
  bool changed = false;
  for_each_run(runs, parts, [&](std::int64_t begin, std::int64_t end, std::size_t part) {
    if (well[part] || parts.size[part] * 5 < largest) return;
    std::fill(mask.voxels.data() + begin, mask.voxels.data() + end, std::uint8_t{0});
    if (!probability.empty())
      std::fill(probability.data() + begin, probability.data() + end, std::uint8_t{0});
    changed = true;
  });
  if (changed) mask.flags.push_back(Code::MASK_CLEANED);
}

void remove_specks(LiverMask& mask) {
  constexpr double kSpeckMm2 = 100;
  const double pixel = mask.geometry.spacing_mm[0] * mask.geometry.spacing_mm[1];
  LiverMask slice;
  slice.geometry = mask.geometry;
  slice.geometry.size[2] = 1;
  bool changed = false;
  for (std::int64_t z = 0; z < mask.geometry.size[2]; ++z) {
    const auto voxels = mask.slice(z);
    slice.voxels.assign(voxels.begin(), voxels.end());
    const MaskRuns runs(slice);
    const Parts parts = parts_of_volume(runs);
    if (parts.size.size() < 2) continue;
    const std::int64_t largest = *std::max_element(parts.size.begin(), parts.size.end());
    std::uint8_t* out = mask.voxels.data() + z * mask.geometry.slice_voxels();
    for_each_run(runs, parts, [&](std::int64_t begin, std::int64_t end, std::size_t part) {
      const std::int64_t size = parts.size[part];
      if (size * 10 >= largest || static_cast<double>(size) * pixel >= kSpeckMm2) return;
      std::fill(out + begin, out + end, std::uint8_t{0});
      changed = true;
    });
  }
  if (changed) mask.flags.push_back(Code::MASK_CLEANED);
}

std::vector<std::string> border_contact(const MaskRuns& mask) {
  const auto [nx, ny, nz] = mask.geometry.size;
  std::array<bool, 6> reached{};
  for (std::int64_t z = 0; z < nz; ++z)
    for (std::int64_t y = 0; y < ny; ++y) {
      const auto row = mask.row(y, z);
      if (row.empty()) continue;
      const std::array<bool, 6> here{
          row.front().begin == 0, row.back().end == nx, y == 0, y == ny - 1, z == 0, z == nz - 1};
      for (std::size_t side = 0; side < here.size(); ++side) reached[side] |= here[side];
    }
  constexpr std::array<const char*, 6> kSides{"right",     "left", "anterior",
                                              "posterior", "foot", "head"};
  std::vector<std::string> sides;
  for (std::size_t side = 0; side < reached.size(); ++side)
    if (reached[side]) sides.emplace_back(kSides[side]);
  return sides;
}

double dice_of(std::span<const std::uint8_t> a, std::span<const std::uint8_t> b) {
  std::int64_t both = 0, sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    both += a[i] & b[i];
    sum += a[i] + b[i];
  }
  return sum > 0 ? 2 * static_cast<double>(both) / static_cast<double>(sum) : 1.0;
}

std::vector<std::int64_t> component_sizes(const MaskRuns& mask) {
  auto sizes = parts_of_volume(mask).size;
  std::sort(sizes.rbegin(), sizes.rend());
  return sizes;
}

std::vector<Code> mask_flags(const LiverMask& mask, double liver_ml) {
  const MaskRuns runs(mask);
  return mask_flags(runs, liver_ml, component_sizes(runs));
}

std::vector<Code> mask_flags(const MaskRuns& mask, double liver_ml,
                             const std::vector<std::int64_t>& sizes, double least_ml) {
  std::vector<Code> flags;
  std::vector<std::int64_t> held;
  for (std::int64_t z = 0; z < mask.geometry.size[2]; ++z)
    if (mask.pixels(z) > 0) held.push_back(z);
  if (!held.empty()) {
    if (held.front() == 0 || held.back() == mask.geometry.size[2] - 1)
      flags.push_back(Code::LIVER_TRUNCATED);
    if (static_cast<std::int64_t>(held.size()) <= held.back() - held.front())
      flags.push_back(Code::MASK_GAPS);
  }
  if (liver_ml < least_ml) flags.push_back(Code::LIVER_SMALL);
  const auto total = std::accumulate(sizes.begin(), sizes.end(), std::int64_t{0});
  if (sizes.size() > 1 && sizes[1] * 10 > total) flags.push_back(Code::LIVER_FRAGMENTED);
  return flags;
}

double liver_volume_ml(const std::vector<double>& areas_mm2, const std::vector<double>& z_mm,
                       double spacing_mm) {
  const std::size_t n = areas_mm2.size();
  double mm3 = 0;
  for (std::size_t i = 0; i < n; ++i) {
    double height = spacing_mm;
    if (n > 1) {
      const double below = i > 0 ? z_mm[i] - z_mm[i - 1] : z_mm[1] - z_mm[0];
      const double above = i + 1 < n ? z_mm[i + 1] - z_mm[i] : z_mm[n - 1] - z_mm[n - 2];
      height = (below + above) / 2;
    }
    mm3 += areas_mm2[i] * height;
  }
  return mm3 / 1000;
}

}  // namespace wsp

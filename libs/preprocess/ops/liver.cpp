#include "preprocess/ops/liver.hpp"

#include <algorithm>
#include <array>
#include <numeric>

namespace wsp {
namespace {

// 26-connected components by flood fill; 0 is background, components count from 1.
struct Components {
  std::vector<std::int32_t> label;
  std::vector<std::int64_t> size;  // [component - 1]
};

Components connected_components(const LiverMask& mask) {
  const auto [nx, ny, nz] = mask.geometry.size;
  Components result;
  result.label.assign(mask.voxels.size(), 0);
  std::vector<std::int64_t> stack;
  for (std::size_t seed = 0; seed < mask.voxels.size(); ++seed) {
    if (mask.voxels[seed] == 0 || result.label[seed] != 0) continue;
    result.size.push_back(0);
    const auto id = static_cast<std::int32_t>(result.size.size());
    result.label[seed] = id;
    stack.push_back(static_cast<std::int64_t>(seed));
    while (!stack.empty()) {
      const std::int64_t at = stack.back();
      stack.pop_back();
      ++result.size.back();
      const std::int64_t x = at % nx;
      const std::int64_t y = at / nx % ny;
      const std::int64_t z = at / (nx * ny);
      for (std::int64_t zz = std::max<std::int64_t>(0, z - 1); zz <= std::min(nz - 1, z + 1); ++zz)
        for (std::int64_t yy = std::max<std::int64_t>(0, y - 1); yy <= std::min(ny - 1, y + 1);
             ++yy)
          for (std::int64_t xx = std::max<std::int64_t>(0, x - 1); xx <= std::min(nx - 1, x + 1);
               ++xx) {
            const auto next = static_cast<std::size_t>((zz * ny + yy) * nx + xx);
            if (mask.voxels[next] != 0 && result.label[next] == 0) {
              result.label[next] = id;
              stack.push_back(static_cast<std::int64_t>(next));
            }
          }
    }
  }
  return result;
}

// Fill what the background cannot reach from the border (4-connected) within one slice.
bool fill_holes(std::uint8_t* slice, std::int64_t nx, std::int64_t ny) {
  std::vector<std::uint8_t> outside(static_cast<std::size_t>(nx * ny), 0);
  std::vector<std::int64_t> stack;
  const auto visit = [&](std::int64_t at) {
    const auto i = static_cast<std::size_t>(at);
    if (slice[i] == 0 && outside[i] == 0) {
      outside[i] = 1;
      stack.push_back(at);
    }
  };
  for (std::int64_t x = 0; x < nx; ++x) {
    visit(x);
    visit((ny - 1) * nx + x);
  }
  for (std::int64_t y = 0; y < ny; ++y) {
    visit(y * nx);
    visit(y * nx + nx - 1);
  }
  while (!stack.empty()) {
    const std::int64_t at = stack.back();
    stack.pop_back();
    const std::int64_t x = at % nx;
    const std::int64_t y = at / nx;
    if (x > 0) visit(at - 1);
    if (x + 1 < nx) visit(at + 1);
    if (y > 0) visit(at - nx);
    if (y + 1 < ny) visit(at + nx);
  }
  bool changed = false;
  for (std::size_t i = 0; i < outside.size(); ++i)
    if (slice[i] == 0 && outside[i] == 0) {
      slice[i] = 1;
      changed = true;
    }
  return changed;
}

}  // namespace

std::vector<double> liver_areas_mm2(const LiverMask& mask) {
  const double pixel = mask.geometry.spacing_mm[0] * mask.geometry.spacing_mm[1];
  std::vector<double> areas(static_cast<std::size_t>(mask.geometry.size[2]));
  for (std::size_t z = 0; z < areas.size(); ++z) {
    const auto slice = mask.slice(static_cast<std::int64_t>(z));
    areas[z] = pixel * static_cast<double>(std::count(slice.begin(), slice.end(), 1));
  }
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
  const Components parts = connected_components(mask);
  if (parts.size.size() > 1) {
    const auto keep = static_cast<std::int32_t>(
        std::max_element(parts.size.begin(), parts.size.end()) - parts.size.begin() + 1);
    for (std::size_t i = 0; i < mask.voxels.size(); ++i)
      mask.voxels[i] = parts.label[i] == keep ? 1 : 0;
    changed = true;
  }
  for (std::int64_t z = 0; z < mask.geometry.size[2]; ++z)
    changed |= fill_holes(mask.voxels.data() + z * mask.geometry.slice_voxels(),
                          mask.geometry.size[0], mask.geometry.size[1]);
  if (changed) mask.flags.push_back(Code::MASK_CLEANED);
}

void drop_misplaced(LiverMask& mask, std::vector<std::uint8_t>& probability,
                    const std::function<bool(const SliceRange& slices)>& plausible) {
  const Components parts = connected_components(mask);
  if (parts.size.size() < 2) return;
  std::vector<SliceRange> reach(parts.size.size(), {mask.geometry.size[2], -1});
  const auto plane = static_cast<std::size_t>(mask.geometry.slice_voxels());
  for (std::size_t i = 0; i < parts.label.size(); ++i) {
    if (parts.label[i] == 0) continue;
    SliceRange& r = reach[static_cast<std::size_t>(parts.label[i] - 1)];
    const auto z = static_cast<std::int64_t>(i / plane);
    r.first = std::min(r.first, z);
    r.last = std::max(r.last, z);
  }
  const std::int64_t largest = *std::max_element(parts.size.begin(), parts.size.end());
  std::vector<bool> well(parts.size.size(), false);
  bool some = false;
  for (std::size_t k = 0; k < well.size(); ++k) {
    if (parts.size[k] * 5 < largest) continue;
    well[k] = plausible(reach[k]);
    some = some || well[k];
  }
  if (!some || std::count(well.begin(), well.end(), true) == static_cast<std::ptrdiff_t>(well.size()))
    return;
  bool changed = false;
  for (std::size_t i = 0; i < parts.label.size(); ++i) {
    if (parts.label[i] == 0) continue;
    const auto k = static_cast<std::size_t>(parts.label[i] - 1);
    if (well[k] || parts.size[k] * 5 < largest) continue;
    mask.voxels[i] = 0;
    if (!probability.empty()) probability[i] = 0;
    changed = true;
  }
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
    const Components parts = connected_components(slice);
    if (parts.size.size() < 2) continue;
    const std::int64_t largest = *std::max_element(parts.size.begin(), parts.size.end());
    std::uint8_t* out = mask.voxels.data() + z * mask.geometry.slice_voxels();
    for (std::size_t i = 0; i < slice.voxels.size(); ++i) {
      if (parts.label[i] == 0) continue;
      const std::int64_t size = parts.size[static_cast<std::size_t>(parts.label[i] - 1)];
      if (size * 10 >= largest || static_cast<double>(size) * pixel >= kSpeckMm2) continue;
      out[i] = 0;
      changed = true;
    }
  }
  if (changed) mask.flags.push_back(Code::MASK_CLEANED);
}

std::vector<std::string> border_contact(const LiverMask& mask) {
  const auto [nx, ny, nz] = mask.geometry.size;
  std::array<bool, 6> reached{};
  std::size_t at = 0;
  for (std::int64_t z = 0; z < nz; ++z)
    for (std::int64_t y = 0; y < ny; ++y)
      for (std::int64_t x = 0; x < nx; ++x) {
        if (mask.voxels[at++] == 0) continue;
        const std::array<bool, 6> here{x == 0,      x == nx - 1, y == 0,
                                       y == ny - 1, z == 0,      z == nz - 1};
        for (std::size_t side = 0; side < here.size(); ++side) reached[side] |= here[side];
      }
  constexpr std::array<const char*, 6> kSides{"right",     "left", "anterior",
                                              "posterior", "foot", "head"};
  std::vector<std::string> sides;
  for (std::size_t side = 0; side < reached.size(); ++side)
    if (reached[side]) sides.emplace_back(kSides[side]);
  return sides;
}

std::vector<std::int64_t> component_sizes(const LiverMask& mask) {
  auto sizes = connected_components(mask).size;
  std::sort(sizes.rbegin(), sizes.rend());
  return sizes;
}

std::vector<Code> mask_flags(const LiverMask& mask, double liver_ml) {
  return mask_flags(mask, liver_ml, component_sizes(mask));
}

std::vector<Code> mask_flags(const LiverMask& mask, double liver_ml,
                             const std::vector<std::int64_t>& sizes) {
  std::vector<Code> flags;
  const auto holds = [&](std::int64_t z) {
    const auto slice = mask.slice(z);
    return std::find(slice.begin(), slice.end(), 1) != slice.end();
  };
  std::vector<std::int64_t> held;
  for (std::int64_t z = 0; z < mask.geometry.size[2]; ++z)
    if (holds(z)) held.push_back(z);
  if (!held.empty()) {
    if (held.front() == 0 || held.back() == mask.geometry.size[2] - 1)
      flags.push_back(Code::LIVER_TRUNCATED);
    if (static_cast<std::int64_t>(held.size()) <= held.back() - held.front())
      flags.push_back(Code::MASK_GAPS);
  }
  constexpr double kSmallMl = 500;
  if (liver_ml < kSmallMl) flags.push_back(Code::LIVER_SMALL);
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

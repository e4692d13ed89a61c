#include "preprocess/ops/refine.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "io/core/parallel.hpp"
#include "preprocess/ops/distance.hpp"
#include "preprocess/ops/least_surface.hpp"
#include "preprocess/ops/liver.hpp"

namespace wsp {
namespace {

constexpr float kBeyond = std::numeric_limits<float>::infinity();
// Bone and gas must not pull the values about them far.
constexpr float kLowHu = -200, kHighHu = 400, kFatHu = -60;
using Voxels = std::vector<std::uint8_t>;

// The part of a volume about a mask, averaged over blocks of voxels, [z][y][x].
struct Reduced {
  SurfaceGrid grid;
  std::array<std::int64_t, 3> first{}, end{}, block{};  // in the volume's voxels, by axis x, y, z
  std::vector<float> hu;
  Voxels mask;
};

// Where it lies; nothing for an empty mask.
std::optional<Reduced> place_about(const Volume& volume, const LiverMask& mask, const Refine& how) {
  constexpr double kRoom = 5;
  const Geometry& g = mask.geometry;
  std::array<std::int64_t, 3> low = g.size, high{-1, -1, -1};
  std::size_t at = 0;
  for (std::int64_t z = 0; z < g.size[2]; ++z)
    for (std::int64_t y = 0; y < g.size[1]; ++y)
      for (std::int64_t x = 0; x < g.size[0]; ++x) {
        if (mask.voxels[at++] == 0) continue;
        const std::array<std::int64_t, 3> here{x, y, z};
        for (std::size_t k = 0; k < 3; ++k) {
          low[k] = std::min(low[k], here[k]);
          high[k] = std::max(high[k], here[k]);
        }
      }
  if (high[0] < 0) return std::nullopt;
  Reduced part;
  for (std::size_t k = 0; k < 3; ++k) {
    const auto pad =
        static_cast<std::int64_t>(std::ceil((how.rounds * how.grow_mm + kRoom) / g.spacing_mm[k]));
    const std::int64_t block =
        std::max<std::int64_t>(1, std::lround(how.grid_mm / g.spacing_mm[k]));
    part.block[k] = block;
    part.first[k] = std::max<std::int64_t>(0, low[k] - pad);
    part.end[k] = std::min(g.size[k], high[k] + pad + 1);
    part.grid.size[k] = (part.end[k] - part.first[k] + block - 1) / block;
    for (std::int64_t i = part.first[k]; i < part.end[k]; i += block) {
      const std::int64_t last = std::min(i + block, part.end[k]) - 1;
      part.grid.position_mm[k].push_back(k == 2
                                             ? (volume.z_mm[static_cast<std::size_t>(i)] +
                                                volume.z_mm[static_cast<std::size_t>(last)]) /
                                                   2
                                             : static_cast<double>(i + last) / 2 * g.spacing_mm[k]);
    }
  }
  return part;
}

// Calls visit(reduced voxel, volume's voxel) for all voxels, in parallel by reduced slice.
template <class Visit>
void for_blocks(const Reduced& part, const Geometry& g, Visit visit) {
  const auto [nx, ny, nz] = part.grid.size;
  wsp::parallel_loop(std::int64_t{0}, nz, [&, nx = nx, ny = ny](std::int64_t k) {
    const std::int64_t z0 = part.first[2] + k * part.block[2];
    for (std::int64_t z = z0; z < std::min(z0 + part.block[2], part.end[2]); ++z)
      for (std::int64_t y = part.first[1]; y < part.end[1]; ++y)
        for (std::int64_t x = part.first[0]; x < part.end[0]; ++x)
          visit(static_cast<std::size_t>((k * ny + (y - part.first[1]) / part.block[1]) * nx +
                                         (x - part.first[0]) / part.block[0]),
                static_cast<std::size_t>((z * g.size[1] + y) * g.size[0] + x));
  });
}

template <class Work>
void for_voxels(const SurfaceGrid& grid, Work work) {
  const auto plane = static_cast<std::size_t>(grid.size[0] * grid.size[1]);
  wsp::parallel_loop(std::size_t{0}, static_cast<std::size_t>(grid.size[2]), [&](std::size_t z) {
    for (std::size_t i = z * plane; i < (z + 1) * plane; ++i) work(i);
  });
}

void fill(Reduced& part, const Volume& volume, const LiverMask& mask) {
  const auto [nx, ny, nz] = part.grid.size;
  const auto n = static_cast<std::size_t>(nx * ny * nz);
  std::vector<float> count(n), inside(n);
  part.hu.assign(n, 0);
  part.mask.assign(n, 0);
  for_blocks(part, mask.geometry, [&](std::size_t to, std::size_t from) {
    ++count[to];
    inside[to] += mask.voxels[from] != 0 ? 1.0F : 0.0F;
    part.hu[to] += std::clamp(static_cast<float>(volume.hu[from]), kLowHu, kHighHu);
  });
  for_voxels(part.grid, [&](std::size_t i) {
    part.hu[i] /= count[i];
    part.mask[i] = 2 * inside[i] > count[i] ? 1 : 0;
  });
}

// The signed distance from a mask's surface in mm, outside negative.
std::vector<float> depth_in(const Voxels& mask, const SurfaceGrid& grid) {
  std::vector<float> depth(mask.size()), away(mask.size());
  for_voxels(grid, [&](std::size_t i) {
    depth[i] = mask[i] == 0 ? 0.0F : kBeyond;
    away[i] = mask[i] == 0 ? kBeyond : 0.0F;
  });
  squared_distances(std::span(depth), grid.position_mm);
  squared_distances(std::span(away), grid.position_mm);
  for_voxels(grid, [&](std::size_t i) { depth[i] = std::sqrt(depth[i]) - std::sqrt(away[i]); });
  return depth;
}

struct Values {
  double mode = 0, spread = 0;
};

// The commonest value among those of the core, and the robust spread about it. Values that were
// clipped are none, unless there are no others.
Values values_of(const std::vector<float>& image, const Voxels& core) {
  constexpr int kLow = -200, kBins = 300, kNear = 40;
  constexpr double kBin = 2, kLeastSpread = 5;
  std::array<double, kBins> count{};
  const auto is_clipped = [](float hu) { return hu <= kLowHu || hu >= kHighHu; };
  const bool all_clipped = [&] {
    for (std::size_t i = 0; i < image.size(); ++i)
      if (core[i] != 0 && !is_clipped(image[i])) return false;
    return true;
  }();
  for (std::size_t i = 0; i < image.size(); ++i)
    if (core[i] != 0 && (all_clipped || !is_clipped(image[i])))
      ++count[static_cast<std::size_t>(
          std::clamp(static_cast<int>((image[i] - kLow) / kBin), 0, kBins - 1))];
  // Smoothed over some bins, so that noise makes no mode.
  std::size_t best = 0;
  double most = -1;
  for (int b = 0; b < kBins; ++b) {
    double sum = 0;
    for (int k = -6; k <= 6; ++k)
      if (b + k >= 0 && b + k < kBins)
        sum += std::exp(-k * k / 8.0) * count[static_cast<std::size_t>(b + k)];
    if (sum > most) {
      most = sum;
      best = static_cast<std::size_t>(b);
    }
  }
  Values found;
  found.mode = kLow + kBin * (static_cast<double>(best) + 0.5);
  std::vector<float> away;
  for (std::size_t i = 0; i < image.size(); ++i)
    if (const float d = std::abs(image[i] - static_cast<float>(found.mode));
        core[i] != 0 && d < kNear)
      away.push_back(d);
  const auto middle = away.begin() + static_cast<std::ptrdiff_t>(away.size() / 2);
  std::nth_element(away.begin(), middle, away.end());
  found.spread = std::max(kLeastSpread, 1.4826 * static_cast<double>(*middle));
  return found;
}

// For every 4 HU the log of how much commoner they are in the core than in the surroundings.
class LogRatio {
 public:
  LogRatio(const std::vector<float>& image, const std::vector<float>& depth, double core_mm,
           const Refine& how) {
    constexpr double kGap = 2;  // next to the surface it is not known what a voxel is
    std::array<double, kBins> liver{}, other{};
    for (std::size_t i = 0; i < image.size(); ++i) {
      const auto d = static_cast<double>(depth[i]);
      if (d > core_mm) ++liver[bin(image[i])];
      if (d < -kGap && d > -how.around_mm) ++other[bin(image[i])];
    }
    const auto p = spread(liver), q = spread(other);
    for (std::size_t b = 0; b < kBins; ++b) {
      ratio_[b] =
          static_cast<float>(std::clamp(std::log(p[b] / q[b]), -how.values_most, how.values_most));
      overlap_ += std::min(p[b], q[b]);
    }
  }
  [[nodiscard]] float at(float hu) const { return ratio_[bin(hu)]; }
  [[nodiscard]] double overlap() const { return std::min(1.0, overlap_); }

 private:
  static constexpr std::size_t kBins = 150;
  static std::size_t bin(float hu) {
    constexpr float kWidth = (kHighHu - kLowHu) / static_cast<float>(kBins);
    return static_cast<std::size_t>(
        std::clamp((hu - kLowHu) / kWidth, 0.0F, static_cast<float>(kBins - 1)));
  }
  // Smoothed by 5 HU, and nothing impossible.
  static std::array<double, kBins> spread(const std::array<double, kBins>& count) {
    constexpr double kSigma = 1.25, kLeast = 1e-5;
    constexpr int kReach = 5, kLast = static_cast<int>(kBins) - 1;
    std::array<double, kBins> smooth{};
    double total = 0;
    for (int b = 0; b <= kLast; ++b)
      for (int k = -kReach; k <= kReach; ++k) {
        const double part = std::exp(-0.5 * k * k / (kSigma * kSigma)) *
                            count[static_cast<std::size_t>(std::clamp(b + k, 0, kLast))];
        smooth[static_cast<std::size_t>(b)] += part;
        total += part;
      }
    for (double& s : smooth) s = s / std::max(1.0, total) + kLeast;
    return smooth;
  }
  std::array<float, kBins> ratio_{};
  double overlap_ = 0;
};

// What the surface costs at each voxel: the less, the more the HU change.
std::vector<float> surface_cost(const std::vector<float>& image, const SurfaceGrid& grid,
                                const Refine& how) {
  constexpr double kLeast = 0.05;
  const std::array<std::int64_t, 3> stride{1, grid.size[0], grid.size[0] * grid.size[1]};
  std::vector<float> cost(image.size());
  for_voxels(grid, [&](std::size_t i) {
    const auto at = static_cast<std::int64_t>(i);
    double squares = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      const std::int64_t here = at / stride[k] % grid.size[k];
      const std::int64_t low = std::max<std::int64_t>(0, here - 1),
                         high = std::min(grid.size[k] - 1, here + 1);
      if (low == high) continue;
      const auto value = [&](std::int64_t n) {
        return static_cast<double>(image[static_cast<std::size_t>(at + (n - here) * stride[k])]);
      };
      const auto& p = grid.position_mm[k];
      const double slope = (value(high) - value(low)) /
                           (p[static_cast<std::size_t>(high)] - p[static_cast<std::size_t>(low)]);
      squares += slope * slope;
    }
    cost[i] = static_cast<float>(how.surface_mm *
                                 (kLeast + 1 / (1 + squares / (how.edge_hu_mm * how.edge_hu_mm))));
  });
  return cost;
}

void keep_largest_and_fill(Voxels& mask, const SurfaceGrid& grid) {
  LiverMask part;
  part.geometry.size = grid.size;
  part.voxels = std::move(mask);
  clean_mask(part);
  mask = std::move(part.voxels);
}

// One round; false where the mask has no core.
bool refine_once(Reduced& part, const std::vector<float>& image, const std::vector<float>& cost,
                 const std::vector<float>& given, std::vector<float>& region, const Refine& how,
                 RefinedLiver& result) {
  constexpr double kLeastCoreMm3 = 20000;
  constexpr float kSureIn = 4;
  const SurfaceGrid& grid = part.grid;
  const auto depth = region.empty() ? given : depth_in(part.mask, grid);
  const auto core_of = [&](double mm) {
    Voxels core(depth.size());
    std::transform(depth.begin(), depth.end(), core.begin(),
                   [&](float d) { return d > static_cast<float>(mm) ? 1 : 0; });
    return core;
  };
  double core_mm = how.core_mm;
  Voxels core = core_of(core_mm);
  const double voxel_mm3 = [&] {
    double product = 1;
    for (const auto& p : grid.position_mm)
      if (p.size() > 1) product *= (p.back() - p.front()) / static_cast<double>(p.size() - 1);
    return product;
  }();
  if (static_cast<double>(std::count(core.begin(), core.end(), 1)) * voxel_mm3 < kLeastCoreMm3)
    core = core_of(core_mm /= 2);
  if (std::find(core.begin(), core.end(), 1) == core.end()) return false;
  const Values liver = values_of(image, core);
  result.mode_hu = liver.mode;
  result.spread_hu = liver.spread;
  const LogRatio ratio(image, depth, core_mm, how);
  result.overlap = ratio.overlap();
  std::vector<float> evidence(image.size());
  for_voxels(grid, [&](std::size_t i) {
    const auto near = static_cast<float>(how.near_mm);
    float e = std::clamp(given[i] / near, -1.0F, 1.0F) + ratio.at(image[i]);
    // The core stays whatever its value, but fat: tumours and vessels.
    if (depth[i] > static_cast<float>(how.core_mm) && image[i] > kFatHu) e += kSureIn;
    evidence[i] = depth[i] < -static_cast<float>(how.grow_mm) ? -kBeyond : e;
  });
  region = least_surface(evidence, cost, grid, how.steps);
  for_voxels(grid, [&](std::size_t i) { part.mask[i] = region[i] > 0.5F ? 1 : 0; });
  keep_largest_and_fill(part.mask, grid);
  return true;
}

// The region's border between the reduced voxels is where it is a half, between their centres
// linearly.
void restore(const Reduced& part, const std::vector<float>& region, LiverMask& mask) {
  struct Place {
    std::int64_t low, high;
    float weight;  // of the high one
  };
  std::array<std::vector<Place>, 3> places;
  for (std::size_t k = 0; k < 3; ++k)
    for (std::int64_t i = 0; i < part.end[k] - part.first[k]; ++i) {
      const double at = (static_cast<double>(i) - static_cast<double>(part.block[k] - 1) / 2) /
                        static_cast<double>(part.block[k]);
      const auto low = static_cast<std::int64_t>(std::floor(at));
      const auto within = [&](std::int64_t n) {
        return std::clamp<std::int64_t>(n, 0, part.grid.size[k] - 1);
      };
      places[k].push_back(
          {within(low), within(low + 1), static_cast<float>(at - static_cast<double>(low))});
    }
  std::fill(mask.voxels.begin(), mask.voxels.end(), 0);
  const auto [nx, ny, nz] = part.grid.size;
  wsp::parallel_loop(std::size_t{0}, places[2].size(), [&, nx = nx, ny = ny](std::size_t z) {
    for (std::size_t y = 0; y < places[1].size(); ++y) {
      const Place &pz = places[2][z], &py = places[1][y];
      std::vector<float> row(static_cast<std::size_t>(nx));
      for (std::int64_t x = 0; x < nx; ++x) {
        const auto value = [&](std::int64_t kz, std::int64_t ky) {
          return region[static_cast<std::size_t>((kz * ny + ky) * nx + x)];
        };
        row[static_cast<std::size_t>(x)] =
            (1 - pz.weight) *
                ((1 - py.weight) * value(pz.low, py.low) + py.weight * value(pz.low, py.high)) +
            pz.weight *
                ((1 - py.weight) * value(pz.high, py.low) + py.weight * value(pz.high, py.high));
      }
      auto* out = mask.voxels.data() +
                  ((part.first[2] + static_cast<std::int64_t>(z)) * mask.geometry.size[1] +
                   part.first[1] + static_cast<std::int64_t>(y)) *
                      mask.geometry.size[0] +
                  part.first[0];
      for (const Place& px : places[0])
        *out++ = (1 - px.weight) * row[static_cast<std::size_t>(px.low)] +
                             px.weight * row[static_cast<std::size_t>(px.high)] >
                         0.5F
                     ? 1
                     : 0;
    }
  });
}

}  // namespace

RefinedLiver refine_liver(const Volume& volume, LiverMask& mask, const Refine& how) {
  RefinedLiver result;
  auto part = place_about(volume, mask, how);
  if (!part) return result;
  fill(*part, volume, mask);
  const std::vector<float>& image = part->hu;
  std::vector<float> region;
  const auto cost = surface_cost(image, part->grid, how), given = depth_in(part->mask, part->grid);
  int round = 0;
  while (round < how.rounds && refine_once(*part, image, cost, given, region, how, result)) ++round;
  if (round == 0) return result;
  // Of the region only the largest part, and its holes filled.
  for_voxels(part->grid, [&](std::size_t i) {
    region[i] = part->mask[i] != 0 ? std::max(region[i], 0.6F) : std::min(region[i], 0.5F);
  });
  const Voxels before = mask.voxels;
  restore(*part, region, mask);
  result.agreement = dice_of(before, mask.voxels);
  return result;
}

}  // namespace wsp

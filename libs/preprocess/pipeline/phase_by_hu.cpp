#include "preprocess/pipeline/phase_by_hu.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

namespace wsp {
namespace {

constexpr double kReachMm = 2.5;  // half a square: segmental vessels are some 5 mm wide
constexpr double kEnhancedParenchyma = 80, kEnhancedVessel = 110;
constexpr double kVesselAbove = 35, kVesselAboveNoise = 3.5;

// Counts per HU of int16.
class Counts {
 public:
  void add(std::int64_t hu) {
    ++counts_[static_cast<std::size_t>(std::clamp<std::int64_t>(hu, -32768, 32767) + 32768)];
    ++n_;
  }
  [[nodiscard]] std::int64_t size() const { return n_; }
  // The least value that at least this share of all does not exceed.
  [[nodiscard]] double percentile(double share) const {
    const auto wanted = static_cast<std::int64_t>(std::ceil(share * static_cast<double>(n_)));
    std::int64_t seen = 0;
    for (std::size_t v = 0; v < counts_.size(); ++v)
      if ((seen += counts_[v]) >= wanted && seen > 0) return static_cast<double>(v) - 32768;
    return 0;
  }

 private:
  std::vector<std::int64_t> counts_ = std::vector<std::int64_t>(65536, 0);
  std::int64_t n_ = 0;
};

// Sums over rectangles that begin at the corner, one row and column of zeros before them.
void accumulate(std::span<const std::int16_t> hu, std::span<const std::uint8_t> liver,
                std::int64_t nx, std::int64_t ny, std::vector<std::int64_t>& sum,
                std::vector<std::int64_t>& inside) {
  const auto width = static_cast<std::size_t>(nx + 1);
  sum.assign(width * static_cast<std::size_t>(ny + 1), 0);
  inside.assign(sum.size(), 0);
  for (std::size_t y = 0; y < static_cast<std::size_t>(ny); ++y) {
    std::int64_t row_sum = 0, row_inside = 0;
    for (std::size_t x = 0; x < static_cast<std::size_t>(nx); ++x) {
      const std::size_t at = y * static_cast<std::size_t>(nx) + x;
      row_sum += hu[at];
      row_inside += liver[at] != 0 ? 1 : 0;
      const std::size_t here = (y + 1) * width + x + 1;
      sum[here] = sum[here - width] + row_sum;
      inside[here] = inside[here - width] + row_inside;
    }
  }
}

}  // namespace

std::string_view to_string(HuPhase phase) {
  switch (phase) {
    case HuPhase::portal:
      return "portal";
    case HuPhase::unenhanced:
      return "unenhanced";
    case HuPhase::unclear:
      break;
  }
  return "unclear";
}

PhaseByHu phase_by_hu(const Volume& volume, const LiverMask& mask) {
  PhaseByHu result;
  const Geometry& g = volume.geometry;
  const auto [nx, ny, nz] = g.size;
  const auto reach = [&](int axis) {
    return static_cast<std::int64_t>(kReachMm / g.spacing_mm[static_cast<std::size_t>(axis)]);
  };
  const std::int64_t rx = reach(0), ry = reach(1), area = (2 * rx + 1) * (2 * ry + 1);
  Counts single, means;
  std::int64_t total = 0;
  std::vector<std::int64_t> sum, inside;
  for (std::int64_t z = 0; z < nz; ++z) {
    const auto hu = volume.slice(z);
    const auto liver = mask.slice(z);
    bool any = false;
    for (std::size_t i = 0; i < liver.size(); ++i)
      if (liver[i] != 0) {
        single.add(hu[i]);
        total += hu[i];
        any = true;
      }
    if (!any) continue;
    accumulate(hu, liver, nx, ny, sum, inside);
    for (std::int64_t y = ry; y + ry < ny; ++y)
      for (std::int64_t x = rx; x + rx < nx; ++x) {
        const auto at = [&](std::int64_t row, std::int64_t column) {
          return static_cast<std::size_t>(row * (nx + 1) + column);
        };
        const std::size_t a = at(y - ry, x - rx), b = at(y - ry, x + rx + 1),
                          c = at(y + ry + 1, x - rx), d = at(y + ry + 1, x + rx + 1);
        if (inside[d] - inside[b] - inside[c] + inside[a] != area) continue;
        means.add(std::llround(static_cast<double>(sum[d] - sum[b] - sum[c] + sum[a]) /
                               static_cast<double>(area)));
      }
  }
  if (single.size() == 0) return result;
  result.liver_mean_hu = static_cast<double>(total) / static_cast<double>(single.size());
  // A liver too thin for the squares is judged by its voxels.
  const Counts& counts = means.size() > 0 ? means : single;
  result.liver_median_hu = counts.percentile(0.5);
  result.vessel_hu = counts.percentile(0.995);
  result.noise_hu = result.liver_median_hu - counts.percentile(0.16);
  const bool parenchyma = result.liver_median_hu >= kEnhancedParenchyma;
  const bool vessels = result.vessel_hu - result.liver_median_hu >=
                       std::max(kVesselAbove, kVesselAboveNoise * result.noise_hu);
  if (parenchyma && vessels) result.phase = HuPhase::portal;
  if (!parenchyma && result.vessel_hu < kEnhancedVessel) result.phase = HuPhase::unenhanced;
  return result;
}

}  // namespace wsp

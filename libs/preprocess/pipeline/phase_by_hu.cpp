#include "preprocess/pipeline/phase_by_hu.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "io/core/value_counts.hpp"
#include "io/core/vector_clones.hpp"

namespace wsp {
namespace {

constexpr double kReachMm = 2.5;  // half a square: segmental vessels are some 5 mm wide
constexpr double kEnhancedParenchyma = 80, kEnhancedVessel = 110;
constexpr double kVesselAbove = 35, kVesselAboveNoise = 3.5;

// The least value that at least this share of all does not exceed.
double percentile(const ValueCounts& counts, double share) {
  const auto wanted =
      static_cast<std::int64_t>(std::ceil(share * static_cast<double>(counts.total())));
  std::int64_t seen = 0;
  std::optional<double> found;
  counts.for_each([&](std::int16_t value, std::int64_t count) {
    if ((seen += count) >= wanted && !found) found = value;
  });
  return found.value_or(0);
}

// Of every column of a slice: the sum of HU over the last rows of liver, up to some number of them,
// and how many rows of liver end here.
struct Columns {
  std::vector<std::int32_t> sum, liver;
};

// Go on by a row of `n` pixels of liver; `oldest` is the row that falls out of `height` rows.
WSP_VECTOR_CLONES("avx2", "default")
void add_row(const std::int16_t* row, const std::int16_t* oldest, std::int64_t n,
             std::int32_t height, std::int32_t* sum, std::int32_t* liver) {
  for (std::int64_t x = 0; x < n; ++x) {
    liver[x] += 1;
    sum[x] += row[x] - (liver[x] > height ? oldest[x] : 0);
  }
}

// Means over the squares of (2 rx + 1) x (2 ry + 1) pixels of a slice that lie wholly in the liver.
class Squares {
 public:
  Squares(std::int64_t nx, std::int64_t rx, std::int64_t ry)
      : width_(2 * rx + 1), height_(2 * ry + 1) {
    columns_.sum.resize(static_cast<std::size_t>(nx));
    columns_.liver.resize(static_cast<std::size_t>(nx));
  }

  void add(std::span<const std::int16_t> hu, const MaskRuns& mask, std::int64_t z,
           ValueCounts& means) {
    const std::int64_t nx = mask.geometry.size[0], ny = mask.geometry.size[1];
    end_columns(0, nx);
    for (std::int64_t y = 0; y < ny; ++y) {
      const std::int16_t* row = hu.data() + y * nx;
      // Counts only where liver reaches so far back.
      const std::int16_t* oldest = y >= height_ ? row - height_ * nx : row;
      std::int64_t end = 0;  // of what is up to date
      means_.clear();
      for (const Run& run : mask.row(y, z)) {
        end_columns(end, run.begin);
        add_row(row + run.begin, oldest + run.begin, run.end - run.begin,
                static_cast<std::int32_t>(height_), columns_.sum.data() + run.begin,
                columns_.liver.data() + run.begin);
        add_means(run);
        end = run.end;
      }
      end_columns(end, nx);
      means.add(means_);
    }
  }

 private:
  void end_columns(std::int64_t from, std::int64_t to) {
    std::fill(columns_.sum.begin() + from, columns_.sum.begin() + to, 0);
    std::fill(columns_.liver.begin() + from, columns_.liver.begin() + to, 0);
  }
  // Of the squares whose last row this is.
  void add_means(const Run& run) {
    const std::int64_t area = width_ * height_;
    const double per_double_area = 0.5 / static_cast<double>(area);
    std::int64_t sum = 0, whole = 0;  // of up to width_ columns that are liver over height_ rows
    for (auto x = static_cast<std::size_t>(run.begin); x < static_cast<std::size_t>(run.end); ++x) {
      if (columns_.liver[x] < height_) {
        sum = whole = 0;
        continue;
      }
      sum += columns_.sum[x];
      if (++whole > width_) sum -= columns_.sum[x - static_cast<std::size_t>(width_)];
      // Rounded to the nearest; the area is odd, so that no half is met.
      if (whole >= width_)
        means_.push_back(static_cast<std::int16_t>(
            std::floor(static_cast<double>(2 * sum + area) * per_double_area)));
    }
  }

  std::int64_t width_, height_;
  Columns columns_;
  std::vector<std::int16_t> means_;
};

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

PhaseByHu phase_by_hu(const Volume& volume, const MaskRuns& mask) {
  PhaseByHu result;
  const Geometry& g = volume.geometry;
  const auto [nx, ny, nz] = g.size;
  const auto reach = [&](int axis) {
    return static_cast<std::int64_t>(kReachMm / g.spacing_mm[static_cast<std::size_t>(axis)]);
  };
  ValueCounts single, means;
  Squares squares(nx, reach(0), reach(1));
  for (std::int64_t z = 0; z < nz; ++z) {
    if (mask.pixels(z) == 0) continue;
    const auto hu = volume.slice(z);
    for (std::int64_t y = 0; y < ny; ++y)
      for (const Run& run : mask.row(y, z))
        single.add(hu.subspan(static_cast<std::size_t>(y * nx + run.begin),
                              static_cast<std::size_t>(run.end - run.begin)));
    squares.add(hu, mask, z, means);
  }
  const std::int64_t voxels = single.total();
  if (voxels == 0) return result;
  std::int64_t total = 0;
  single.for_each([&](std::int16_t hu, std::int64_t count) { total += hu * count; });
  result.liver_mean_hu = static_cast<double>(total) / static_cast<double>(voxels);
  // A liver too thin for the squares is judged by its voxels.
  const ValueCounts& counts = means.total() > 0 ? means : single;
  result.liver_median_hu = percentile(counts, 0.5);
  result.vessel_hu = percentile(counts, 0.995);
  result.noise_hu = result.liver_median_hu - percentile(counts, 0.16);
  const bool parenchyma = result.liver_median_hu >= kEnhancedParenchyma;
  const bool vessels = result.vessel_hu - result.liver_median_hu >=
                       std::max(kVesselAbove, kVesselAboveNoise * result.noise_hu);
  if (parenchyma && vessels) result.phase = HuPhase::portal;
  if (!parenchyma && result.vessel_hu < kEnhancedVessel) result.phase = HuPhase::unenhanced;
  return result;
}

}  // namespace wsp

#include "io/medical/interleave.hpp"

#include <tbb/task_arena.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "io/core/parallel.hpp"
#include "io/core/vector_clones.hpp"

namespace wsp::dicom {
namespace {

/// How far a distance may be from `spacing` and be the same one; as in measure_geometry().
double tolerance(double spacing) { return 0.02 + 0.02 * spacing; }

std::vector<double> distances(std::span<const double> z) {
  std::vector<double> gaps;
  for (std::size_t k = 0; k + 1 < z.size(); ++k) gaps.push_back(z[k + 1] - z[k]);
  return gaps;
}

double lower_median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>((values.size() - 1) / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

using Positions = std::vector<double>;

/// One regular grid that may have lost slices: at most one distance in `holes_in` is longer.
bool is_grid(std::span<const double> z, std::size_t holes_in) {
  const auto gaps = distances(z);
  if (gaps.size() < 2) return false;
  const double spacing = lower_median(gaps);
  std::size_t holes = 0;
  for (const double gap : gaps) {
    const double count = std::max(1.0, std::round(gap / spacing));
    if (std::abs(gap - count * spacing) > count * tolerance(spacing)) return false;
    if (count > 1) ++holes;
  }
  return holes * holes_in <= gaps.size();
}

/// Move the grid that starts at the first plane with this spacing from `z` to `grid`; what is left.
Positions take_grid(std::span<const double> z, double spacing, Positions& grid) {
  constexpr int kLostSlices = 2;  // in a row
  Positions rest;
  grid = {z.front()};
  for (const double position : z.subspan(1)) {
    const double step = position - grid.back();
    const double count = std::max(1.0, std::round(step / spacing));
    const bool on =
        count <= kLostSlices + 1 && std::abs(step - count * spacing) <= count * tolerance(spacing);
    (on ? grid : rest).push_back(position);
  }
  return rest;
}

/// Positions as at most `most` grids of three slices or more, or nothing.
std::vector<Positions> decompose(std::span<const double> z, int most) {
  if (is_grid(z, 5)) return {Positions(z.begin(), z.end())};
  if (most < 2 || z.size() < 6) return {};
  // The first grid's second slice comes after at most one slice of each other grid, or a few when
  // the grids differ in spacing.
  constexpr std::size_t kFarthest = 6;
  for (std::size_t j = 1; j <= std::min(kFarthest, z.size() - 1); ++j) {
    Positions mine;
    const Positions rest = take_grid(z, z[j] - z.front(), mine);
    if (!is_grid(mine, 5) || rest.size() < 3) continue;
    if (auto others = decompose(rest, most - 1); !others.empty()) {
      others.insert(others.begin(), std::move(mine));
      return others;
    }
  }
  return {};
}

}  // namespace

bool parts_complete_each_other(std::span<const double> z, double thickness,
                               const std::vector<std::vector<double>>& parts) {
  const auto gaps = distances(z);
  if (gaps.empty() || thickness <= 0) return false;
  const auto [low, high] = std::minmax_element(gaps.begin(), gaps.end());
  const double mean = (z.back() - z.front()) / static_cast<double>(gaps.size());
  if (std::abs(mean - thickness) > 0.1 * thickness ||
      *high - *low > 0.5 * thickness + tolerance(thickness))
    return false;
  return std::all_of(parts.begin(), parts.end(), [&](const std::vector<double>& part) {
    const auto own = distances(part);
    return own.empty() || *std::max_element(own.begin(), own.end()) >= 1.5 * thickness;
  });
}

std::vector<Grid> woven_grids(std::span<const double> z, double thickness) {
  const auto gaps = distances(z);
  if (gaps.size() < 5) return {};
  // Positions are often written to a tenth of a millimetre: 0.6, 0.7, 0.6, 0.7 is 0.65.
  constexpr double kRoundedMm = 0.11;
  const auto [low, high] = std::minmax_element(gaps.begin(), gaps.end());
  if (*high - *low <= kRoundedMm || is_grid(z, 3)) return {};
  const auto grids = decompose(z, 3);
  // Slices that lie inside another grid's range: few at a seam are a slip of the table.
  constexpr int kLeastInside = 4;
  int inside = 0;
  for (const Positions& grid : grids)
    for (const Positions& other : grids)
      if (&grid != &other)
        inside += static_cast<int>(std::count_if(grid.begin(), grid.end(), [&](double position) {
          return position > other.front() && position < other.back();
        }));
  if (inside < kLeastInside || parts_complete_each_other(z, thickness, grids)) return {};
  std::vector<Grid> found;
  for (const Positions& grid : grids)
    found.push_back({grid.size(), grid.front(), lower_median(distances(grid))});
  return found;
}

namespace {

// What was measured over the sound series of the test data (ten of patients, 1 to 12.5 mm apart,
// two head scans, phantoms), of all and of every second to fourth slice, and over weaves of them
// (arterial and portal venous phase of one patient, livers that differ by 15 HU and more, two
// patients):
//                                          sound          thinned to 10 mm   woven
//   alternating part of soft tissue, HU    0 .. 0.6       to 2.4             4.1 .. 16.3
//   nearer neighbour / second neighbour    0.50 .. 0.80   to 0.88            0.69 .. 5.9
// where each is the worst that holds over five windows in a row: one slice alone with an artefact,
// a breath or a heart beat reaches fewer of them. One of the two is enough. Thinned to 13 to 20 mm
// the first reaches 4 in phantoms (vertebrae), the second 0.93.
constexpr std::size_t kWindows = 5;
constexpr double kLeastRatio = 1.2;
constexpr double kLeastHu = 3;
constexpr double kFarthestMm = 10.5;

/// Greatest minimum over kWindows values in a row.
double steady(const std::vector<double>& values) {
  double best = 0;
  for (std::size_t i = 0; i + kWindows <= values.size(); ++i) {
    const auto from = values.begin() + static_cast<std::ptrdiff_t>(i);
    best = std::max(best, *std::min_element(from, from + kWindows));
  }
  return best;
}

/// Sums over some pixels of a slice and of the next three.
struct Steps {
  std::int64_t next = 0, second = 0;  ///< of |HU - HU of the first, second neighbour|, windowed
  std::int64_t alternating = 0;       ///< third difference of what is soft tissue in all four
  std::int64_t soft = 0;              ///< pixels of that
};

/// At most 65536 pixels, so that no sum overflows. A missing neighbour is the slice itself.
WSP_VECTOR_CLONES("avx2", "default")
Steps steps_of(const std::int16_t* a, const std::int16_t* b, const std::int16_t* c,
               const std::int16_t* d, std::int32_t n) {
  constexpr std::int16_t kShownLow = -200, kShownHigh = 300, kSoftLow = -20, kSoftHigh = 250;
  std::int32_t next = 0, second = 0, alternating = 0, soft = 0;
  for (std::int32_t i = 0; i < n; ++i) {
    const std::int16_t p = std::min(std::max(a[i], kShownLow), kShownHigh);
    const std::int16_t q = std::min(std::max(b[i], kShownLow), kShownHigh);
    const std::int16_t r = std::min(std::max(c[i], kShownLow), kShownHigh);
    const auto apart = static_cast<std::int16_t>(std::max(p, q) - std::min(p, q));
    const auto beyond = static_cast<std::int16_t>(std::max(p, r) - std::min(p, r));
    const std::int16_t least = std::min(std::min(a[i], b[i]), std::min(c[i], d[i]));
    const std::int16_t most = std::max(std::max(a[i], b[i]), std::max(c[i], d[i]));
    const auto is_soft = static_cast<std::int16_t>(least > kSoftLow && most < kSoftHigh ? -1 : 0);
    // Of soft tissue alone, which keeps it in 16 bits.
    const auto third = static_cast<std::int16_t>(static_cast<std::uint16_t>(a[i] - d[i]) +
                                                 3U * static_cast<std::uint16_t>(c[i] - b[i]));
    next += apart;
    second += beyond;
    alternating += third & is_soft;
    soft -= is_soft;
  }
  return {next, second, alternating, soft};
}

constexpr std::size_t kThird = 3;

WSP_VECTOR_CLONES("avx2", "default")
void take_thirds(const std::int16_t* source, std::size_t n, std::int16_t* taken) {
  for (std::size_t i = 0; i < n; ++i) taken[i] = source[kThird * i];
}

/// Of every slice but the last; `step` is 1 or 3: pixels 0, `step`, 2 `step`, ... of each.
std::vector<Steps> measure_steps(const std::vector<std::span<const std::int16_t>>& slices,
                                 std::size_t step) {
  constexpr std::size_t kBand = 8192;  // pixels that count: those of four slices stay in the cache
  const std::size_t n = slices.size(), counted = (slices.front().size() + step - 1) / step;
  const std::size_t bands = (counted + kBand - 1) / kBand;
  std::vector<std::vector<Steps>> parts(bands, std::vector<Steps>(n - 1));
  tbb::this_task_arena::isolate([&] {
    wsp::parallel_loop(std::size_t{0}, bands, [&](std::size_t band) {
      const std::size_t from = band * kBand, count = std::min(kBand, counted - from);
      std::array<std::vector<std::int16_t>, 4> taken;  // of slices k, k + 1, ... in turns
      const auto take = [&](std::size_t k) {
        auto& pixels = taken[k % 4];
        pixels.resize(count);
        const std::int16_t* source = slices[k].data() + from * step;
        if (step == kThird)
          take_thirds(source, count, pixels.data());
        else
          std::copy_n(source, count, pixels.begin());
      };
      for (std::size_t k = 0; k < std::min<std::size_t>(3, n); ++k) take(k);
      for (std::size_t k = 0; k + 1 < n; ++k) {
        if (k + 3 < n) take(k + 3);
        const auto at = [&](std::size_t s) { return taken[(s < n ? s : k) % 4].data(); };
        parts[band][k] =
            steps_of(at(k), at(k + 1), at(k + 2), at(k + 3), static_cast<std::int32_t>(count));
      }
    });
  });
  std::vector<Steps> sums(n - 1);
  for (const auto& part : parts)
    for (std::size_t k = 0; k + 1 < n; ++k) {
      sums[k].next += part[k].next;
      sums[k].second += part[k].second;
      sums[k].alternating += part[k].alternating;
      sums[k].soft += part[k].soft;
    }
  return sums;
}

}  // namespace

std::string find_alternation(const std::vector<std::span<const std::int16_t>>& slices,
                             double distance_mm) {
  if (slices.size() < kAlternationSlices) return {};
  const std::size_t n = slices.size(), pixels = slices.front().size();
  // A quarter of the pixels of a large slice says the same.
  const std::size_t step = pixels > 65536 ? kThird : 1;
  const std::vector<Steps> steps = measure_steps(slices, step);
  std::vector<double> next(n - 1), second(n - 2), up(n - 3), down(n - 3);
  for (std::size_t k = 0; k + 1 < n; ++k) {
    const Steps& sum = steps[k];
    const auto counted = static_cast<double>((pixels + step - 1) / step);
    next[k] = static_cast<double>(sum.next) / counted;
    if (k + 2 < n) second[k] = static_cast<double>(sum.second) / counted;
    if (k + 3 >= n) continue;
    constexpr std::int64_t kLeastPixels = 32;
    const double part = sum.soft < kLeastPixels ? 0
                                                : static_cast<double>(sum.alternating) / 8 /
                                                      static_cast<double>(sum.soft);
    up[k] = (k % 2 == 0 ? 1 : -1) * part;
    down[k] = -up[k];
  }
  std::vector<double> ratio;
  constexpr double kNoiseHu = 0.1;  // flat slices have no ratio
  for (std::size_t k = 0; k + 2 < n; ++k)
    ratio.push_back(std::min(next[k], next[k + 1]) / std::max(kNoiseHu, second[k]));
  const double hu = std::max(steady(up), steady(down));
  const double times = steady(ratio);
  char text[96] = "";
  if (hu >= kLeastHu && distance_mm <= kFarthestMm) {
    std::snprintf(text, sizeof text, "soft tissue of every second slice differs by %.1f HU",
                  2 * hu);
  } else if (times >= kLeastRatio) {
    std::snprintf(text, sizeof text,
                  "neighbouring slices differ %.2f times as much as every second one", times);
  }
  return text;
}

std::string find_alternation(const Volume& volume) {
  std::vector<std::span<const std::int16_t>> slices;
  for (std::int64_t z = 0; z < volume.geometry.size[2]; ++z) slices.push_back(volume.slice(z));
  return find_alternation(slices, volume.geometry.spacing_mm[2]);
}

}  // namespace wsp::dicom

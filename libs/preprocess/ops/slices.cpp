#include "preprocess/ops/slices.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "io/core/vector_clones.hpp"

namespace wsp {
namespace {

constexpr std::int16_t kTissueHu = -300;

// The weights with which one output pixel reads an axis of the source.
struct Taps {
  std::int64_t first = 0;
  std::vector<float> weight;
};

std::vector<Taps> axis_taps(std::int64_t source, std::int64_t target) {
  const double scale = static_cast<double>(source) / static_cast<double>(target);
  std::vector<Taps> taps(static_cast<std::size_t>(target));
  for (std::size_t i = 0; i < taps.size(); ++i) {
    Taps& tap = taps[i];
    if (scale > 1) {  // shrinking: the mean over the covered interval
      const double begin = static_cast<double>(i) * scale;
      const double end = std::min(begin + scale, static_cast<double>(source));
      tap.first = static_cast<std::int64_t>(begin);
      for (auto s = tap.first; static_cast<double>(s) < end - 1e-9; ++s) {
        const double low = std::max(begin, static_cast<double>(s));
        const double high = std::min(end, static_cast<double>(s + 1));
        tap.weight.push_back(static_cast<float>((high - low) / (end - begin)));
      }
    } else {  // growing: linear between pixel centres, held at the border
      const double at = std::clamp((static_cast<double>(i) + 0.5) * scale - 0.5, 0.0,
                                   static_cast<double>(source - 1));
      tap.first = std::min(static_cast<std::int64_t>(at), std::max<std::int64_t>(0, source - 2));
      const double t = at - static_cast<double>(tap.first);
      tap.weight = {static_cast<float>(1 - t)};
      if (source > 1) tap.weight.push_back(static_cast<float>(t));
    }
  }
  return taps;
}

}  // namespace

WSP_VECTOR_CLONES("avx2", "default")
void clip_to_window(std::span<std::int16_t> hu, WindowHu window) {
  for (std::int16_t& value : hu) value = std::min(std::max(value, window.low), window.high);
}

InPlaneFit fit_in_plane(const Geometry& geometry, std::int64_t size) {
  InPlaneFit fit;
  fit.source_x = geometry.size[0];
  fit.source_y = geometry.size[1];
  fit.size = size;
  fit.width = fit.height = size;
  fit.pixel_mm[0] = geometry.spacing_mm[0];
  fit.pixel_mm[1] = geometry.spacing_mm[1];
  fit.identity = fit.source_x == size && fit.source_y == size;
  if (fit.identity) return fit;
  const double extent_x = static_cast<double>(fit.source_x) * geometry.spacing_mm[0];
  const double extent_y = static_cast<double>(fit.source_y) * geometry.spacing_mm[1];
  const double pixel = std::max(extent_x, extent_y) / static_cast<double>(size);
  const auto pixels = [&](double extent) {
    return std::clamp<std::int64_t>(std::llround(extent / pixel), 1, size);
  };
  fit.width = pixels(extent_x);
  fit.height = pixels(extent_y);
  fit.left = (size - fit.width) / 2;
  fit.top = (size - fit.height) / 2;
  fit.pixel_mm[0] = fit.pixel_mm[1] = pixel;
  return fit;
}

std::vector<std::int16_t> resample_slice(std::span<const std::int16_t> hu, const InPlaneFit& fit,
                                         WindowHu window) {
  if (fit.identity) {
    std::vector<std::int16_t> copy(hu.begin(), hu.end());
    clip_to_window(copy, window);
    return copy;
  }
  const auto taps_x = axis_taps(fit.source_x, fit.width);
  const auto taps_y = axis_taps(fit.source_y, fit.height);
  const auto width = static_cast<std::size_t>(fit.width);
  std::vector<float> rows(width * static_cast<std::size_t>(fit.source_y));
  for (std::int64_t y = 0; y < fit.source_y; ++y)
    for (std::size_t x = 0; x < width; ++x) {
      float sum = 0;
      const std::int16_t* source = hu.data() + y * fit.source_x + taps_x[x].first;
      for (std::size_t k = 0; k < taps_x[x].weight.size(); ++k)
        sum += taps_x[x].weight[k] * static_cast<float>(source[k]);
      rows[static_cast<std::size_t>(y) * width + x] = sum;
    }
  std::vector<std::int16_t> result(static_cast<std::size_t>(fit.size * fit.size), window.low);
  for (std::size_t y = 0; y < taps_y.size(); ++y)
    for (std::size_t x = 0; x < width; ++x) {
      float sum = 0;
      for (std::size_t k = 0; k < taps_y[y].weight.size(); ++k)
        sum +=
            taps_y[y].weight[k] * rows[(static_cast<std::size_t>(taps_y[y].first) + k) * width + x];
      const float clipped = std::clamp(std::nearbyint(sum), static_cast<float>(window.low),
                                       static_cast<float>(window.high));
      const auto row = static_cast<std::size_t>(fit.top) + y;
      result[row * static_cast<std::size_t>(fit.size) + static_cast<std::size_t>(fit.left) + x] =
          static_cast<std::int16_t>(clipped);
    }
  return result;
}

std::vector<std::uint8_t> resample_slice(std::span<const std::uint8_t> mask,
                                         const InPlaneFit& fit) {
  if (fit.identity) return {mask.begin(), mask.end()};
  std::vector<std::uint8_t> result(static_cast<std::size_t>(fit.size * fit.size), 0);
  for (std::int64_t y = 0; y < fit.height; ++y) {
    const std::int64_t sy = (2 * y + 1) * fit.source_y / (2 * fit.height);
    for (std::int64_t x = 0; x < fit.width; ++x) {
      const std::int64_t sx = (2 * x + 1) * fit.source_x / (2 * fit.width);
      result[static_cast<std::size_t>((fit.top + y) * fit.size + fit.left + x)] =
          mask[static_cast<std::size_t>(sy * fit.source_x + sx)];
    }
  }
  return result;
}

std::size_t HuHistogram::bin(std::int16_t hu) {
  return static_cast<std::size_t>(std::clamp((static_cast<int>(hu) - kLow) / kWidth, 0, kBins - 1));
}

namespace {

// The body of a slice: its largest 4-connected part of tissue with what that encloses.
RunRows body_of(std::span<const std::int16_t> hu, std::int64_t nx, std::int64_t ny) {
  const auto height = static_cast<std::size_t>(ny);
  RunRows tissue(nx);
  for (std::size_t y = 0; y < height; ++y)
    tissue.add_row(hu.data() + static_cast<std::int64_t>(y) * nx, kTissueHu);
  const Parts parts = parts_of_slice(tissue);
  const auto largest = std::max_element(parts.size.begin(), parts.size.end()) - parts.size.begin();
  RunRows around(nx);
  std::vector<Run> some;
  for (std::size_t y = 0; y < height; ++y) {
    some.clear();
    for (std::size_t i = tissue.first(y); i < tissue.first(y + 1); ++i)
      if (parts.of_run[i] == largest) some.push_back(tissue.runs()[i]);
    around.add_complement(some);
  }
  // Its holes belong to it: only what the border reaches without crossing it is outside.
  const Parts gaps = parts_of_slice(around);
  std::vector<bool> outside(gaps.size.size(), false);
  for (std::size_t y = 0; y < height; ++y)
    for (std::size_t i = around.first(y); i < around.first(y + 1); ++i) {
      const Run& run = around.runs()[i];
      if (y == 0 || y + 1 == height || run.begin == 0 || run.end == nx)
        outside[static_cast<std::size_t>(gaps.of_run[i])] = true;
    }
  RunRows body(nx);
  for (std::size_t y = 0; y < height; ++y) {
    some.clear();
    for (std::size_t i = around.first(y); i < around.first(y + 1); ++i)
      if (outside[static_cast<std::size_t>(gaps.of_run[i])]) some.push_back(around.runs()[i]);
    body.add_complement(some);
  }
  return body;
}

struct Sums {
  std::int64_t lung = 0, bone = 0;
};

WSP_VECTOR_CLONES("avx2", "default")
Sums count_tissues(const std::int16_t* hu, std::int32_t n) {
  std::int32_t lung = 0, bone = 0;
  for (std::int32_t i = 0; i < n; ++i) {
    lung += hu[i] >= -1000 && hu[i] <= -500 ? 1 : 0;
    bone += hu[i] >= 250 ? 1 : 0;
  }
  return {lung, bone};
}

void add_bins(const ValueCounts& counts, std::vector<std::int64_t>& bins) {
  counts.for_each(
      [&](std::int16_t hu, std::int64_t count) { bins[HuHistogram::bin(hu)] += count; });
}

}  // namespace

void HuHistogram::add(const ValueCounts& all, const ValueCounts& of_body,
                      const ValueCounts& of_liver) {
  add_bins(of_body, body);
  add_bins(of_liver, liver);
  add_bins(all, air);
  std::vector<std::int64_t> inside(kBins);
  add_bins(of_body, inside);
  for (std::size_t i = 0; i < inside.size(); ++i) air[i] -= inside[i];
}

SliceProfile profile_slice(std::span<const std::int16_t> hu, const MaskRuns* liver, std::int64_t z,
                           const Geometry& geometry, ValueCounts& of_body, ValueCounts& of_liver) {
  const std::int64_t nx = geometry.size[0];
  const std::int64_t ny = geometry.size[1];
  const RunRows body = body_of(hu, nx, ny);
  std::int64_t lung = 0, bone = 0, liver_count = 0, liver_sum = 0;
  of_body.cover(hu);
  for (std::int64_t y = 0; y < ny; ++y) {
    const std::int16_t* row = hu.data() + y * nx;
    for (const Run& run : body.row(static_cast<std::size_t>(y))) {
      const auto n = run.end - run.begin;
      of_body.add_covered({row + run.begin, static_cast<std::size_t>(n)});
      const Sums sums = count_tissues(row + run.begin, n);
      lung += sums.lung;
      bone += sums.bone;
    }
    if (liver == nullptr) continue;
    for (const Run& run : liver->row(y, z)) {
      of_liver.add({row + run.begin, static_cast<std::size_t>(run.end - run.begin)});
      liver_count += run.end - run.begin;
      liver_sum += std::accumulate(row + run.begin, row + run.end, std::int64_t{0});
    }
  }
  const double pixel = geometry.spacing_mm[0] * geometry.spacing_mm[1];
  SliceProfile profile;
  profile.body_mm2 = pixel * static_cast<double>(body.pixels(0, body.rows()));
  profile.lung_mm2 = pixel * static_cast<double>(lung);
  profile.bone_mm2 = pixel * static_cast<double>(bone);
  profile.liver_mm2 = pixel * static_cast<double>(liver_count);
  if (liver_count > 0)
    profile.liver_mean_hu = static_cast<double>(liver_sum) / static_cast<double>(liver_count);
  return profile;
}

double share_in_tissue(const Volume& volume, const MaskRuns& mask) {
  const auto [nx, ny, nz] = volume.geometry.size;
  std::int64_t liver = 0, tissue = 0;
  for (std::int64_t r = 0; r < ny * nz; ++r)
    for (const Run& run : mask.rows.row(static_cast<std::size_t>(r))) {
      const std::int16_t* hu = volume.hu.data() + r * nx;
      liver += run.end - run.begin;
      tissue += std::count_if(hu + run.begin, hu + run.end,
                              [](std::int16_t v) { return v >= kTissueHu; });
    }
  return liver == 0 ? 0 : static_cast<double>(tissue) / static_cast<double>(liver);
}

}  // namespace wsp

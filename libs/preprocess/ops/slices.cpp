#include "preprocess/ops/slices.hpp"

#include <algorithm>
#include <cmath>

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

void clip_to_window(std::span<std::int16_t> hu, WindowHu window) {
  for (std::int16_t& value : hu) value = std::clamp(value, window.low, window.high);
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

void HuHistogram::add(const HuHistogram& other) {
  for (std::size_t i = 0; i < kBins; ++i) {
    body[i] += other.body[i];
    liver[i] += other.liver[i];
    air[i] += other.air[i];
  }
}

SliceProfile profile_slice(std::span<const std::int16_t> hu, std::span<const std::uint8_t> liver,
                           const Geometry& geometry, HuHistogram& histogram) {
  const std::int64_t nx = geometry.size[0];
  const std::int64_t ny = geometry.size[1];
  const std::size_t n = hu.size();
  // 1. The largest connected part of tissue.
  std::vector<std::int32_t> part(n, 0);
  std::vector<std::int64_t> stack;
  std::int32_t parts = 0;
  std::int32_t largest = 0;
  std::size_t largest_size = 0;
  const auto flood = [&](std::size_t seed, std::int32_t id, auto&& open) {
    std::size_t count = 0;
    part[seed] = id;
    stack.push_back(static_cast<std::int64_t>(seed));
    while (!stack.empty()) {
      const std::int64_t at = stack.back();
      stack.pop_back();
      ++count;
      const std::int64_t x = at % nx;
      const std::int64_t y = at / nx;
      const auto visit = [&](bool inside, std::int64_t to) {
        if (inside && part[static_cast<std::size_t>(to)] == 0 &&
            open(static_cast<std::size_t>(to))) {
          part[static_cast<std::size_t>(to)] = id;
          stack.push_back(to);
        }
      };
      visit(x > 0, at - 1);
      visit(x + 1 < nx, at + 1);
      visit(y > 0, at - nx);
      visit(y + 1 < ny, at + nx);
    }
    return count;
  };
  const auto tissue = [&](std::size_t i) { return hu[i] >= kTissueHu; };
  for (std::size_t i = 0; i < n; ++i)
    if (part[i] == 0 && tissue(i)) {
      const std::size_t size = flood(i, ++parts, tissue);
      if (size > largest_size) {
        largest_size = size;
        largest = parts;
      }
    }
  // 2. Its holes belong to the body: only what the border reaches without crossing it is outside.
  std::vector<std::uint8_t> body(n);
  for (std::size_t i = 0; i < n; ++i) body[i] = largest != 0 && part[i] == largest ? 1 : 0;
  std::fill(part.begin(), part.end(), 0);
  const auto open = [&](std::size_t i) { return body[i] == 0; };
  const auto from_border = [&](std::int64_t at) {
    const auto i = static_cast<std::size_t>(at);
    if (part[i] == 0 && open(i)) flood(i, 1, open);
  };
  for (std::int64_t x = 0; x < nx; ++x) {
    from_border(x);
    from_border((ny - 1) * nx + x);
  }
  for (std::int64_t y = 0; y < ny; ++y) {
    from_border(y * nx);
    from_border(y * nx + nx - 1);
  }
  // 3. Count.
  SliceProfile profile;
  std::int64_t body_count = 0, lung = 0, bone = 0, liver_count = 0, liver_sum = 0;
  for (std::size_t i = 0; i < n; ++i) {
    const std::size_t bin = HuHistogram::bin(hu[i]);
    if (part[i] == 0) {
      ++body_count;
      ++histogram.body[bin];
      if (hu[i] >= -1000 && hu[i] <= -500) ++lung;
      if (hu[i] >= 250) ++bone;
    } else {
      ++histogram.air[bin];
    }
    if (!liver.empty() && liver[i] != 0) {
      ++liver_count;
      liver_sum += hu[i];
      ++histogram.liver[bin];
    }
  }
  const double pixel = geometry.spacing_mm[0] * geometry.spacing_mm[1];
  profile.body_mm2 = pixel * static_cast<double>(body_count);
  profile.lung_mm2 = pixel * static_cast<double>(lung);
  profile.bone_mm2 = pixel * static_cast<double>(bone);
  profile.liver_mm2 = pixel * static_cast<double>(liver_count);
  if (liver_count > 0)
    profile.liver_mean_hu = static_cast<double>(liver_sum) / static_cast<double>(liver_count);
  return profile;
}

double share_in_tissue(const Volume& volume, const LiverMask& mask) {
  std::int64_t liver = 0, tissue = 0;
  for (std::size_t i = 0; i < mask.voxels.size(); ++i)
    if (mask.voxels[i] != 0) {
      ++liver;
      if (volume.hu[i] >= kTissueHu) ++tissue;
    }
  return liver == 0 ? 0 : static_cast<double>(tissue) / static_cast<double>(liver);
}

}  // namespace wsp

#include "preprocess/report/mask_fit.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace wsp::qa {
namespace {

struct Block {
  std::int32_t x, y, z;
};

std::vector<Block> full_blocks(const ReducedCase& r) {
  std::vector<Block> blocks;
  for (std::size_t k = 0; k < r.slices(); ++k) {
    const auto liver = r.liver(k);
    for (std::size_t i = 0; i < liver.size(); ++i)
      if (liver[i] == 255)
        blocks.push_back({static_cast<std::int32_t>(i % static_cast<std::size_t>(r.width)),
                          static_cast<std::int32_t>(i / static_cast<std::size_t>(r.width)),
                          static_cast<std::int32_t>(k)});
  }
  return blocks;
}

struct Normal {
  double low = 0, high = 0;  // HU between which a block is liver or its vessels
};

Normal normal_range(const ReducedCase& r, const std::vector<Block>& blocks) {
  std::vector<std::int16_t> values;
  values.reserve(blocks.size());
  for (const Block& b : blocks)
    values.push_back(
        r.image(static_cast<std::size_t>(b.z))[static_cast<std::size_t>(b.y * r.width + b.x)]);
  const auto at = [&](double p) {
    const auto place =
        values.begin() + static_cast<std::ptrdiff_t>(p * static_cast<double>(values.size() - 1));
    std::nth_element(values.begin(), place, values.end());
    return static_cast<double>(*place);
  };
  // Robust: half the distance of the quartiles, as of a normal distribution.
  const double median = at(0.5), sigma = (at(0.75) - at(0.25)) / 1.349;
  return {median - std::clamp(4 * sigma, 45.0, 90.0), median + std::clamp(5 * sigma, 110.0, 160.0)};
}

// Share of odd blocks with the mask moved by whole blocks and slices; those that leave the image
// are odd within the slice, and left out along it.
double odd_share(const ReducedCase& r, const std::vector<Block>& blocks, const Normal& normal,
                 std::int32_t dx, std::int32_t dy, std::int32_t dz) {
  std::int64_t odd = 0, seen = 0;
  const auto slices = static_cast<std::int32_t>(r.slices());
  for (const Block& b : blocks) {
    const std::int32_t x = b.x + dx, y = b.y + dy, z = b.z + dz;
    if (z < 0 || z >= slices) continue;
    ++seen;
    if (x < 0 || y < 0 || x >= r.width || y >= r.height) {
      ++odd;
      continue;
    }
    const double hu =
        r.hu[static_cast<std::size_t>(z) * r.plane() + static_cast<std::size_t>(y * r.width + x)];
    odd += hu < normal.low || hu > normal.high ? 1 : 0;
  }
  return seen < static_cast<std::int64_t>(blocks.size()) / 2
             ? 1
             : static_cast<double>(odd) / static_cast<double>(seen);
}

struct Moments {
  double n = 0, x = 0, y = 0, xx = 0, yy = 0;
  void add(double px, double py) {
    ++n;
    x += px;
    y += py;
    xx += px * px;
    yy += py * py;
  }
  [[nodiscard]] double mean_x() const { return x / n; }
  [[nodiscard]] double mean_y() const { return y / n; }
  [[nodiscard]] double sd_x() const {
    return std::sqrt(std::max(1e-9, xx / n - mean_x() * mean_x()));
  }
  [[nodiscard]] double sd_y() const {
    return std::sqrt(std::max(1e-9, yy / n - mean_y() * mean_y()));
  }
};

}  // namespace

void measure_mask_fit(const ReducedCase& reduced, const double pixel_mm[2], double spacing_mm,
                      PixelFacts& facts) {
  const auto blocks = full_blocks(reduced);
  if (blocks.empty()) return;
  const Normal normal = normal_range(reduced, blocks);
  facts.odd_share = facts.odd_share_shifted = odd_share(reduced, blocks, normal, 0, 0, 0);
  if (facts.odd_share < 0.005) return;
  const double step[2] = {pixel_mm[0] * static_cast<double>(reduced.factor),
                          pixel_mm[1] * static_cast<double>(reduced.factor)};
  const auto attempt = [&](std::int32_t dx, std::int32_t dy, std::int32_t dz) {
    const double share = odd_share(reduced, blocks, normal, dx, dy, dz);
    if (share >= facts.odd_share_shifted) return;
    facts.odd_share_shifted = share;
    facts.shift_mm[0] = dx * step[0];
    facts.shift_mm[1] = dy * step[1];
    facts.shift_mm[2] = dz * spacing_mm;
  };
  constexpr std::array<std::int32_t, 5> kReach{2, 4, 7, 11, 16};
  for (const std::int32_t reach : kReach)
    for (const std::int32_t sign : {-1, 1}) {
      attempt(sign * reach, 0, 0);
      attempt(0, sign * reach, 0);
      for (const std::int32_t other : {-1, 1}) attempt(sign * reach, other * reach, 0);
    }
  for (std::int32_t dz = 1; dz <= 5; ++dz)
    for (const std::int32_t sign : {-1, 1}) attempt(0, 0, sign * dz);
}

void measure_orientation(const ReducedCase& reduced, PixelFacts& facts) {
  constexpr std::int16_t kSoft = -50, kBone = 250;
  Moments soft, bone, liver;
  for (std::size_t k = 0; k < reduced.slices(); ++k) {
    const auto image = reduced.image(k);
    const auto mask = reduced.liver(k);
    for (std::size_t i = 0; i < image.size(); ++i) {
      const auto x = static_cast<double>(i % static_cast<std::size_t>(reduced.width));
      const auto y = static_cast<double>(i / static_cast<std::size_t>(reduced.width));
      if (image[i] > kSoft) soft.add(x, y);
      if (image[i] > kBone) bone.add(x, y);
      if (mask[i] > 127) liver.add(x, y);
    }
  }
  if (soft.n == 0) return;
  if (liver.n > 0) facts.liver_left = (liver.mean_x() - soft.mean_x()) / soft.sd_x();
  if (bone.n > 0) facts.spine_back = (bone.mean_y() - soft.mean_y()) / soft.sd_y();
}

std::int64_t count_interpolated(const ReducedCase& reduced) {
  const std::size_t n = reduced.slices();
  if (n < 5) return 0;
  // Mean absolute difference to the neighbours' mean and to the neighbour before, in soft tissue.
  std::vector<double> curve(n, -1), step(n, -1);
  for (std::size_t k = 1; k + 1 < n; ++k) {
    const auto a = reduced.image(k - 1), b = reduced.image(k), c = reduced.image(k + 1);
    double bend = 0, jump = 0, count = 0;
    for (std::size_t i = 0; i < b.size(); ++i) {
      if (b[i] < -80 || b[i] > 300) continue;
      bend += std::abs(2 * b[i] - a[i] - c[i]) / 2.0;
      jump += std::abs(b[i] - a[i]);
      ++count;
    }
    if (count < 50) continue;
    curve[k] = bend / count;
    step[k] = jump / count;
  }
  // The upper quartile: where every second slice is interpolated, the median is one of them.
  const auto typical = [](std::vector<double> values) {
    std::erase_if(values, [](double v) { return v < 0; });
    if (values.empty()) return 0.0;
    std::sort(values.begin(), values.end());
    return values[values.size() * 3 / 4];
  };
  const double bend = typical(curve), jump = typical(step);
  std::int64_t found = 0;
  for (std::size_t k = 1; k + 1 < n; ++k)
    if (curve[k] >= 0 && (curve[k] < 0.35 * bend || step[k] < 0.1 * jump)) ++found;
  return found;
}

}  // namespace wsp::qa

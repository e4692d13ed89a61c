#include "preprocess/report/mask_fit.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

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

namespace {

// Magnitude of the fine structure of one picture made of slices: the mean over the smallest 70 % of
// |v(x) - v(x + 1)|. What is left of a picture where it is flat is noise; edges of organs are in
// the rest.
double fine_structure(std::vector<double>& differences) {
  const auto part = static_cast<std::ptrdiff_t>(differences.size() * 7 / 10);
  std::nth_element(differences.begin(), differences.begin() + part, differences.end());
  return std::accumulate(differences.begin(), differences.begin() + part, 0.0) /
         static_cast<double>(part);
}

}  // namespace

// Noise is new in every acquired slice. So the fine structure of what a slice b differs by from the
// mean of its neighbours a and c is that of b's own noise and more, and that of (a - c) / 2 tells
// how much noise there is: 1.7 times it for independent slices, 1 where each is blurred with the
// next, and next to nothing where b was computed from a and c. Anatomy, which may change evenly
// over slices, is in neither.
std::int64_t count_interpolated(const ReducedCase& reduced) {
  constexpr double kComputed = 0.35, kCopy = 0.15, kLeastNoise = 0.5;
  constexpr std::size_t kFewest = 200;
  std::int64_t found = 0;
  std::vector<double> own, around, step, texture;
  const auto tissue = [](std::int16_t hu) { return hu >= -80 && hu <= 300; };
  for (std::size_t k = 1; k + 1 < reduced.slices(); ++k) {
    const auto a = reduced.image(k - 1), b = reduced.image(k), c = reduced.image(k + 1);
    for (auto* values : {&own, &around, &step, &texture}) values->clear();
    const auto inside = [&](std::size_t i) { return tissue(a[i]) && tissue(b[i]) && tissue(c[i]); };
    for (std::size_t i = 0; i + 1 < b.size(); ++i) {
      if ((i + 1) % static_cast<std::size_t>(reduced.width) == 0 || !inside(i) || !inside(i + 1))
        continue;
      const double da = a[i + 1] - a[i], db = b[i + 1] - b[i], dc = c[i + 1] - c[i];
      own.push_back(std::abs(db - (da + dc) / 2));
      around.push_back(std::abs(da - dc) / 2);
      step.push_back(std::abs(db - da));
      texture.push_back(std::abs(db));
    }
    if (own.size() < kFewest) continue;
    const double noise = fine_structure(around);
    const bool computed = noise > kLeastNoise && fine_structure(own) < kComputed * noise;
    const double grain = fine_structure(texture);
    const bool copy = grain > kLeastNoise && fine_structure(step) < kCopy * grain;
    found += computed || copy ? 1 : 0;
  }
  return found;
}

}  // namespace wsp::qa

#include "preprocess/ops/refine.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>

#include "io/core/parallel.hpp"
#include "preprocess/ops/distance.hpp"
#include "preprocess/ops/liver.hpp"

namespace wsp {
namespace {

constexpr float kFar = std::numeric_limits<float>::infinity();
using Voxels = std::vector<std::uint8_t>;

// The part of a volume about a mask, [z][y][x].
struct Box {
  std::array<std::int64_t, 3> first{}, size{};
  std::array<std::vector<double>, 3> position_mm;  // by axis x, y, z
  [[nodiscard]] std::size_t voxels() const {
    return static_cast<std::size_t>(size[0] * size[1] * size[2]);
  }
};

std::optional<Box> box_about(const Volume& volume, const LiverMask& mask, double margin_mm) {
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
  Box box;
  for (std::size_t k = 0; k < 3; ++k) {
    const auto pad = static_cast<std::int64_t>(std::ceil(margin_mm / g.spacing_mm[k]));
    box.first[k] = std::max<std::int64_t>(0, low[k] - pad);
    box.size[k] = std::min(g.size[k], high[k] + pad + 1) - box.first[k];
    for (std::int64_t i = 0; i < box.size[k]; ++i)
      box.position_mm[k].push_back(
          k == 2 ? volume.z_mm[static_cast<std::size_t>(box.first[2] + i)]
                 : static_cast<double>(i) * g.spacing_mm[k]);
  }
  return box;
}

// Calls visit(index in the box, index in the volume, length) for every row.
template <class Visit>
void for_rows(const Box& box, const Geometry& g, Visit visit) {
  wsp::parallel_loop(std::int64_t{0}, box.size[2], [&](std::int64_t z) {
    for (std::int64_t y = 0; y < box.size[1]; ++y)
      visit(static_cast<std::size_t>((z * box.size[1] + y) * box.size[0]),
            static_cast<std::size_t>(
                ((box.first[2] + z) * g.size[1] + box.first[1] + y) * g.size[0] + box.first[0]),
            static_cast<std::size_t>(box.size[0]));
  });
}

template <class Work>
void for_voxels(const Box& box, Work work) {
  const auto plane = static_cast<std::size_t>(box.size[0] * box.size[1]);
  wsp::parallel_loop(std::size_t{0}, static_cast<std::size_t>(box.size[2]), [&](std::size_t z) {
    for (std::size_t i = z * plane; i < (z + 1) * plane; ++i) work(i);
  });
}

// Squared distance of each voxel to the nearest one that is `value`.
std::vector<float> distances_to(const Voxels& mask, std::uint8_t value, const Box& box) {
  std::vector<float> field(mask.size());
  for_voxels(box, [&](std::size_t i) { field[i] = mask[i] == value ? 0.0F : kFar; });
  squared_distances(std::span(field), box.position_mm);
  return field;
}

float squared(double mm) { return static_cast<float>(mm * mm); }

// One axis of a Gaussian, its ends held; too coarse an axis is left alone.
void smooth_axis(std::vector<float>& image, const Box& box, std::size_t axis, double sigma) {
  const auto radius = static_cast<std::int64_t>(std::ceil(3 * sigma));
  if (sigma < 0.5) return;
  std::vector<float> weight;
  for (std::int64_t k = -radius; k <= radius; ++k)
    weight.push_back(
        static_cast<float>(std::exp(-0.5 * static_cast<double>(k * k) / (sigma * sigma))));
  const float total = std::accumulate(weight.begin(), weight.end(), 0.0F);
  for (float& w : weight) w /= total;
  const std::int64_t n = box.size[axis];
  const std::array<std::int64_t, 3> stride{1, box.size[0], box.size[0] * box.size[1]};
  const std::size_t outer = axis == 2 ? 1 : 2, inner = axis == 0 ? 1 : 0;
  wsp::parallel_loop(std::int64_t{0}, box.size[outer], [&](std::int64_t j) {
    std::vector<float> line(static_cast<std::size_t>(n + 2 * radius));
    for (std::int64_t i = 0; i < box.size[inner]; ++i) {
      float* at = image.data() + j * stride[outer] + i * stride[inner];
      for (std::int64_t t = -radius; t < n + radius; ++t)
        line[static_cast<std::size_t>(t + radius)] =
            at[std::clamp<std::int64_t>(t, 0, n - 1) * stride[axis]];
      for (std::int64_t t = 0; t < n; ++t) {
        float sum = 0;
        for (std::size_t k = 0; k < weight.size(); ++k)
          sum += weight[k] * line[static_cast<std::size_t>(t) + k];
        at[t * stride[axis]] = sum;
      }
    }
  });
}

// Bone and gas must not pull the values about them far.
std::vector<float> smoothed(const Volume& volume, const Box& box, double sigma_mm) {
  constexpr float kLow = -200, kHigh = 400;
  std::vector<float> image(box.voxels());
  for_rows(box, volume.geometry, [&](std::size_t to, std::size_t from, std::size_t length) {
    for (std::size_t i = 0; i < length; ++i)
      image[to + i] = std::clamp(static_cast<float>(volume.hu[from + i]), kLow, kHigh);
  });
  for (std::size_t axis = 0; axis < 3; ++axis)
    smooth_axis(image, box, axis, sigma_mm / volume.geometry.spacing_mm[axis]);
  return image;
}

struct Values {
  double mode = 0, spread = 0;
};

// The commonest value among those of the core, and the robust spread about it.
Values values_of(const std::vector<float>& image, const Voxels& core) {
  constexpr int kLow = -200, kBins = 300, kNear = 40;
  constexpr double kBin = 2, kLeastSpread = 5;
  std::array<double, kBins> count{};
  for (std::size_t i = 0; i < image.size(); ++i)
    if (core[i] != 0)
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
    if (core[i] != 0)
      if (const float d = std::abs(image[i] - static_cast<float>(found.mode)); d < kNear)
        away.push_back(d);
  const auto middle = away.begin() + static_cast<std::ptrdiff_t>(away.size() / 2);
  std::nth_element(away.begin(), middle, away.end());
  found.spread = std::max(kLeastSpread, 1.4826 * static_cast<double>(*middle));
  return found;
}

Voxels core_of(const std::vector<float>& inside, double depth_mm) {
  Voxels core(inside.size());
  std::transform(inside.begin(), inside.end(), core.begin(),
                 [&](float d) { return d > squared(depth_mm) ? 1 : 0; });
  return core;
}

void open(Voxels& mask, const Box& box, double mm) {
  const auto inside = distances_to(mask, 0, box);
  Voxels eroded(mask.size());
  for_voxels(box, [&](std::size_t i) { eroded[i] = inside[i] > squared(mm) ? 1 : 0; });
  const auto away = distances_to(eroded, 1, box);
  for_voxels(box, [&](std::size_t i) {
    if (away[i] > squared(mm)) mask[i] = 0;
  });
}

void close(Voxels& mask, const Box& box, double mm) {
  const auto away = distances_to(mask, 1, box);
  Voxels grown(mask.size());
  for_voxels(box, [&](std::size_t i) { grown[i] = away[i] <= squared(mm) ? 1 : 0; });
  const auto inside = distances_to(grown, 0, box);
  for_voxels(box, [&](std::size_t i) {
    if (inside[i] > squared(mm)) mask[i] = 1;
  });
}

// Smoothing blends a rim of the liver with the fat and the lung about it: what is nearer to the liver's
// value than to fat's, and close to both, is liver.
void restore_rim(Voxels& mask, const std::vector<float>& image, double mode, double smooth_mm,
                 const Box& box) {
  constexpr float kFat = -100, kSurelyFat = -40;
  Voxels fat(mask.size());
  for_voxels(box, [&](std::size_t i) { fat[i] = image[i] < kSurelyFat ? 1 : 0; });
  const auto to_fat = distances_to(fat, 1, box), away = distances_to(mask, 1, box);
  const auto half = (static_cast<float>(mode) + kFat) / 2;
  for_voxels(box, [&](std::size_t i) {
    if (away[i] <= squared(1.5 * smooth_mm) && to_fat[i] <= squared(2 * smooth_mm) &&
        image[i] > half)
      mask[i] = 1;
  });
}

void keep_largest_and_fill(Voxels& mask, const Box& box) {
  LiverMask part;
  part.geometry.size = box.size;
  part.voxels = std::move(mask);
  clean_mask(part);
  mask = std::move(part.voxels);
}

// One round; false where the mask has no core.
bool refine_once(const Volume& volume, LiverMask& mask, const Refine& how, RefinedLiver& result) {
  const auto box = box_about(volume, mask, how.grow_mm + how.close_mm + 2);
  if (!box) return false;
  // 1. The mask, how deep each voxel lies in it, and how far outside.
  Voxels before(box->voxels());
  for_rows(*box, mask.geometry, [&](std::size_t to, std::size_t from, std::size_t length) {
    std::copy_n(mask.voxels.begin() + static_cast<std::ptrdiff_t>(from), length,
                before.begin() + static_cast<std::ptrdiff_t>(to));
  });
  auto apart = distances_to(before, 0, *box);  // squared; outside negative
  {
    const auto outside = distances_to(before, 1, *box);
    for_voxels(*box, [&](std::size_t i) {
      if (before[i] == 0) apart[i] = -outside[i];
    });
  }
  // 2. Which values the liver has, by its core.
  constexpr double kLeastCoreMm3 = 20000;
  const double voxel_mm3 =
      mask.geometry.spacing_mm[0] * mask.geometry.spacing_mm[1] * mask.geometry.spacing_mm[2];
  Voxels core = core_of(apart, how.core_mm);
  if (static_cast<double>(std::count(core.begin(), core.end(), 1)) * voxel_mm3 < kLeastCoreMm3)
    core = core_of(apart, how.core_mm / 2);
  if (std::find(core.begin(), core.end(), 1) == core.end()) return false;
  const auto image = smoothed(volume, *box, how.smooth_mm);
  const Values liver = values_of(image, core);
  result.mode_hu = liver.mode;
  result.spread_hu = liver.spread;
  // 3. What belongs to it.
  constexpr float kFatHu = -60;
  Voxels after(before.size());
  for_voxels(*box, [&](std::size_t i) {
    const double deep = std::sqrt(std::max(0.0, static_cast<double>(apart[i]))),
                 far = std::sqrt(std::max(0.0, -static_cast<double>(apart[i])));
    const double limit =
        far > 0 ? how.spreads - (how.spreads - 1) * far / how.grow_mm
                : how.spreads + 0.5 * std::min(deep, how.core_mm);
    const bool fits = far <= how.grow_mm &&
                      std::abs(static_cast<double>(image[i]) - liver.mode) < limit * liver.spread;
    after[i] = fits || (core[i] != 0 && image[i] > kFatHu) ? 1 : 0;
  });
  std::vector<float>().swap(apart);  // what follows has distances of its own
  // 4. In one piece, without threads and holes.
  open(after, *box, how.open_mm);
  keep_largest_and_fill(after, *box);
  close(after, *box, how.close_mm);
  restore_rim(after, image, liver.mode, how.smooth_mm, *box);
  keep_largest_and_fill(after, *box);
  std::fill(mask.voxels.begin(), mask.voxels.end(), 0);
  for_rows(*box, mask.geometry, [&](std::size_t from, std::size_t to, std::size_t length) {
    std::copy_n(after.begin() + static_cast<std::ptrdiff_t>(from), length,
                mask.voxels.begin() + static_cast<std::ptrdiff_t>(to));
  });
  return true;
}

}  // namespace

RefinedLiver refine_liver(const Volume& volume, LiverMask& mask, const Refine& how) {
  RefinedLiver result;
  const Voxels before = mask.voxels;
  for (int round = 0; round < how.rounds; ++round)
    if (!refine_once(volume, mask, how, result)) break;
  std::int64_t both = 0, sum = 0;
  for (std::size_t i = 0; i < before.size(); ++i) {
    both += before[i] & mask.voxels[i];
    sum += before[i] + mask.voxels[i];
  }
  if (sum > 0) result.agreement = 2 * static_cast<double>(both) / static_cast<double>(sum);
  return result;
}

}  // namespace wsp

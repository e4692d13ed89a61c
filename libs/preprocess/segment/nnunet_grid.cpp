// The grid of an nnU-Net: crop, normalisation and resampling of nnunetv2's DefaultPreprocessor, and
// the way back of its export.
#include <algorithm>
#include <cmath>
#include <limits>

#include "io/core/parallel.hpp"
#include "preprocess/segment/model_grid.hpp"
#include "preprocess/segment/resample_plane.hpp"

namespace wsp {
namespace {

constexpr float kNone = std::numeric_limits<float>::quiet_NaN();
constexpr int kReach = 13;  // samples on which a cubic spline's weights are above 1e-7

double cubic_spline(double t) {
  t = std::abs(t);
  if (t < 1) return 2.0 / 3 - t * t * (2 - t) / 2;
  return t < 2 ? (2 - t) * (2 - t) * (2 - t) / 6 : 0;
}

// The coefficients of a spline that is 1 at one sample and 0 at all others: those of the filter
// that turns samples into coefficients (Unser 1999), of which -2 + sqrt(3) is the pole.
double spline_coefficient(std::int64_t distance) {
  const double pole = std::sqrt(3.0) - 2;
  return -6 * pole / (1 - pole * pole) * std::pow(pole, static_cast<double>(std::abs(distance)));
}

// Weights on samples first, first + 1, ...: those beyond the ends fall to the end samples.
AxisTaps folded(std::int64_t first, const std::vector<double>& weights, std::int64_t count) {
  const auto place = [&](std::size_t k) {
    return std::clamp<std::int64_t>(first + static_cast<std::int64_t>(k), 0, count - 1);
  };
  AxisTaps taps;
  taps.first = place(0);
  std::vector<double> sums(static_cast<std::size_t>(place(weights.size() - 1) - taps.first + 1));
  double all = 0;
  for (std::size_t k = 0; k < weights.size(); ++k) {
    sums[static_cast<std::size_t>(place(k) - taps.first)] += weights[k];
    all += weights[k];
  }
  for (const double sum : sums) taps.weight.push_back(static_cast<float>(sum / all));
  return taps;
}

AxisTaps spline_at(double at, std::int64_t count, int order) {
  if (order == 0) return folded(static_cast<std::int64_t>(std::floor(at + 0.5)), {1}, count);
  const double floor = std::floor(at);
  const auto below = static_cast<std::int64_t>(floor);
  const double t = at - floor;
  if (t == 0) return folded(below, {1}, count);
  if (order == 1) return folded(below, {1 - t, t}, count);
  std::vector<double> weights(2 * kReach + 4);
  for (std::int64_t j = -1; j <= 2; ++j)
    for (std::int64_t k = -kReach; k <= kReach; ++k)
      weights[static_cast<std::size_t>(1 + j + k + kReach)] +=
          cubic_spline(t - static_cast<double>(j)) * spline_coefficient(k);
  return folded(below - 1 - kReach, weights, count);
}

// nnU-Net counts along the tensor's axis; here against it.
std::vector<AxisTaps> turned(std::vector<AxisTaps> taps, std::int64_t count) {
  std::reverse(taps.begin(), taps.end());
  for (AxisTaps& t : taps) {
    t.first = count - t.first - static_cast<std::int64_t>(t.weight.size());
    std::reverse(t.weight.begin(), t.weight.end());
  }
  return taps;
}

// `taps` from sample `at` of `size` on, reading from sample `shift` on.
std::vector<AxisTaps> placed(const std::vector<AxisTaps>& taps, std::int64_t at, std::int64_t size,
                             std::int64_t shift) {
  std::vector<AxisTaps> all(static_cast<std::size_t>(size));
  for (std::size_t i = 0; i < taps.size(); ++i) {
    all[static_cast<std::size_t>(at) + i] = taps[i];
    all[static_cast<std::size_t>(at) + i].first += shift;
  }
  return all;
}

// First and size along x, y, z of the box about what is not 0; everything where all is 0.
struct Crop {
  std::array<std::int64_t, 3> first{}, size{};
};

Crop crop_to_nonzero(const Volume& volume) {
  const auto& size = volume.geometry.size;
  struct Extent {
    std::int64_t low[2] = {std::numeric_limits<std::int64_t>::max(),
                           std::numeric_limits<std::int64_t>::max()};
    std::int64_t high[2] = {-1, -1};
  };
  std::vector<Extent> slices(static_cast<std::size_t>(size[2]));
  wsp::parallel_loop(std::int64_t{0}, size[2], [&](std::int64_t z) {
    const auto hu = volume.slice(z);
    Extent& e = slices[static_cast<std::size_t>(z)];
    for (std::int64_t y = 0; y < size[1]; ++y) {
      const auto row =
          hu.subspan(static_cast<std::size_t>(y * size[0]), static_cast<std::size_t>(size[0]));
      const auto set = [](std::int16_t v) { return v != 0; };
      const auto first = std::find_if(row.begin(), row.end(), set);
      if (first == row.end()) continue;
      const auto last = std::find_if(row.rbegin(), row.rend(), set);
      e.low[0] = std::min<std::int64_t>(e.low[0], first - row.begin());
      e.high[0] = std::max<std::int64_t>(e.high[0], row.rend() - last - 1);
      e.low[1] = std::min(e.low[1], y);
      e.high[1] = y;
    }
  });
  Extent all;
  std::int64_t low = size[2], high = -1;
  for (std::int64_t z = 0; z < size[2]; ++z) {
    const Extent& e = slices[static_cast<std::size_t>(z)];
    if (e.high[1] < 0) continue;
    low = std::min(low, z);
    high = z;
    for (std::size_t a = 0; a < 2; ++a) {
      all.low[a] = std::min(all.low[a], e.low[a]);
      all.high[a] = std::max(all.high[a], e.high[a]);
    }
  }
  if (high < 0) return {{0, 0, 0}, size};
  return {{all.low[0], all.low[1], low},
          {all.high[0] - all.low[0] + 1, all.high[1] - all.low[1] + 1, high - low + 1}};
}

// What a slice of the box holds: its range, clipped to [low, high], and its sums as stored.
struct SliceValues {
  std::array<float, 2> range{kNone, kNone};
  double sum = 0, squares = 0;
};

std::vector<SliceValues> values_of(const Volume& volume, const Crop& crop, float low, float high) {
  std::vector<SliceValues> slices(static_cast<std::size_t>(crop.size[2]));
  const std::int64_t columns = volume.geometry.size[0];
  wsp::parallel_loop(std::size_t{0}, slices.size(), [&](std::size_t i) {
    SliceValues& s = slices[i];
    std::int16_t least = 32767, most = -32768;
    const auto hu = volume.slice(crop.first[2] + static_cast<std::int64_t>(i));
    for (std::int64_t y = 0; y < crop.size[1]; ++y)
      for (std::int64_t x = 0; x < crop.size[0]; ++x) {
        const std::int16_t v =
            hu[static_cast<std::size_t>((crop.first[1] + y) * columns + crop.first[0] + x)];
        least = std::min(least, v);
        most = std::max(most, v);
        s.sum += v;
        s.squares += static_cast<double>(v) * v;
      }
    s.range = {std::clamp(static_cast<float>(least), low, high),
               std::clamp(static_cast<float>(most), low, high)};
  });
  return slices;
}

}  // namespace

std::vector<AxisTaps> spline_taps(std::int64_t from, std::int64_t to, int order) {
  std::vector<AxisTaps> taps;
  const double scale = static_cast<double>(from) / static_cast<double>(to);
  for (std::int64_t i = 0; i < to; ++i)
    taps.push_back(spline_at(scale * (static_cast<double>(i) + 0.5) - 0.5, from, order));
  return taps;
}

void ModelGrid::lay_out_nnunet() {
  const Geometry& g = volume_.geometry;
  const NnunetModel& nnunet = *model_.nnunet;
  const Crop crop = crop_to_nonzero(volume_);
  crop_first_ = crop.first;
  crop_size_ = crop.size;
  std::array<double, 3> acquired{}, target{};  // tensor order
  for (std::size_t t = 0; t < 3; ++t) {
    acquired[t] = g.spacing_mm[static_cast<std::size_t>(model_.axes[t].volume_axis)];
    target[t] = model_.spacing_mm[t].value_or(acquired[t]);
  }
  const auto apart = nnunet.data.separate_axis(acquired, target);
  const auto apart_back = nnunet.logits.separate_axis(target, acquired);
  for (std::size_t t = 0; t < 3; ++t) {
    const auto axis = static_cast<std::size_t>(model_.axes[t].volume_axis);
    const bool reversed = model_.axes[t].reversed;
    const std::int64_t count = crop_size_[axis];
    const auto content = std::max<std::int64_t>(
        1, std::llround(std::nearbyint(acquired[t] / target[t] * static_cast<double>(count))));
    const std::int64_t size = std::max(content, model_.patch[t]);
    const std::int64_t before = (size - content + (reversed ? 1 : 0)) / 2;
    auto there = spline_taps(count, content, apart == t ? nnunet.data.order_z : nnunet.data.order);
    auto back =
        spline_taps(content, count, apart_back == t ? nnunet.logits.order_z : nnunet.logits.order);
    if (content == count)  // weights of 0 and 1 up to their last bits
      there = back = spline_taps(count, count, 0);
    if (reversed) {
      there = turned(std::move(there), count);
      back = turned(std::move(back), content);
    }
    const bool identity = count == g.size[axis] && content == count && size == content;
    axis_[axis] = {g.size[axis], size, identity, placed(there, before, size, crop_first_[axis]),
                   placed(back, crop_first_[axis], g.size[axis], before)};
    spacing_mm_[2 - axis] = target[t];
  }

  // Range, and of a z-score mean and deviation, of the box.
  const auto low = static_cast<float>(nnunet.zscore ? -32768 : model_.low_hu);
  const auto high = static_cast<float>(nnunet.zscore ? 32767 : model_.high_hu);
  const std::vector<SliceValues> slices = values_of(volume_, crop, low, high);
  double sum = 0, squares = 0;
  std::array<float, 2> whole = slices.front().range;
  for (const SliceValues& s : slices) {
    sum += s.sum;
    squares += s.squares;
    whole = {std::min(whole[0], s.range[0]), std::max(whole[1], s.range[1])};
  }
  const bool slices_apart = apart && model_.axes[*apart].volume_axis == 2;
  hu_range_.assign(static_cast<std::size_t>(g.size[2]), whole);
  for (std::size_t i = 0; slices_apart && i < slices.size(); ++i)
    hu_range_[static_cast<std::size_t>(crop_first_[2]) + i] = slices[i].range;
  if (nnunet.zscore) {
    const auto n = static_cast<double>(crop_size_[0] * crop_size_[1] * crop_size_[2]);
    const double mean = sum / n;
    factor_ = 1 / std::max(std::sqrt(std::max(0.0, squares / n - mean * mean)), 1e-8);
    offset_ = -mean * factor_;
  }
  low_ = low;
  high_ = high;
  slices_apart_ = slices_apart;
}

std::vector<float> ModelGrid::nnunet_plane(std::int64_t z) const {
  const AxisTaps& taps = axis_[2].to_model[static_cast<std::size_t>(z)];
  std::vector<float> plane(static_cast<std::size_t>(plane_size()), 0.0F);
  if (taps.weight.empty()) return plane;
  const auto area = static_cast<std::size_t>(volume_.geometry.slice_voxels());
  const auto in_plane = [&](const std::vector<float>& slice, std::int64_t of) {
    auto made =
        resample_plane(slice.data(), axis_[0].native, axis_[0].to_model, axis_[1].to_model, kNone);
    const auto [least, most] = hu_range_[static_cast<std::size_t>(of)];
    for (float& v : made) v = std::clamp(v, least, most);  // not a number stays so
    return made;
  };
  std::vector<float> mixed(slices_apart_ ? plane.size() : area, 0.0F);
  std::vector<float> clipped(area);
  for (std::size_t k = 0; k < taps.weight.size(); ++k) {
    const std::int64_t source = taps.first + static_cast<std::int64_t>(k);
    const auto slice = volume_.slice(source);
    for (std::size_t i = 0; i < area; ++i)
      clipped[i] = std::clamp(static_cast<float>(slice[i]), low_, high_);
    const float w = taps.weight[k];
    const std::vector<float>& part = slices_apart_ ? in_plane(clipped, source) : clipped;
    for (std::size_t i = 0; i < mixed.size(); ++i) mixed[i] += w * part[i];
  }
  if (!slices_apart_) mixed = in_plane(mixed, taps.first);
  const auto factor = static_cast<float>(factor_), offset = static_cast<float>(offset_);
  for (std::size_t i = 0; i < plane.size(); ++i)
    plane[i] = std::isnan(mixed[i]) ? 0.0F : mixed[i] * factor + offset;
  return plane;
}

std::array<std::int64_t, 2> ModelGrid::planes_of(std::int64_t z) const {
  const AxisTaps& taps = axis_[2].to_native[static_cast<std::size_t>(z)];
  return {taps.first, taps.first + static_cast<std::int64_t>(taps.weight.size())};
}

std::vector<float> ModelGrid::native_maps(std::int64_t z, std::int64_t channels,
                                          std::span<const float* const> planes) const {
  const AxisTaps& taps = axis_[2].to_native[static_cast<std::size_t>(z)];
  const auto plane = static_cast<std::size_t>(plane_size());
  std::vector<float> maps, mixed(plane);
  for (std::int64_t c = 0; c < channels; ++c) {
    std::fill(mixed.begin(), mixed.end(), taps.weight.empty() ? kNone : 0.0F);
    for (std::size_t k = 0; k < taps.weight.size(); ++k) {
      const float* from = planes[k] + static_cast<std::size_t>(c) * plane;
      const float w = taps.weight[k];
      for (std::size_t i = 0; i < plane; ++i) mixed[i] += w * from[i];
    }
    const auto map =
        resample_plane(mixed.data(), axis_[0].model, axis_[0].to_native, axis_[1].to_native, kNone);
    maps.insert(maps.end(), map.begin(), map.end());
  }
  return maps;
}

}  // namespace wsp

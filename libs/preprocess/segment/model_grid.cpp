#include "preprocess/segment/model_grid.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "preprocess/segment/resample_plane.hpp"

namespace wsp {
namespace {

// Continuous index of a position on an axis of ascending samples, linear between and beyond them.
double index_of(std::span<const double> positions, double mm) {
  if (positions.size() == 1) return mm - positions[0];
  const auto above = std::upper_bound(positions.begin() + 1, positions.end() - 1, mm);
  const auto i = static_cast<std::size_t>(above - positions.begin());
  return static_cast<double>(i) - 1 + (mm - positions[i - 1]) / (positions[i] - positions[i - 1]);
}

AxisTaps linear_taps(double at, std::int64_t count) {
  at = std::clamp(at, 0.0, static_cast<double>(count - 1));
  const auto first = std::min(static_cast<std::int64_t>(at), std::max<std::int64_t>(0, count - 2));
  const double t = at - static_cast<double>(first);
  if (t == 0 || count == 1) return {first, {1.0F}};
  if (t == 1) return {first + 1, {1.0F}};
  return {first, {static_cast<float>(1 - t), static_cast<float>(t)}};
}

// The mean over [begin, end) in units of samples, sample i covering [i - 0.5, i + 0.5).
AxisTaps area_taps(double begin, double end, std::int64_t count) {
  begin = std::clamp(begin + 0.5, 0.0, static_cast<double>(count));
  end = std::clamp(end + 0.5, 0.0, static_cast<double>(count));
  AxisTaps taps;
  taps.first = static_cast<std::int64_t>(begin);
  for (auto s = taps.first; static_cast<double>(s) < end - 1e-9; ++s) {
    const double low = std::max(begin, static_cast<double>(s));
    const double high = std::min(end, static_cast<double>(s + 1));
    taps.weight.push_back(static_cast<float>((high - low) / (end - begin)));
  }
  return taps;
}

AxisMap identity_map(std::int64_t count) {
  AxisMap map{count, count, true, {}, {}};
  map.to_model.resize(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) map.to_model[static_cast<std::size_t>(i)] = {i, {1.0F}};
  map.to_native = map.to_model;
  return map;
}

std::int64_t round_up(std::int64_t n, std::int64_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

std::vector<double> even_positions(std::int64_t count, double spacing) {
  std::vector<double> positions(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < positions.size(); ++i)
    positions[i] = static_cast<double>(i) * spacing;
  return positions;
}

}  // namespace

AxisMap map_axis(std::span<const double> positions, double spacing, std::int64_t content,
                 std::int64_t size) {
  const auto count = static_cast<std::int64_t>(positions.size());
  const std::int64_t left = (size - content) / 2 - ((size - content) % 2 < 0 ? 1 : 0);
  AxisMap map{count, size, false, {}, {}};
  const double middle = (positions.front() + positions.back()) / 2;
  // Position of sample j of the network's grid.
  const auto mm = [&](double j) {
    return middle +
           (j - static_cast<double>(left) - static_cast<double>(content - 1) / 2) * spacing;
  };
  for (std::int64_t j = 0; j < size; ++j) {
    AxisTaps taps;
    if (j >= left && j < left + content) {
      const auto at = static_cast<double>(j);
      const double begin = index_of(positions, mm(at - 0.5));
      const double end = index_of(positions, mm(at + 0.5));
      taps = end - begin > 1 + 1e-6 ? area_taps(begin, end, count)
                                    : linear_taps(index_of(positions, mm(at)), count);
    }
    map.to_model.push_back(std::move(taps));
  }
  for (const double position : positions) {
    const double j = (position - mm(0)) / spacing;
    AxisTaps taps;
    if (j > -0.5 - 1e-9 && j < static_cast<double>(size) - 0.5 + 1e-9) {
      // Held at the content's border: what is padded knows nothing of the volume.
      const auto first = std::max<std::int64_t>(0, left);
      const auto end = std::min(size, left + content);
      taps = linear_taps(j - static_cast<double>(first), end - first);
      taps.first += first;
    }
    map.to_native.push_back(std::move(taps));
  }
  return map;
}

ModelGrid::ModelGrid(const Volume& volume, const ModelDescriptor& model)
    : volume_(volume), model_(model), factor_(model.factor), offset_(model.offset) {
  if (model.nnunet) {
    lay_out_nnunet();
    return;
  }
  const Geometry& g = volume.geometry;
  std::array<double, 3> target = g.spacing_mm;  // x, y, z
  std::array<bool, 3> resampled{};
  std::array<std::int64_t, 3> patch{1, 1, 1};
  std::array<std::int64_t, 3> fixed{0, 0, 0};
  for (std::size_t t = 0; t < 3; ++t) {
    const auto axis = static_cast<std::size_t>(model.axes[t].volume_axis);
    if (const auto wanted = model.spacing_mm[t];
        wanted && std::abs(*wanted - g.spacing_mm[axis]) > 1e-3 * g.spacing_mm[axis]) {
      target[axis] = *wanted;
      resampled[axis] = true;
    }
    if (model.dimensions == 3) patch[axis] = model.patch[t];
    if (model.size && t > 0) fixed[axis] = (*model.size)[t - 1];
  }
  const bool fit = model.size && !model.spacing_mm[1];
  double fill = 0;  // scale alike in both directions until the longer side fills its size
  for (std::size_t axis = 0; axis < 2 && fit; ++axis)
    fill = std::max(fill, static_cast<double>(g.size[axis]) * g.spacing_mm[axis] /
                              static_cast<double>(fixed[axis]));
  for (std::size_t axis = 0; axis < 3; ++axis) {
    const std::int64_t count = g.size[axis];
    const auto positions = axis == 2 ? volume.z_mm : even_positions(count, g.spacing_mm[axis]);
    std::int64_t content = count;
    if (fit && axis < 2) {
      content = std::clamp<std::int64_t>(
          std::llround(static_cast<double>(count) * g.spacing_mm[axis] / fill), 1, fixed[axis]);
      resampled[axis] = content != count;
      target[axis] = g.spacing_mm[axis] * static_cast<double>(count) / static_cast<double>(content);
    } else if (resampled[axis]) {
      const double length = positions.back() - positions.front() + g.spacing_mm[axis];
      content = std::max<std::int64_t>(1, std::llround(length / target[axis]));
    }
    std::int64_t size = fixed[axis] > 0 ? fixed[axis] : std::max(content, patch[axis]);
    if (model.dimensions == 2 && axis < 2 && fixed[axis] == 0)
      size = round_up(size, model.multiple);
    spacing_mm_[2 - axis] = target[axis];
    if (!resampled[axis] && size == content)
      axis_[axis] = identity_map(count);
    else if (resampled[axis])
      axis_[axis] = map_axis(positions, target[axis], content, size);
    else  // padded or cropped only: by number, whatever the positions
      axis_[axis] = map_axis(even_positions(count, 1), 1, content, size);
  }
}

std::vector<float> ModelGrid::plane(std::int64_t z) const {
  if (model_.nnunet) return nnunet_plane(z);
  const auto& z_taps = axis_[2].to_model[static_cast<std::size_t>(z)];
  const auto low = static_cast<float>(model_.low_hu), high = static_cast<float>(model_.high_hu);
  const auto factor = static_cast<float>(model_.factor);
  const auto offset = static_cast<float>(model_.offset);
  std::vector<float> result;
  const std::int64_t width = axis_[0].native;
  if (z_taps.weight.empty()) {
    result.assign(static_cast<std::size_t>(plane_size()), low);
  } else if (z_taps.weight.size() == 1) {
    const std::int16_t* slice = volume_.slice(z_taps.first).data();
    if (axis_[0].identity && axis_[1].identity) {
      result.resize(static_cast<std::size_t>(plane_size()));
      for (std::size_t i = 0; i < result.size(); ++i)
        result[i] = std::clamp(static_cast<float>(slice[i]), low, high) * factor + offset;
      return result;
    }
    result = resample_plane(slice, width, axis_[0].to_model, axis_[1].to_model, low);
  } else {
    std::vector<float> mixed(static_cast<std::size_t>(volume_.geometry.slice_voxels()), 0.0F);
    for (std::size_t k = 0; k < z_taps.weight.size(); ++k) {
      const auto slice = volume_.slice(z_taps.first + static_cast<std::int64_t>(k));
      for (std::size_t i = 0; i < mixed.size(); ++i)
        mixed[i] += z_taps.weight[k] * static_cast<float>(slice[i]);
    }
    result = resample_plane(mixed.data(), width, axis_[0].to_model, axis_[1].to_model, low);
  }
  for (float& value : result) value = std::clamp(value, low, high) * factor + offset;
  return result;
}

std::vector<float> ModelGrid::native_slice(
    std::int64_t z, std::span<const std::vector<std::uint16_t>> planes) const {
  const auto& taps = axis_[2].to_native[static_cast<std::size_t>(z)];
  constexpr float kUnit = 1.0F / 65535.0F;
  std::vector<float> mixed;
  for (std::size_t k = 0; k < taps.weight.size(); ++k) {
    const auto& plane = planes[static_cast<std::size_t>(taps.first) + k];
    if (plane.empty()) continue;
    if (mixed.empty()) mixed.assign(plane.size(), 0.0F);
    const float w = taps.weight[k] * kUnit;
    for (std::size_t i = 0; i < mixed.size(); ++i) mixed[i] += w * static_cast<float>(plane[i]);
  }
  if (mixed.empty() || (axis_[0].identity && axis_[1].identity)) return mixed;
  return resample_plane(mixed.data(), axis_[0].model, axis_[0].to_native, axis_[1].to_native, 0);
}

}  // namespace wsp

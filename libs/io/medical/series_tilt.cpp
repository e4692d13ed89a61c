#include <algorithm>
#include <cmath>

#include "io/medical/series_group.hpp"

namespace wsp::dicom {
namespace {

constexpr float kPadding = -1024.0F;

/// Source index and weight of the upper neighbour for target index i; outside gives index -1.
struct Tap {
  std::int64_t low = -1;
  float upper_weight = 0;
};

std::vector<Tap> taps(std::int64_t target_size, std::int64_t source_size, double shift) {
  std::vector<Tap> result(static_cast<std::size_t>(target_size));
  for (std::int64_t i = 0; i < target_size; ++i) {
    double at = static_cast<double>(i) - shift;
    // Rounding of header values must not cut the outermost pixels.
    if (std::abs(at - std::round(at)) < 1e-3) at = std::round(at);
    if (at < 0 || at > static_cast<double>(source_size - 1)) continue;
    const auto low =
        std::min(static_cast<std::int64_t>(at), std::max<std::int64_t>(0, source_size - 2));
    result[static_cast<std::size_t>(i)] = {low, static_cast<float>(at - static_cast<double>(low))};
  }
  return result;
}

/// Pixels by which an axis grows where slices begin from `low` to `high` mm along it.
double growth(double low, double high, double pixel_mm) {
  return std::ceil(std::max(0.0, (high - low) / pixel_mm - 1e-3));
}

}  // namespace

void resample_tilt(Volume& volume) {
  const Geometry source = volume.geometry;
  const auto slices = volume.slice_origin_mm.size();
  std::array<std::vector<double>, 2> along;
  std::array<double, 2> first{};
  Geometry target = source;
  for (std::size_t d = 0; d < 2; ++d) {
    for (const Vec3& origin : volume.slice_origin_mm)
      along[d].push_back(dot(origin, source.axis[d]));
    const auto [low, high] = std::minmax_element(along[d].begin(), along[d].end());
    first[d] = *low;
    target.size[d] += static_cast<std::int64_t>(growth(*low, *high, source.spacing_mm[d]));
  }

  std::vector<std::int16_t> hu(static_cast<std::size_t>(target.voxels()),
                               static_cast<std::int16_t>(kPadding));
  for (std::size_t k = 0; k < slices; ++k) {
    const auto x =
        taps(target.size[0], source.size[0], (along[0][k] - first[0]) / source.spacing_mm[0]);
    const auto y =
        taps(target.size[1], source.size[1], (along[1][k] - first[1]) / source.spacing_mm[1]);
    const std::int16_t* from =
        volume.hu.data() + static_cast<std::int64_t>(k) * source.slice_voxels();
    std::int16_t* to = hu.data() + static_cast<std::int64_t>(k) * target.slice_voxels();
    for (std::int64_t j = 0; j < target.size[1]; ++j) {
      const Tap& ty = y[static_cast<std::size_t>(j)];
      if (ty.low < 0) continue;
      const std::int16_t* row = from + ty.low * source.size[0];
      const std::int16_t* next = row + (ty.upper_weight > 0 ? source.size[0] : 0);
      for (std::int64_t i = 0; i < target.size[0]; ++i) {
        const Tap& tx = x[static_cast<std::size_t>(i)];
        if (tx.low < 0) continue;
        const std::int64_t right = tx.low + (tx.upper_weight > 0 ? 1 : 0);
        const auto mix = [&](const std::int16_t* line) {
          return (1 - tx.upper_weight) * static_cast<float>(line[tx.low]) +
                 tx.upper_weight * static_cast<float>(line[right]);
        };
        const float value = (1 - ty.upper_weight) * mix(row) + ty.upper_weight * mix(next);
        to[j * target.size[0] + i] = static_cast<std::int16_t>(std::nearbyint(value));
      }
    }
    Vec3& origin = volume.slice_origin_mm[k];
    for (std::size_t d = 0; d < 2; ++d) origin = origin + (first[d] - along[d][k]) * source.axis[d];
  }
  target.origin_mm = volume.slice_origin_mm.front();
  volume.geometry = target;
  volume.hu = std::move(hu);
}

}  // namespace wsp::dicom

namespace wsp {

double volume_voxels(const Series& series) {
  auto columns = static_cast<double>(series.columns), rows = static_cast<double>(series.rows);
  if (series.is_dicom && dicom::is_tilted(series)) {
    const auto grown = [&](const Vec3& axis, double pixel_mm) {
      const auto [low, high] = std::minmax_element(
          series.planes.begin(), series.planes.end(), [&](const Plane& a, const Plane& b) {
            return dot(a.position_mm, axis) < dot(b.position_mm, axis);
          });
      return dicom::growth(dot(low->position_mm, axis), dot(high->position_mm, axis), pixel_mm);
    };
    columns += grown(series.row_axis, series.pixel_x_mm);
    rows += grown(series.column_axis, series.pixel_y_mm);
  }
  return columns * rows * static_cast<double>(std::max<std::size_t>(1, series.planes.size()));
}

}  // namespace wsp

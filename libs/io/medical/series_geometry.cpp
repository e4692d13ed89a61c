#include <algorithm>
#include <cmath>
#include <numbers>

#include "io/medical/series_group.hpp"

namespace wsp::dicom {

void measure_geometry(Series& series) {
  Vec3 normal = cross(series.row_axis, series.column_axis);
  normal = (1 / norm(normal)) * normal;
  // To the head; for a plane that holds the body axis any fixed choice does.
  if (normal[2] < 0) normal = -1.0 * normal;
  series.normal = normal;
  for (Plane& plane : series.planes) plane.z_mm = dot(plane.position_mm, normal);
  std::stable_sort(series.planes.begin(), series.planes.end(),
                   [](const Plane& a, const Plane& b) { return a.z_mm < b.z_mm; });

  series.gaps_mm.clear();
  series.missing_after.clear();
  series.irregular = false;
  series.tilt_deg = 0;
  for (std::size_t k = 0; k + 1 < series.planes.size(); ++k) {
    series.gaps_mm.push_back(series.planes[k + 1].z_mm - series.planes[k].z_mm);
  }
  if (series.gaps_mm.empty()) {
    series.spacing_mm = series.thickness_mm;
    return;
  }
  std::vector<double> sorted = series.gaps_mm;
  std::sort(sorted.begin(), sorted.end());
  const std::size_t middle = sorted.size() / 2;
  // The lower middle one: with two gaps of 5 and 10 mm, 5 is the spacing and 10 the hole.
  series.spacing_mm = sorted.size() % 2 == 1 ? sorted[middle] : sorted[middle - 1];

  const double spacing = series.spacing_mm;
  for (std::size_t k = 0; k < series.gaps_mm.size() && spacing > 0; ++k) {
    const double ratio = series.gaps_mm[k] / spacing;
    const bool multiple = ratio >= 1.5 && std::abs(ratio - std::round(ratio)) <= 0.1;
    if (multiple) {
      series.missing_after.push_back(k);
    } else if (std::abs(series.gaps_mm[k] - spacing) > 0.02 + 0.02 * spacing) {
      series.irregular = true;
    }
  }
  const Vec3 stack = series.planes.back().position_mm - series.planes.front().position_mm;
  // By the sine as well as the cosine: acos alone loses small angles.
  series.tilt_deg =
      std::atan2(norm(cross(stack, normal)), std::abs(dot(stack, normal))) * 180 / std::numbers::pi;
}

double track_deviation_mm(const Series& series) {
  if (series.planes.size() < 3) return 0;
  const Vec3 first = series.planes.front().position_mm;
  const Vec3 stack = series.planes.back().position_mm - first;
  const double length = series.planes.back().z_mm - series.planes.front().z_mm;
  if (length <= 0) return 0;
  double worst = 0;
  for (const Plane& plane : series.planes) {
    const double along = (plane.z_mm - series.planes.front().z_mm) / length;
    worst = std::max(worst, norm(plane.position_mm - (first + along * stack)));
  }
  return worst;
}

bool is_tilted(const Series& series) {
  if (series.planes.size() < 2) return false;
  const Vec3 stack = series.planes.back().position_mm - series.planes.front().position_mm;
  const double drift = norm(stack - dot(stack, series.normal) * series.normal);
  const double pixel = std::min(series.pixel_x_mm, series.pixel_y_mm);
  return series.tilt_deg > 1 || drift > std::max(0.5, 0.5 * pixel);
}

}  // namespace wsp::dicom

#include "io/medical/series_parts.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <tuple>

#include "io/medical/series_group.hpp"

namespace wsp::dicom {
namespace {

bool earlier_in_files(const PlaneRef& a, const PlaneRef& b) {
  return std::tie(a.file, a.frame->frame) < std::tie(b.file, b.frame->frame);
}

bool overlap(const Part& a, const Part& b) {
  return a.low <= b.high + kSamePositionMm && b.low <= a.high + kSamePositionMm;
}

}  // namespace

double height(const PlaneRef& plane) {
  Vec3 normal = cross(plane.frame->row_axis, plane.frame->column_axis);
  if (normal[2] < 0) normal = -1.0 * normal;
  return dot(plane.frame->position, normal);
}

std::vector<Planes> positions_of(const Planes& planes) {
  std::vector<std::pair<double, std::size_t>> order;
  for (std::size_t i = 0; i < planes.size(); ++i) order.emplace_back(height(planes[i]), i);
  std::sort(order.begin(), order.end());
  std::vector<Planes> runs;
  double last = 0;
  for (const auto& [z, i] : order) {
    if (runs.empty() || z - last > kSamePositionMm) {
      runs.emplace_back();
      last = z;
    }
    runs.back().push_back(planes[i]);
  }
  for (Planes& run : runs) std::sort(run.begin(), run.end(), earlier_in_files);
  return runs;
}

bool collides(const Planes& planes) {
  const auto runs = positions_of(planes);
  return std::any_of(runs.begin(), runs.end(), [](const Planes& run) { return run.size() > 1; });
}

Part make_part(Planes planes) {
  Part part;
  part.low = std::numeric_limits<double>::max();
  part.high = std::numeric_limits<double>::lowest();
  for (const PlaneRef& plane : planes) {
    part.low = std::min(part.low, height(plane));
    part.high = std::max(part.high, height(plane));
  }
  part.planes = std::move(planes);
  return part;
}

std::vector<double> heights(const Planes& planes) {
  std::vector<double> z;
  for (const PlaneRef& plane : planes) z.push_back(height(plane));
  std::sort(z.begin(), z.end());
  return z;
}

double median_distance(const Planes& planes) {
  const auto z = heights(planes);
  std::vector<double> gaps;
  for (std::size_t k = 0; k + 1 < z.size(); ++k)
    if (z[k + 1] - z[k] > kSamePositionMm) gaps.push_back(z[k + 1] - z[k]);
  if (gaps.empty()) return 0;
  std::sort(gaps.begin(), gaps.end());
  return gaps[(gaps.size() - 1) / 2];
}

bool is_even(const Planes& planes) {
  const auto z = heights(planes);
  const double step = median_distance(planes);
  for (std::size_t k = 0; k + 1 < z.size(); ++k)
    if (std::abs(z[k + 1] - z[k] - step) > 0.02 + 0.02 * step) return false;
  return true;
}

bool any_overlap(const std::vector<Part>& parts) {
  for (std::size_t i = 0; i < parts.size(); ++i)
    for (std::size_t j = i + 1; j < parts.size(); ++j)
      if (overlap(parts[i], parts[j])) return true;
  return false;
}

bool are_stacks(const std::vector<Part>& parts) {
  std::size_t stacked = 0, all = 0;
  for (const Part& part : parts) {
    all += part.planes.size();
    if (part.high - part.low > kSamePositionMm) stacked += part.planes.size();
  }
  return 2 * stacked > all;
}

void sort_parts(std::vector<Part>& parts) {
  for (Part& part : parts) std::sort(part.planes.begin(), part.planes.end(), earlier_in_files);
  std::sort(parts.begin(), parts.end(), [](const Part& a, const Part& b) {
    return earlier_in_files(a.planes.front(), b.planes.front());
  });
}

}  // namespace wsp::dicom

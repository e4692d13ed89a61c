#include "io/medical/contour_planes.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <set>
#include <span>
#include <utility>

namespace wsp {
namespace {

constexpr double kRoundedMm = 0.02;
constexpr double kWidestMm = 15;  // what lies further apart was not drawn to be interpolated

using Slice = std::vector<std::uint8_t>;

void set(std::span<std::uint8_t> slice, const Slice& values) {
  std::copy(values.begin(), values.end(), slice.begin());
}

// XOR the pixels whose centres lie inside a polygon (even-odd) into one slice.
void flip_inside(Slice& slice, std::int64_t nx, std::int64_t ny, const Polygon& polygon) {
  for (std::int64_t row = 0; row < ny; ++row) {
    const auto y = static_cast<double>(row);
    std::vector<double> crossings;
    for (std::size_t i = 0; i < polygon.size(); ++i) {
      const auto& [x0, y0] = polygon[i];
      const auto& [x1, y1] = polygon[(i + 1) % polygon.size()];
      if ((y0 <= y) != (y1 <= y)) crossings.push_back(x0 + (y - y0) / (y1 - y0) * (x1 - x0));
    }
    std::sort(crossings.begin(), crossings.end());
    for (std::size_t i = 0; i + 1 < crossings.size(); i += 2) {
      const auto inside = [&](double x) {
        return static_cast<std::int64_t>(std::ceil(std::clamp(x, 0.0, static_cast<double>(nx))));
      };
      const std::int64_t end = inside(crossings[i + 1]);
      for (std::int64_t x = inside(crossings[i]); x < end; ++x)
        slice[static_cast<std::size_t>(row * nx + x)] ^= 1;
    }
  }
}

// A plane's voxels, and its border in mm for distances.
struct Shape {
  using Point = std::array<double, 2>;
  Slice inside;
  std::vector<std::pair<Point, Point>> border;

  Shape(const ContourPlane& plane, const Geometry& g) {
    inside.assign(static_cast<std::size_t>(g.slice_voxels()), 0);
    // A keyhole's channel is walked there and back: no border.
    std::set<std::pair<Point, Point>> edges;
    for (const Polygon& polygon : plane.polygons) {
      flip_inside(inside, g.size[0], g.size[1], polygon);
      for (std::size_t i = 0; i < polygon.size(); ++i) {
        const std::pair<Point, Point> edge =
            std::minmax(polygon[i], polygon[(i + 1) % polygon.size()]);
        if (const auto [at, fresh] = edges.insert(edge); !fresh) edges.erase(at);
      }
    }
    for (const auto& [a, b] : edges)
      border.push_back({{a[0] * g.spacing_mm[0], a[1] * g.spacing_mm[1]},
                        {b[0] * g.spacing_mm[0], b[1] * g.spacing_mm[1]}});
  }

  // Distance of a voxel's centre to the border, positive inside.
  [[nodiscard]] double signed_mm(std::size_t voxel, const Geometry& g) const {
    const auto nx = static_cast<std::size_t>(g.size[0]);
    const double x = static_cast<double>(voxel % nx) * g.spacing_mm[0];
    const double y = static_cast<double>(voxel / nx) * g.spacing_mm[1];
    double nearest = std::numeric_limits<double>::infinity();
    for (const auto& [a, b] : border) {
      const double dx = b[0] - a[0], dy = b[1] - a[1], length = dx * dx + dy * dy;
      const double along =
          length > 0 ? std::clamp(((x - a[0]) * dx + (y - a[1]) * dy) / length, 0.0, 1.0) : 0;
      const double ex = x - a[0] - along * dx, ey = y - a[1] - along * dy;
      nearest = std::min(nearest, ex * ex + ey * ey);
    }
    return inside[voxel] != 0 ? std::sqrt(nearest) : -std::sqrt(nearest);
  }
};

// The shape at `share` of the way from one plane to the next. Where both agree, so does it.
Slice between(const Shape& below, const Shape& above, double share, const Geometry& g) {
  Slice slice = below.inside;
  for (std::size_t i = 0; i < slice.size(); ++i)
    if (below.inside[i] != above.inside[i])
      slice[i] = (1 - share) * below.signed_mm(i, g) + share * above.signed_mm(i, g) >= 0 ? 1 : 0;
  return slice;
}

// The distance at which planes were drawn, where that is regular.
std::optional<double> regular_distance(const std::vector<ContourPlane>& planes) {
  std::vector<double> gaps;
  for (std::size_t i = 1; i < planes.size(); ++i)
    gaps.push_back(planes[i].z_mm - planes[i - 1].z_mm);
  if (gaps.size() < 2) return std::nullopt;
  std::sort(gaps.begin(), gaps.end());
  const double median = gaps[gaps.size() / 2];
  const auto like = std::count_if(gaps.begin(), gaps.end(), [median](double gap) {
    return std::abs(gap - median) <= kRoundedMm + 0.01 * median;
  });
  if (4 * static_cast<std::size_t>(like) < 3 * gaps.size() || median > kWidestMm + kRoundedMm)
    return std::nullopt;
  return median;
}

// Where a slice lies among planes at a distance of `distance_mm`.
struct Place {
  std::size_t next = 0;  // the plane above; at the number of planes where there is none
  double below_mm = 0, above_mm = 0;
  bool on_plane = false, bridged = false;  // bridged: between planes that are neighbours

  Place(const std::vector<ContourPlane>& planes, double z, double distance_mm) {
    const auto at =
        std::lower_bound(planes.begin(), planes.end(), z - kRoundedMm,
                         [](const ContourPlane& plane, double from) { return plane.z_mm < from; });
    constexpr double kNowhere = std::numeric_limits<double>::infinity();
    next = static_cast<std::size_t>(at - planes.begin());
    above_mm = at != planes.end() ? at->z_mm - z : kNowhere;
    below_mm = at != planes.begin() ? z - planes[next - 1].z_mm : kNowhere;
    on_plane = above_mm <= kRoundedMm;
    bridged = !on_plane && below_mm + above_mm <= 1.01 * distance_mm + kRoundedMm;
  }
};

// Fill the slices that planes at `distance_mm` leave between and beside them. False where they
// leave none: every slice has its own plane.
bool interpolate(const Volume& volume, const std::vector<ContourPlane>& planes,
                 const std::vector<Shape>& shapes, double distance_mm,
                 const std::vector<std::span<std::uint8_t>>& slices) {
  std::vector<bool> drawn(slices.size(), false);
  for (const ContourPlane& plane : planes) drawn[static_cast<std::size_t>(plane.slice)] = true;
  bool left_out = false;
  std::vector<Place> places;
  for (std::size_t k = 0; k < slices.size(); ++k) {
    places.emplace_back(planes, volume.z_mm[k], distance_mm);
    left_out = left_out || (places[k].bridged && !drawn[k]);
  }
  if (!left_out) return false;
  for (std::size_t k = 0; k < slices.size(); ++k) {
    const Place& at = places[k];
    if (at.on_plane) continue;
    if (at.bridged)
      set(slices[k], between(shapes[at.next - 1], shapes[at.next],
                             at.below_mm / (at.below_mm + at.above_mm), volume.geometry));
    else if (at.above_mm - kRoundedMm <= distance_mm / 2)
      set(slices[k], shapes[at.next].inside);
    else if (at.below_mm + kRoundedMm <= distance_mm / 2)
      set(slices[k], shapes[at.next - 1].inside);
  }
  return true;
}

}  // namespace

Outcome<LiverMask> rasterise(const Volume& volume, const std::vector<ContourPlane>& planes) {
  const Geometry& g = volume.geometry;
  LiverMask mask;
  mask.geometry = g;
  mask.voxels.assign(static_cast<std::size_t>(g.voxels()), 0);
  std::vector<std::span<std::uint8_t>> slices;
  for (std::int64_t k = 0; k < g.size[2]; ++k)
    slices.push_back(std::span(mask.voxels)
                         .subspan(static_cast<std::size_t>(k * g.slice_voxels()),
                                  static_cast<std::size_t>(g.slice_voxels())));
  const auto distance = regular_distance(planes);
  std::vector<const ContourPlane*> of_slice(slices.size(), nullptr);
  std::size_t crowded = 0;
  for (const ContourPlane& plane : planes) {
    const auto k = static_cast<std::size_t>(plane.slice);
    const auto away = [&](const ContourPlane& p) { return std::abs(p.z_mm - volume.z_mm[k]); };
    if (of_slice[k] != nullptr) ++crowded;
    if (of_slice[k] == nullptr || away(plane) <= away(*of_slice[k])) of_slice[k] = &plane;
  }
  if (crowded > 0) {
    if (!distance || *distance > 0.99 * g.spacing_mm[2])
      return Rejection{"", "mask", Code::MASK_BAD_REFERENCE,
                       std::to_string(crowded) + " of " + std::to_string(planes.size()) +
                           " contour planes share a slice with another, at no regular distance"};
    mask.flags.push_back(Code::MASK_RESAMPLED);
  }
  std::vector<Shape> shapes;
  for (const ContourPlane& plane : planes) {
    shapes.emplace_back(plane, g);
    const auto k = static_cast<std::size_t>(plane.slice);
    if (of_slice[k] == &plane) set(slices[k], shapes.back().inside);
  }
  if (crowded == 0 && distance && *distance > 1.01 * g.spacing_mm[2] &&
      interpolate(volume, planes, shapes, *distance, slices))
    mask.flags.push_back(Code::MASK_INTERPOLATED);
  return mask;
}

}  // namespace wsp

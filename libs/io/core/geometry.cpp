#include "io/core/geometry.hpp"

#include <cmath>

namespace wsp {

double dot(const Vec3& a, const Vec3& b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }
Vec3 cross(const Vec3& a, const Vec3& b) {
  return {a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]};
}
double norm(const Vec3& a) { return std::sqrt(dot(a, a)); }
Vec3 operator+(const Vec3& a, const Vec3& b) { return {a[0] + b[0], a[1] + b[1], a[2] + b[2]}; }
Vec3 operator-(const Vec3& a, const Vec3& b) { return {a[0] - b[0], a[1] - b[1], a[2] - b[2]}; }
Vec3 operator*(double s, const Vec3& a) { return {s * a[0], s * a[1], s * a[2]}; }

Vec3 Geometry::world(const Vec3& i) const {
  Vec3 p = origin_mm;
  for (std::size_t k = 0; k < 3; ++k) p = p + (i[k] * spacing_mm[k]) * axis[k];
  return p;
}

Vec3 Geometry::index(const Vec3& world_mm) const {
  const Vec3 d = world_mm - origin_mm;
  const Vec3 n0 = cross(axis[1], axis[2]);
  const Vec3 n1 = cross(axis[2], axis[0]);
  const Vec3 n2 = cross(axis[0], axis[1]);
  const double det = dot(axis[0], n0);
  return {dot(d, n0) / det / spacing_mm[0], dot(d, n1) / det / spacing_mm[1],
          dot(d, n2) / det / spacing_mm[2]};
}

bool same_grid(const Geometry& a, const Geometry& b, double tolerance_mm) {
  if (a.size != b.size) return false;
  for (std::size_t k = 0; k < 3; ++k) {
    const double extent = static_cast<double>(a.size[k]);
    if (std::abs(a.origin_mm[k] - b.origin_mm[k]) > tolerance_mm) return false;
    if (std::abs(a.spacing_mm[k] - b.spacing_mm[k]) * extent > tolerance_mm) return false;
    if (norm(a.axis[k] - b.axis[k]) > 1e-4) return false;
  }
  return true;
}

}  // namespace wsp

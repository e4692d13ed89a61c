#pragma once
#include <array>
#include <cstdint>
#include <vector>

namespace wsp {

using Vec3 = std::array<double, 3>;

[[nodiscard]] double dot(const Vec3& a, const Vec3& b);
[[nodiscard]] Vec3 cross(const Vec3& a, const Vec3& b);
[[nodiscard]] double norm(const Vec3& a);
[[nodiscard]] Vec3 operator+(const Vec3& a, const Vec3& b);
[[nodiscard]] Vec3 operator-(const Vec3& a, const Vec3& b);
[[nodiscard]] Vec3 operator*(double s, const Vec3& a);

/// A sampling grid in DICOM patient space (LPS, mm). Axis order x, y, z; x fastest in memory.
/// `axis[k]` is the unit vector along voxel axis k. Slices may be uneven: the position of slice k
/// is given by Volume::slice_origin_mm; `spacing_mm[2]` is then the median distance.
struct Geometry {
  std::array<std::int64_t, 3> size{0, 0, 0};
  Vec3 spacing_mm{1, 1, 1};
  Vec3 origin_mm{0, 0, 0};  ///< centre of voxel (0, 0, 0)
  std::array<Vec3, 3> axis{{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}};

  [[nodiscard]] std::int64_t slice_voxels() const { return size[0] * size[1]; }
  [[nodiscard]] std::int64_t voxels() const { return size[0] * size[1] * size[2]; }
  /// World position (mm, LPS) of a continuous voxel index on the regular grid.
  [[nodiscard]] Vec3 world(const Vec3& index) const;
  /// Continuous voxel index of a world position; inverse of world() (axes need not be orthogonal).
  [[nodiscard]] Vec3 index(const Vec3& world_mm) const;
};

/// True where every number agrees to within `tolerance_mm` (axes: to 1e-4).
[[nodiscard]] bool same_grid(const Geometry& a, const Geometry& b, double tolerance_mm = 1e-2);

}  // namespace wsp

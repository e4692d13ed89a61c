#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace wsp {

/// Where the voxels of a mask [z][y][x] lie, in mm; slices may be uneven.
struct VoxelGrid {
  std::array<std::int64_t, 3> size{0, 0, 0};  ///< x, y, z
  double spacing_mm[2]{1, 1};                 ///< x, y
  std::vector<double> z_mm;                   ///< [z], ascending
};

/// Distances between the surfaces of two masks, a surface being the voxels of the mask with a face
/// neighbour outside it (beyond the grid is outside). NaN where a mask is empty and the other is
/// not; 0 where both are.
struct SurfaceDistances {
  /// 95th percentile (linear between values, as numpy's) over the distances of both directions.
  double hd95_mm = 0;
  /// Average symmetric surface distance: the mean over the surface voxels of both masks of the
  /// distance to the other's surface (Heimann et al. 2009).
  double assd_mm = 0;
};

/// Exact Euclidean distances between voxel centres (Felzenszwalb and Huttenlocher 2012, along each
/// axis with its own positions). a, b: [z][y][x], 0 or not. Parallel; the result does not depend on
/// the threads. Throws Error(failure) where sizes do not fit or z does not ascend.
SurfaceDistances surface_distances(std::span<const std::uint8_t> a, std::span<const std::uint8_t> b,
                                   const VoxelGrid& grid);

}  // namespace wsp

#pragma once
#include <array>
#include <cstdint>
#include <vector>

#include "io/core/outcome.hpp"
#include "io/core/volume.hpp"

/// Closed contours on planes of their own, made voxels. Internal to io/medical.
namespace wsp {

/// A closed contour; x, y are voxel indices of its slice.
using Polygon = std::vector<std::array<double, 2>>;

/// The contours of one plane.
struct ContourPlane {
  double z_mm = 0;         ///< along the volume's normal
  std::int64_t slice = 0;  ///< that they belong to
  std::vector<Polygon> polygons;
};

/// Make a mask of contour planes, ascending. Voxel centres inside an odd number of a plane's
/// polygons are inside.
/// - Planes at the slices' distance, or irregular: each is its slice's, other slices stay empty.
/// - Planes at a regular distance above the slices': slices between two neighbours are interpolated
///   by signed distance; an end plane reaches half that distance beyond itself, as a slab does (the
///   border belongs to the upper). A wider gap is not bridged. Flag MASK_INTERPOLATED.
/// - Planes at a regular distance below the slices': a slice takes its nearest plane. Flag
///   MASK_RESAMPLED.
/// Regular: three quarters of at least two distances are the median, which is 15 mm at most.
/// MASK_BAD_REFERENCE where irregular planes share a slice.
Outcome<LiverMask> rasterise(const Volume& volume, const std::vector<ContourPlane>& planes);

}  // namespace wsp

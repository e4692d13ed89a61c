#pragma once
#include <cstdint>
#include <vector>

#include "io/core/geometry.hpp"
#include "io/medical/nrrd_text.hpp"

/// The grid of a NRRD volume. Internal to io/medical.
namespace wsp::image {

/// The axes of the voxels, fastest first.
struct NrrdAxes {
  std::vector<std::int64_t> sizes;
  std::vector<std::size_t> spatial;  ///< those of the three that make the volume
};
/// Beyond three axes those of one entry that are no directions are left out: one time, one layer.
/// COMPLEX_VOXELS or RGB_VOXELS for an axis of that kind, NOT_3D where not three are left,
/// BAD_HEADER for sizes that contradict each other or are absurd.
Outcome<NrrdAxes> nrrd_axes(const NrrdText& text);

/// Sizes in voxels, spacing and origin in mm towards left, posterior and head, whatever `space` and
/// `space units` say. NO_AFFINE where they do not tell where left and head are, BAD_HEADER where
/// they cannot be read or make no grid of a body (check_geometry()).
Outcome<Geometry> nrrd_grid(const NrrdText& text, const NrrdAxes& axes);

}  // namespace wsp::image

#pragma once
#include "io/core/volume.hpp"

namespace wsp {

/// What refine_liver() goes by; lengths in mm.
struct Refine {
  double core_mm = 8;    ///< a mask is trusted this deep below its surface
  double grow_mm = 15;   ///< and may grow this far
  double spreads = 3;    ///< that a voxel at the surface may lie from the liver's mode
  double open_mm = 5;    ///< bridges thinner than twice this are cut
  double close_mm = 3;   ///< narrower gaps are filled
  double smooth_mm = 1.5;
  int rounds = 2;  ///< times that it is done, each from what the one before found
};

/// What it found.
struct RefinedLiver {
  double mode_hu = 0;    ///< the commonest value of the smoothed liver
  double spread_hu = 0;  ///< about it: 1.4826 times the median distance
  double agreement = 1;  ///< Dice of the mask before and after
};

/// Move the border of a predicted liver to where the HU say it is. The mask's core tells which values
/// the liver has; about the surface a smoothed voxel belongs to it where its value does, the less of
/// it the farther outside and the more the deeper inside, so that tumours and vessels within stay.
/// Opening cuts what hangs on by a thread; the largest part is kept, closed, and its holes filled. A
/// mask without a core is left as it is. Deterministic at any number of threads. Memory: some 15
/// bytes a voxel of the mask's box.
RefinedLiver refine_liver(const Volume& volume, LiverMask& mask, const Refine& how = {});

}  // namespace wsp

#pragma once
#include "io/core/volume.hpp"

namespace wsp {

/// What refine_liver() goes by; lengths in mm.
struct Refine {
  double grid_mm = 2;      ///< voxels are averaged to about this size
  double core_mm = 6;      ///< the liver's HU are learnt this deep below the mask's surface
  double around_mm = 20;   ///< and its surroundings' this far outside
  double grow_mm = 15;     ///< a mask may grow this far in a round
  double near_mm = 5;      ///< log-odds of the mask given: 1 this deep in it, -1 this far outside
  double values_most = 4;  ///< those of the HU are held to this
  double surface_mm = 25;  ///< what the surface costs where the HU do not change
  double edge_hu_mm = 10;  ///< half of it where they change by so much
  int rounds = 2;          ///< each from what the one before found
  int steps = 100;         ///< of least_surface() in a round
};

/// What it found.
struct RefinedLiver {
  double mode_hu = 0;    ///< the liver's commonest value on the grid
  double spread_hu = 0;  ///< about it: 1.4826 times the median distance
  double agreement = 1;  ///< Dice of the mask before and after
  /// What the histograms of its HU and of its surroundings' have in common: 0 where the HU tell
  /// them apart, 1 where they do not.
  double overlap = 0;
  /// Dice of what becomes of the model's boldest and of its surest mask (clean_prediction()); 1
  /// where it gave no probabilities.
  double stability = 1;
};

/// Move the border of a predicted liver to where the HU say it is. The mask's core and its
/// surroundings tell which values the liver has and which it has not: the log-ratio of their
/// histograms is a voxel's evidence, with the mask's own word. The liver is the region that weighs
/// best its evidence against its surface (least_surface()), which costs little where the HU change.
/// The core stays, so that tumours and vessels within do; the largest part is kept, its holes
/// filled. A mask without a core is left as it is. Deterministic at any number of threads. Memory:
/// some 60 bytes a voxel of grid_mm of the mask's box.
RefinedLiver refine_liver(const Volume& volume, LiverMask& mask, const Refine& how = {});

}  // namespace wsp

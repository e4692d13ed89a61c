#pragma once
#include <cstdint>

#include "io/core/volume.hpp"

namespace wsp {

/// Give a predicted liver its lower tip. Networks lose it where it is thin, and refine_liver()
/// holds it too costly for its surface. Below the lowest slice with at least 4 cm2 of liver, what
/// has the liver's HU where the liver was in the slice above is liver: within 1.5 `spread_hu`, at
/// most 25, of `mode_hu` in the mean of 4 mm, within 2 mm or one pixel of the liver above, at
/// least 8 mm wide, of at least 1 cm2 and of two fifths of the liver above. It ends at the first
/// slice below the mask without it, and after 40 mm. A mask that reaches the volume's lowest slice
/// stays as it is. Returns the slices that were added to. `volume` and `mask`: one grid, z to the
/// head.
std::int64_t complete_tip(const Volume& volume, LiverMask& mask, double mode_hu, double spread_hu);

}  // namespace wsp

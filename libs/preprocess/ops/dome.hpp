#pragma once
#include <cstdint>

#include "io/core/volume.hpp"

namespace wsp {

/// Give a predicted liver its dome. Where the liver rises into the right lung its slices are
/// islands of soft tissue, and networks take them for the chest, the more so the smaller they are.
/// From the middle of the extent upwards an island (4-connected, above -20 HU) is liver where lung
/// (at most -400 HU) makes four fifths of what lies 2 to 6 mm about it, its middle lies in the
/// body's right half, a twentieth of it is liver here or in the slice below, and it has at least 1
/// cm2. It has at most three quarters of the pixels of the liver's largest slice, and a tenth more
/// than the islands of the slice below, where those are liver. Islands that are liver but for a
/// fifth stay as they are. The dome ends at the first slice above the mask without an island, and
/// after 40 mm. Returns the slices that were added to. `volume` and `mask`: one grid, x to the
/// patient's left, z to the head.
std::int64_t complete_dome(const Volume& volume, LiverMask& mask);

}  // namespace wsp

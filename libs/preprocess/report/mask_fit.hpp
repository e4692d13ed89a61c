#pragma once
#include "preprocess/report/facts.hpp"
#include "preprocess/report/reduced.hpp"

namespace wsp::qa {

/// Whether the mask lies on the liver. A block that the mask fills is *odd* when its mean HU is far
/// from the liver's median (fat, air, bone, kidney); where another place of the mask, up to some 50
/// mm within the slice or five slices along it, has far fewer of them, the mask is misplaced. Sets
/// odd_share, odd_share_shifted and shift_mm; `pixel_mm` is that of the stored slices.
void measure_mask_fit(const ReducedCase& reduced, const double pixel_mm[2], double spacing_mm,
                      PixelFacts& facts);
/// Where liver and bone lie relative to the soft tissue: sets liver_left and spine_back.
void measure_orientation(const ReducedCase& reduced, PixelFacts& facts);
/// Count slices that are the mean of their neighbours, or a copy of one, as interpolation leaves
/// them: such a slice brings no noise of its own. Each is compared with its own two neighbours, so
/// that it does not matter how much the anatomy changes elsewhere.
std::int64_t count_interpolated(const ReducedCase& reduced);

}  // namespace wsp::qa

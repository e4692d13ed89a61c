#pragma once
#include <cstdint>
#include <vector>

#include "io/core/volume.hpp"
#include "preprocess/ops/liver.hpp"
#include "preprocess/ops/runs.hpp"
#include "preprocess/ops/slices.hpp"

namespace wsp {

/// A small PNG: a coronal (left) and a sagittal (right) view of the windowed volume, head up,
/// averaged over the liver's extent, with the mask's outline (red) and the first and last kept
/// slice (yellow).
std::vector<std::uint8_t> make_preview(const Volume& volume, const MaskRuns& mask,
                                       const SliceRange& kept, WindowHu window);

}  // namespace wsp

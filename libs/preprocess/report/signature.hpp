#pragma once
#include <cstdint>
#include <vector>

#include "preprocess/report/reduced.hpp"

namespace wsp::qa {

/// A perceptual hash of the kept slices: at eight depths between the first and the last, the sign
/// of the step from each cell of a 16 x 16 grid to its right neighbour, where it is larger than 8
/// HU; 2 x 2,048 bits, 64 words. Noise leaves it nearly as
/// it is; a shift of the picture, another field of view, kernel or slice distance does not.
std::vector<std::uint64_t> signature_of(const ReducedCase& reduced);
/// 1 - |a and b| / |a or b|: 0 for the same content, 1 for nothing in common or nothing to compare.
double signature_distance(const std::vector<std::uint64_t>& a, const std::vector<std::uint64_t>& b);

}  // namespace wsp::qa

#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace wsp {

/// Offsets, in slices, of what a 2.5-D network sees about a slice: [2k + 1], ascending, 0 in the
/// middle. With `context_mm` (k distances, ascending) these are the slices nearest to that many mm
/// on either side, of slices `spacing_mm` apart (where the spacing is 0, of one slice: all of it);
/// without it the `neighbours` = k adjacent ones. Throws nothing.
std::vector<std::int64_t> context_offsets(std::int64_t neighbours,
                                          std::span<const double> context_mm, double spacing_mm);

/// What a network needs to see some slices of a volume.
struct SliceContext {
  std::vector<std::int64_t> slices;   ///< of the volume, each once, ascending
  std::vector<std::int64_t> channel;  ///< [n][offsets]: index into `slices`
};

/// The context of slices [first, last) of a volume of `depth`; beyond its ends the end slice is
/// repeated.
SliceContext slice_context(std::int64_t first, std::int64_t last, std::int64_t depth,
                           std::span<const std::int64_t> offsets);

}  // namespace wsp

#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "io/core/volume.hpp"

/// Two acquisitions woven into one stack, seen without a word of the headers. Internal to
/// io/medical.
namespace wsp::dicom {

/// A run of slices at one distance.
struct Grid {
  std::size_t slices = 0;
  double first_mm = 0, spacing_mm = 0;
};

/// The regular grids of which positions (ascending, each once) are woven: two or three that reach
/// into each other, else empty. One grid with lost slices, and grids that follow one another, are
/// no weave. Nor are slabs of which one follows the next at nearly equal distances (positions
/// rounded to whole millimetres, a table that moves a little further between pairs of slices).
std::vector<Grid> woven_grids(std::span<const double> z_mm, double thickness_mm);

/// Whether slices of `thickness_mm` at these positions (ascending) follow one another without a
/// gap or an overlap while every one of `parts` alone has holes: halves of one acquisition.
bool parts_complete_each_other(std::span<const double> z_mm, double thickness_mm,
                               const std::vector<std::vector<double>>& parts);

/// Fewest slices in which alternation can be seen.
inline constexpr std::size_t kAlternationSlices = 8;

/// What tells that every second slice is of another acquisition: in numbers, or empty. `slices`
/// are neighbours in space, `distance_mm` apart, all of one size, in HU. At least
/// kAlternationSlices are needed. Where slices are so far apart that they fall on every vertebra
/// and every disc in turn, only what is far more than that counts.
std::string find_alternation(const std::vector<std::span<const std::int16_t>>& slices,
                             double distance_mm);
/// The same over a whole volume.
std::string find_alternation(const Volume& volume);

}  // namespace wsp::dicom

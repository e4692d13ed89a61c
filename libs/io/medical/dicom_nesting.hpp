#pragma once
#include <cstdint>
#include <filesystem>

#include "io/core/outcome.hpp"

namespace wsp::dicom {

/// Deeper sequences stand in no CT, SEG or RTSTRUCT; DCMTK reads each level by a call of its own.
inline constexpr int kDeepestSequence = 64;
/// An enhanced CT of 2,000 slices has some 300,000 elements; DCMTK takes some 250 bytes for each.
inline constexpr std::uint64_t kMostElements = 4'000'000;
/// DCMTK holds a deflated data set in memory whole. 1,000 slices of 512 x 512 fit.
inline constexpr std::uint64_t kMostInflated = std::uint64_t{768} << 20;

/// Look at a file's structure before DCMTK does, element by element and skipping their values.
/// UNREADABLE where sequences nest deeper than kDeepestSequence or there are more elements than
/// kMostElements, TOO_LARGE where deflated data exceed kMostInflated, else USED: what it cannot
/// follow (no DICOM) it leaves to the parser. Memory does not grow with the file.
Rejection inspect_structure(const std::filesystem::path& path);

}  // namespace wsp::dicom

#pragma once
#include <filesystem>

namespace wsp::dicom {

/// Deeper sequences stand in no CT, SEG or RTSTRUCT; DCMTK reads each level by a call of its own.
inline constexpr int kDeepestSequence = 64;

/// Whether a file's sequences are nested deeper than kDeepestSequence. Walks the elements one by
/// one, skipping their values; what it cannot follow (no DICOM, deflated) it leaves to the parser.
bool nests_too_deep(const std::filesystem::path& path);

}  // namespace wsp::dicom

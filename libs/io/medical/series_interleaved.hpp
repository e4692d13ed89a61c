#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "io/medical/scan.hpp"
#include "io/medical/study.hpp"

/// Series that are of two acquisitions though no header says so. Internal to io/medical.
namespace wsp::dicom {

/// Decode the middle of a measured series and look for slices of two acquisitions: what tells them
/// apart, as find_alternation() says it. Empty when none show, the series is shorter than
/// kAlternationSlices, or a slice cannot be decoded.
std::string sample_alternation(const std::filesystem::path& root,
                               const std::vector<FileEntry>& files, const Series& series);

/// Refuse a usable series of two acquisitions (INTERLEAVED): by its positions alone, else by the
/// pixels of its middle.
void refuse_interleaved(const std::filesystem::path& root, const std::vector<FileEntry>& files,
                        Series& series);

/// Four digits of a length, for texts: "2.5".
std::string short_number(double value);

}  // namespace wsp::dicom

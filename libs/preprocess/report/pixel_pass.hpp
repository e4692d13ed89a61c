#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "preprocess/report/facts.hpp"

namespace wsp::qa {

/// What the pass did.
struct PassSummary {
  std::size_t read = 0;   ///< cases whose pixels were read
  std::size_t taken = 0;  ///< cases whose facts and pictures stood in qa/ from before
};

/// Stream the kept slices of all cases through the checks, a case per task, and fill
/// CaseFacts::pixels; write qa/pictures/CASE-strip.png and CASE-thumb.png, and with a `slice_side`
/// above 0 qa/slices/CASE.js: the case's slices (case_slices.hpp), no side above it, as a script
/// that a page may load from a disk. A thread holds one slice, the reduced slices of its case (some
/// 32 KiB each) and its packed ones. Cases whose facts stand in qa/state.json and whose shard has
/// not changed since are taken over unless `fresh`. A damaged chunk is a fact, not an error. Throws
/// Error(output), Error(interrupted).
PassSummary run_pixel_pass(const std::filesystem::path& dataset, const DatasetReader& reader,
                           const std::filesystem::path& qa, bool fresh, std::int64_t slice_side,
                           std::vector<CaseFacts>& cases);

}  // namespace wsp::qa

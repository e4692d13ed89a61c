#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "train/eval/features.hpp"

namespace wsp::train {

/// Why a case is not in a table: FeatureTable::left_out.
inline constexpr const char* kLeftOutRated = "rated";
inline constexpr const char* kLeftOutByIngest = "ingest";
inline constexpr const char* kLeftOutFlagged = "flagged";
inline constexpr const char* kLeftOutUnlabelled = "unlabelled";
inline constexpr const char* kLeftOutAbsent = "absent";

/// Take the cases that ratings of wsp-qa's page exclude out of a table; nothing for an empty path.
/// Throws Error(usage) for a file that rates cases which are neither in the table nor known to be
/// left out, and where no case remains.
void leave_out_rated(FeatureTable& table, const std::filesystem::path& ratings,
                     std::string_view option = "--exclude");

/// The cases that a table lacks because a reader rated them so, sorted.
std::vector<std::string> rated_exclude(const FeatureTable& table);

}  // namespace wsp::train

#pragma once
#include <filesystem>

#include "train/eval/features.hpp"

/// Who stands in a dataset, before any network has seen it.
namespace wsp::train {

enum class RosterContent {
  rows,   ///< a number of its own for every slice: nothing is read but the index
  pixels  ///< XXH3 of the stored pixels: every slice is decompressed
};

/// The cases of a dataset as a feature table of one dimension whose values are zero: make_cohort(),
/// shared_subjects() and near_duplicates() tell from it what they would tell from features. Cases with doubtful
/// depth are left out unless `include_flagged`. Throws Error: no_input, corrupt, interrupted.
FeatureTable roster(const std::filesystem::path& dataset, bool include_flagged,
                    RosterContent content = RosterContent::rows);

}  // namespace wsp::train

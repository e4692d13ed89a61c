#pragma once
#include <string>
#include <vector>

#include "train/eval/features.hpp"

/// Whether an encoder is evaluated on what it was trained on.
namespace wsp::train {

/// What the encoder behind a table was trained on of `subjects`, a sentence each; empty where
/// nothing is known of any. Subjects are known by what the weights say; those of weights that do
/// not say, where they were trained on this very dataset. With the dataset that they were trained
/// on (pretraining_roster()), also by name and by the pixels of their volumes: half of the slices
/// alike, as near_duplicates() has it.
std::vector<std::string> training_overlap(const FeatureTable& table,
                                          const std::vector<std::string>& subjects,
                                          const FeatureTable* pretraining = nullptr);
/// Throws Error(usage) where there is any overlap; a warning of each sentence if `allowed`.
void judge_overlap(const std::vector<std::string>& overlap, bool allowed);

/// All subjects of a table, sorted.
std::vector<std::string> subjects_of(const FeatureTable& table);

}  // namespace wsp::train

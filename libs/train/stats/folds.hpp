#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace wsp::train {

/// Divide subjects into folds, stratified by class: the counts of either class differ by at most
/// one between folds, and so do the folds' sizes, and the counts of either class of a dataset
/// (dataset: [subjects], or empty: all of one). A pure function of (seed, repeat). Returns the fold
/// of each subject. Throws Error(usage) where a fold would lack a class: fewer subjects of a class
/// than folds, or fewer than two folds.
std::vector<int> stratified_folds(std::span<const std::uint8_t> positive, int folds,
                                  std::uint64_t seed, std::uint64_t repeat,
                                  std::span<const int> dataset = {});

}  // namespace wsp::train

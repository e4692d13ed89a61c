#pragma once
#include <cstdint>
#include <span>

namespace wsp::train {

/// Variances, in a two-way layout, of whether a positive lies above a negative: between positives,
/// between negatives, and the rest. Without bias, so that they may be below 0.
struct PairVariance {
  double positive = 0, negative = 0, pair = 0;

  void operator+=(const PairVariance& other);
  /// Of a mean AUC over `folds` folds of so many subjects; what is below 0 counts as 0.
  [[nodiscard]] double of_mean_auc(double positives, double negatives, int folds) const;
};

/// Of the subjects of each fold, over folds with two of a class or more. fold (from 0), score,
/// positive: [subject].
PairVariance pair_variance(std::span<const int> fold, std::span<const double> score,
                           std::span<const std::uint8_t> positive);

}  // namespace wsp::train

#pragma once
#include <cstdint>
#include <vector>

namespace wsp::train {

/// What the subjects of a cohort were given while they stood in the test part, by one fit a fold or
/// by several (seeds).
struct TestedScores {
  std::vector<int> fold;                ///< [subject], from 0
  std::vector<std::uint8_t> positive;   ///< [subject]
  std::vector<std::vector<double>> of;  ///< [seed][subject]
};

/// Variances, in a two-way layout, of how often a positive lies above a negative: between
/// positives, between negatives, and the rest. Without bias, so that they may be below 0.
struct PairVariance {
  double positive = 0, negative = 0, pair = 0;

  void operator+=(const PairVariance& other);
  /// Of a mean AUC over `folds` folds of so many subjects; what is below 0 counts as 0.
  [[nodiscard]] double of_mean_auc(double positives, double negatives, int folds) const;
};

/// Mean over folds with two of a class or more, of one's scores or of the difference to another's
/// of the same subjects in the same folds.
PairVariance pair_variance(const TestedScores& a, const TestedScores* b = nullptr);

}  // namespace wsp::train

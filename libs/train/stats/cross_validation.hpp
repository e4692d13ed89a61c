#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "train/stats/binary_logistic.hpp"
#include "train/stats/metrics.hpp"

/// The paper's protocol: frozen representations of slices, logistic regression, stratified folds by
/// subject, mean probability of a subject's slices.
namespace wsp::train {

struct CrossValidationOptions {
  int folds = 5;
  int repeats = 1;
  std::uint64_t seed = 0;
  double c = 1;
  /// Values among which nested cross-validation chooses C in each training part, by the log-loss of
  /// subjects in inner folds (the smallest of equals); empty takes `c`.
  std::vector<double> c_grid = {};
  /// 0: logistic regression; else the share of the k nearest slices (cosine) of the training part.
  int neighbours = 0;
};

/// What every subject was given while it stood in the test part.
struct CrossValidation {
  std::vector<std::vector<int>> fold;            ///< [repeat][subject]
  std::vector<std::vector<double>> probability;  ///< [repeat][subject]
  std::vector<std::vector<double>> chosen_c;     ///< [repeat][fold]
  std::vector<BinaryScores> scores;              ///< [repeat * folds], in this order
  [[nodiscard]] double mean_auc() const;
};

/// Cross-validate with the given labels [subjects] (set.positive, or a permutation of them).
/// Parallel over folds; the same at any number of threads. Throws Error(usage) where folds cannot
/// be had.
CrossValidation cross_validate(const ProbeSet& set, LogisticFits& fits,
                               std::span<const std::uint8_t> positive,
                               const CrossValidationOptions& options);

/// The C of options.c_grid (prepared) whose inner folds give subjects of weight > 0 in `outside`
/// [subjects] the smallest log-loss; of outer fold `job` (over all repeats), whose inner folds are
/// its own.
double choose_c(const ProbeSet& set, const LogisticFits& fits,
                std::span<const std::uint8_t> positive, const std::vector<double>& outside,
                const CrossValidationOptions& options, int job);

/// The same in given folds, [repeat][subject]; options.repeats and folds follow from them. Subjects
/// of fold -1 take no part: their probability stays 0.
CrossValidation cross_validate_in(const ProbeSet& set, LogisticFits& fits,
                                  std::span<const std::uint8_t> positive,
                                  const std::vector<std::vector<int>>& fold,
                                  CrossValidationOptions options);

struct Interval {
  double low = 0, high = 0;
};

struct Permutation {
  double p = 1;   ///< (1 + samples at least as good) / (1 + samples)
  Interval null;  ///< 2.5th and 97.5th percentile of the mean AUC of shuffled labels
  double null_mean = 0;
  int samples = 0;
};
/// Shuffle the diagnoses among the subjects of each dataset and repeat everything, folds and the
/// choice of C included; compared with the first repeat, of which kind each sample is. Throws
/// Error(interrupted) after a signal.
Permutation permute_labels(const ProbeSet& set, LogisticFits& fits, const CrossValidation& observed,
                           CrossValidationOptions options, int samples);

/// The number of passes over C that "cv" means: 1e-4 ... 1e2.
std::vector<double> default_c_grid();

}  // namespace wsp::train

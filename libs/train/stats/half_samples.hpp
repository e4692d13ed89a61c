#pragma once
#include <array>
#include <span>
#include <vector>

#include "train/stats/cross_validation.hpp"
#include "train/stats/pair_variance.hpp"

/// What other subjects would change of a cross-validated measure.
namespace wsp::train {

/// What the two halves of a cohort give, over random divisions, each half cross-validated by
/// itself. The halves share no subject: half the mean squared difference between them is, without
/// bias, the variance of the measure in a cohort half as large, whatever the classifier is. What
/// the folds share through their training parts is in it, which resampled scores leave out
/// (docs/EVALUATION.md).
struct HalfSamples {
  using Pairs = std::vector<std::array<double, 2>>;  ///< [division][half]
  double positives = 0, negatives = 0;               ///< subjects of the whole cohort
  int folds = 0, half_folds = 0;                     ///< of the whole cohort and of a half
  TestedScores scores;                               ///< of the whole's first repeat
  bool refitted =
      true;  ///< false: the scores were taken as fixed, which makes intervals too narrow
  Pairs auc, balanced_accuracy, brier;
  Pairs within;                    ///< within_datasets_auc(), where there are several datasets
  std::vector<Pairs> groups = {};  ///< [group]: subgroup_auc(), one grouping's after another's
  std::vector<std::array<std::vector<double>, 2>> roc = {};  ///< roc_curve(); not kept in files
};

using Groupings = std::vector<std::vector<int>>;

/// Divide `divisions` times, evenly within each class and dataset, the same way for every encoder
/// of a cohort with equal seed, and fit everything anew in each half, with the median of the C that
/// the whole chose, and fewer folds where a half has not enough subjects of a class. Empty where a
/// class has fewer than four subjects. groupings: each [subject], from 0, -1 for none. Throws
/// Error(interrupted) after a signal.
HalfSamples half_samples(const ProbeSet& set, LogisticFits& fits, const CrossValidation& whole,
                         CrossValidationOptions options, int divisions,
                         const Groupings& groupings = {});
/// The same from the scores of the whole, for networks that nobody trains a hundred times: refitted
/// is false.
HalfSamples half_samples_of_scores(const ProbeSet& set, const CrossValidation& whole,
                                   std::uint64_t seed, int divisions,
                                   const Groupings& groupings = {});
/// Mean over encoders (seeds) that saw the same divisions.
HalfSamples mean_of(const std::vector<HalfSamples>& several);

/// 95 % interval of an AUC: all values from which it lies no further than t standard errors, where
/// the standard error is that of the value in question (a score interval: it has a width near 1
/// too). The variance has the shape of Hanley and McNeil 1982 and the size that the halves (auc or
/// within) have. t has as many degrees of freedom as the smaller class has subjects, less one. It
/// is two-sided, but one-sided for values so near 0 or 1 that no AUC can lie as far on their other
/// side. Not numbers without halves.
Interval auc_interval(double auc, const HalfSamples& halves, const HalfSamples::Pairs& pairs);
/// 95 % interval of another mean over folds, within [0, 1].
Interval mean_interval(double value, const HalfSamples& halves, const HalfSamples::Pairs& pairs);

struct PairedDifference {
  double difference = 0;  ///< AUC of a minus that of b
  Interval interval;
  double p = 1;  ///< two-sided
};
/// The same subjects under two encoders, in the same divisions, compared on the scale of
/// asin(sqrt): there the variance hardly hangs on the AUC, so that a difference near 1 does not
/// widen its own error; the pairs of the whole say how much smaller it is
/// there than in its halves. p and interval agree. Two encoders
/// that are always right may still differ.
PairedDifference paired_difference(double auc_a, const HalfSamples& a, double auc_b,
                                   const HalfSamples& b);

/// AUC of positives against negatives of their own dataset: of each dataset over all pairs within a
/// fold (mean over repeats), then the mean weighted by positives * negatives / (subjects + 1), as
/// van Elteren 1960. What tells only the datasets apart gives 0.5. Subjects of fold -1 are left
/// out.
double within_datasets_auc(const CrossValidation& cv, std::span<const std::uint8_t> positive,
                           std::span<const int> dataset);
/// The same among the subjects of one group.
double subgroup_auc(const CrossValidation& cv, std::span<const std::uint8_t> positive,
                    std::span<const int> dataset, std::span<const int> group, int number);

}  // namespace wsp::train

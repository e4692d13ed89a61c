#pragma once
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "train/eval/features.hpp"
#include "train/stats/binary_logistic.hpp"

/// From features to the problem that a probe solves, and what forbids to trust it.
namespace wsp::train {

/// Classes of a label that count as positive.
struct PositiveClasses {
  std::string text;  ///< as it was given, of words the numbers: "3,4", ">=3"
  std::vector<std::pair<std::int64_t, std::int64_t>> ranges;  ///< first and last of each
  std::string remark;  ///< what may surprise: a number that is a word of another class
  [[nodiscard]] bool contains(std::int64_t label) const;
  /// Those that occur among the labels, ascending, each once.
  [[nodiscard]] std::vector<std::int64_t> among(std::span<const std::int64_t> labels) const;
};
/// Classes between commas, each a number, a word, or all from or up to such a one: "3,4", "F3,F4",
/// ">=F3", ">2", "<=1", "<2". A word must be one of `words` (the manifest's, with their classes); a
/// number that is one of them counts as such. Of a column without any, a word must end in a number,
/// which then counts, and all must begin alike. Throws Error(usage) for whatever else the text
/// holds.
PositiveClasses parse_positive(const std::string& text,
                               const std::map<std::string, std::int64_t>& words = {});

/// Which label, and which of its classes are positive.
struct Diagnosis {
  std::string label;
  std::string positive;  ///< what parse_positive() reads
  std::string reader;    ///< column of a reader's binary call, or empty
};

/// The positive classes of a diagnosis as a table has them. Throws Error(usage) for an absent
/// column or class.
PositiveClasses positive_classes(const FeatureTable& table, const Diagnosis& diagnosis);

/// Subjects with a known diagnosis.
struct Cohort {
  ProbeSet set;
  std::vector<double> depth;         ///< [row of the set]
  std::vector<std::string> dataset;  ///< [subject]: where it comes from
  std::vector<int> reader;           ///< [subject]: 0, 1, -1 unknown; empty without a column
  std::vector<std::vector<double>> case_facts;  ///< [subject]: spacing, pixel (means over cases)
  std::vector<std::string> kernel, scanner, phase;  ///< [subject]: of its first case
  std::string encoder_sha256;
  std::vector<std::string> excluded = {};  ///< rated_exclude() of the tables
  std::vector<std::string>
      remarks;  ///< what a user should hear once: a positive class that no case has, ...
};
/// Put together the tables (one or several datasets of one encoder), each with its diagnosis. A
/// subject's diagnosis is its cases' largest known class (a remark where they differ). Throws
/// Error(usage) where a reader's call is neither 0 nor 1, the tables are of different encoders,
/// sizes or precisions, a subject stands in two datasets, fewer than two subjects have a diagnosis,
/// or the datasets share volumes.
Cohort make_cohort(const std::vector<const FeatureTable*>& tables,
                   const std::vector<Diagnosis>& diagnoses);

/// Subjects that stand in both, sorted.
std::vector<std::string> shared_subjects(const FeatureTable& table,
                                         const std::vector<std::string>& others);
/// Pairs of cases ("CASE of A and CASE of B") of which at least half of the smaller one's slices
/// have the same pixels in both. One table with itself tells copies within a dataset.
std::vector<std::string> near_duplicates(const FeatureTable& a, const FeatureTable& b);

/// How well the features tell what they should not: cross-validated AUC by subject of spacing and
/// pixel size (above the median), kernel, scanner (the most frequent of each) and dataset; only
/// what varies.
struct Shortcut {
  std::string what;
  double auc = 0;  ///< NaN where it was not probed
  std::int64_t subjects = 0;
  std::string skipped;  ///< why it was not, or empty
};
std::vector<Shortcut> shortcut_probes(const Cohort& cohort, LogisticFits& fits, int folds,
                                      std::uint64_t seed, double c);

/// Sensitivity, specificity and balanced accuracy of the readers' calls; throws Error(usage)
/// without.
struct ReaderScores {
  double sensitivity = 0, specificity = 0, balanced_accuracy = 0;
  std::int64_t subjects = 0;
};
ReaderScores reader_scores(const Cohort& cohort);

}  // namespace wsp::train

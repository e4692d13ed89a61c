#pragma once
#include <string>
#include <vector>

#include "train/eval/cohort.hpp"
#include "train/eval/half_samples.hpp"

/// How well an encoder does among subjects who have something in common.
namespace wsp::train {

struct Subgroups {
  std::string column;
  std::vector<std::string> names;  ///< "scanner GE", "age above 61"
  std::vector<int> of;             ///< [subject], into names; -1 where it is not known
};
/// By kernel, scanner, phase or dataset; by spacing_mm or pixel_mm, parted at the median; or by a
/// label column: its classes, parted at the median where there are more than six. tables: those of
/// the cohort. Throws Error(usage) naming the columns that there are, and where it is known of no
/// subject.
Subgroups subgroups_by(const Cohort& cohort, const std::vector<const FeatureTable*>& tables,
                       const std::string& column);

struct SubgroupScore {
  std::string name;
  std::int64_t subjects = 0, positives = 0;
  double auc = 0;  ///< over pairs of one dataset and fold, mean over repeats; not a number without
                   ///< both classes
  Interval interval;  ///< not numbers with fewer than four subjects of a class, or hardly a pair in
                      ///< a half's folds
};
/// halves: made with groups.of.
std::vector<SubgroupScore> subgroup_scores(const ProbeSet& set, const CrossValidation& cv,
                                           const HalfSamples& halves, const Subgroups& groups);

}  // namespace wsp::train

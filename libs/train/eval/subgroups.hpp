#pragma once
#include <string>
#include <vector>

#include "train/eval/cohort.hpp"
#include "train/stats/half_samples.hpp"

/// How well an encoder does among subjects who have something in common.
namespace wsp::train {

struct Subgroups {
  std::string column;
  std::vector<std::string> names;  ///< "scanner GE", "age above 61"
  std::vector<int> of;             ///< [subject], into names; -1 where it is not known
};
/// By kernel, scanner, phase or dataset; by spacing_mm or pixel_mm, parted at the median; or by a
/// label column: its classes, parted at the median where there are more than six or where it is of
/// numbers (a subject's is the mean of its cases'). tables: those of the cohort. option: the name
/// in messages. Throws Error(usage) naming the columns that there are, and where it is known of no
/// subject.
Subgroups subgroups_by(const Cohort& cohort, const std::vector<const FeatureTable*>& tables,
                       const std::string& column, const std::string& option = "--by");
/// One after another; a column that stands twice is refused.
std::vector<Subgroups> subgroups_by(const Cohort& cohort,
                                    const std::vector<const FeatureTable*>& tables,
                                    const std::vector<std::string>& columns,
                                    const std::string& option = "--by");
/// What half_samples() asks for.
Groupings groupings_of(const std::vector<Subgroups>& several);

struct SubgroupScore {
  std::string name;
  std::int64_t subjects = 0, positives = 0;
  double auc = 0;  ///< over pairs of one dataset and fold, mean over repeats; not a number without
                   ///< both classes
  Interval interval;  ///< not numbers with fewer than four subjects of a class, or hardly a pair in
                      ///< a half's folds
  std::string column = {};
  HalfSamples::Pairs halves = {};
};
/// halves: made with groupings_of(several).
std::vector<SubgroupScore> subgroup_scores(const ProbeSet& set, const CrossValidation& cv,
                                           const HalfSamples& halves,
                                           const std::vector<Subgroups>& several);
/// 95 % interval of score.auc; halves: of the whole cohort.
Interval subgroup_interval(const SubgroupScore& score, const HalfSamples& halves);

}  // namespace wsp::train

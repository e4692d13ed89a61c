#pragma once
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "train/eval/cohort.hpp"
#include "train/eval/subgroups.hpp"
#include "train/stats/cross_validation.hpp"
#include "train/stats/curves.hpp"
#include "train/stats/half_samples.hpp"

/// Everything that is said of one encoder on one cohort.
namespace wsp::train {

struct ProtocolOptions {
  CrossValidationOptions cv;
  int divisions = 50;      ///< into halves, for intervals; 0: no interval
  int permutations = 200;  ///< 0: no p-value
  bool shortcuts = true;
  double sensitivity = 0.9;               ///< that a threshold is sought for
  std::vector<Subgroups> subgroups = {};  ///< of the cohort
};

struct ProtocolResult {
  std::string name;
  std::int64_t subjects = 0, positives = 0, slices = 0;
  CrossValidation cv;
  HalfSamples halves;
  std::optional<double> within;  ///< within_datasets_auc(), where there are several datasets
  std::optional<Permutation> permutation;
  DeLong delong;            ///< of the first repeat's pooled scores
  Calibration calibration;  ///< of the same
  std::optional<ReaderScores> reader;
  std::vector<Shortcut> shortcuts;
  std::vector<std::string> subject_names;
  std::vector<std::uint8_t> positive;
  std::vector<SubgroupScore> subgroups;
  std::vector<std::string> overlap;   ///< what flatters it: training_overlap(), allowed by the user
  std::vector<std::string> excluded;  ///< cases that a reader's ratings left out
  std::vector<double> roc;            ///< roc_curve()
  std::vector<Interval> band;         ///< of it; empty where there are too few subjects
  double stated_sensitivity = 0.9;
  OperatingPoint youden, at_sensitivity;  ///< of the first repeat's scores
};

/// Cross-validated probe with everything around it. Throws Error(usage) where folds cannot be had.
ProtocolResult run_protocol(const Cohort& cohort, const std::string& name,
                            const ProtocolOptions& options);

/// The same of folds that were scored elsewhere (fine-tuned networks), with their halves: all but
/// permutation and shortcuts. sensitivity, subgroups: as in ProtocolOptions; halves: made with
/// groupings_of(subgroups).
ProtocolResult summarise(const Cohort& cohort, const std::string& name, CrossValidation cv,
                         HalfSamples halves, double sensitivity,
                         const std::vector<Subgroups>& subgroups = {});

/// What can be concluded of other patients and what cannot, in a sentence or two.
std::string verdict(const ProtocolResult& result);

/// Mean (sd) over the folds, intervals, subjects' probabilities; null where a value is no number.
nlohmann::json to_json(const ProtocolResult& result);
/// What to_json() kept of the halves, but for the subgroups'.
HalfSamples halves_of(const nlohmann::json& result);
/// What to_json() kept of the subgroups.
std::vector<SubgroupScore> subgroups_of(const nlohmann::json& result);
/// The same for people.
std::string to_text(const ProtocolResult& result);
/// "0.84 (0.12)".
std::string mean_sd(const std::vector<double>& values);
/// One measure of every fold, e.g. &BinaryScores::auc.
std::vector<double> over_folds(const CrossValidation& cv, double BinaryScores::*measure);

}  // namespace wsp::train

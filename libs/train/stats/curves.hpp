#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "train/stats/half_samples.hpp"

/// What scores give at other thresholds than 0.5. A score at the threshold or above counts as
/// positive.
namespace wsp::train {

/// At false positive rates 0, 0.02, ..., 1: the highest sensitivity of a threshold with no higher
/// rate. Not numbers without both classes.
std::vector<double> roc_curve(std::span<const double> score,
                              std::span<const std::uint8_t> positive);
inline constexpr int kRocSteps = 50;
/// Of cross-validated scores, the folds of a repeat together, mean over repeats. Subjects of fold
/// -1 are left out.
std::vector<double> roc_curve(const CrossValidation& cv, std::span<const std::uint8_t> positive);

/// Pointwise 95 % band of roc_curve(): as auc_interval(), with the shape of a binomial proportion
/// of the positives. Empty without halves.
std::vector<Interval> roc_band(const std::vector<double>& curve, const HalfSamples& halves);

/// A threshold and what it does to the subjects.
struct OperatingPoint {
  double threshold = 0;
  std::int64_t true_positive = 0, false_positive = 0, true_negative = 0, false_negative = 0;
  [[nodiscard]] double sensitivity() const;
  [[nodiscard]] double specificity() const;
};
OperatingPoint operating_point(std::span<const double> score,
                               std::span<const std::uint8_t> positive, double threshold);
/// Of the scores as thresholds the one with the largest sensitivity + specificity (Youden 1950),
/// the highest of equals.
OperatingPoint youden_point(std::span<const double> score, std::span<const std::uint8_t> positive);
/// The highest score as threshold whose sensitivity is at least that.
OperatingPoint point_of_sensitivity(std::span<const double> score,
                                    std::span<const std::uint8_t> positive, double least);

/// True positives less false ones weighted by the odds of the threshold, a subject (Vickers and
/// Elkin 2006).
double net_benefit(std::span<const double> probability, std::span<const std::uint8_t> positive,
                   double threshold);

/// 95 % interval of a proportion (Wilson 1927); [0, 1] of none.
Interval wilson_interval(double count, double of);

}  // namespace wsp::train

#pragma once
#include <cstdint>
#include <span>
#include <vector>

/// How well probabilities of a binary diagnosis fit the truth, by subject. Not a number where the
/// subjects do not allow the measure.
namespace wsp::train {

struct BinaryScores {
  double auc = 0, balanced_accuracy = 0, sensitivity = 0, specificity = 0;  ///< threshold 0.5
  double brier = 0;  ///< mean squared error of the probability
};
BinaryScores binary_scores(std::span<const double> probability,
                           std::span<const std::uint8_t> positive);

struct Calibration {
  double in_the_large = 0;    ///< mean probability minus prevalence; 0 is right
  double slope = 0;           ///< of the outcome's logit on the probability's; 1 is right
  double intercept = 0;       ///< of the same regression; 0 is right
  double expected_error = 0;  ///< mean |probability - prevalence| over ten bins of equal width
};
/// Slope and intercept are those of an unpenalised logistic regression (Cox 1958); probabilities
/// are kept from 0 and 1 by 1e-6. Not a number where that has no finite solution (the scores
/// separate).
Calibration calibration(std::span<const double> probability,
                        std::span<const std::uint8_t> positive);

struct DeLong {
  double auc = 0, low = 0, high = 0;  ///< 95 % interval, cut to [0, 1]
  double standard_error = 0;
};
/// DeLong et al. 1988, as if the scores were fixed: for cross-validated scores conditional on the
/// folds.
DeLong delong(std::span<const double> score, std::span<const std::uint8_t> positive);
struct DeLongComparison {
  double difference = 0, standard_error = 0, p = 1;  ///< a minus b; two-sided
};
/// Two scores of the same subjects.
DeLongComparison delong_compare(std::span<const double> a, std::span<const double> b,
                                std::span<const std::uint8_t> positive);

double mean(std::span<const double> values);  ///< over those that are numbers
/// Standard deviation with n - 1, over those that are numbers; not a number below two.
double sample_sd(std::span<const double> values);
/// Linear between order statistics, as numpy's percentile; p in [0, 1].
double quantile(std::vector<double> values, double p);
/// Two-sided tail of Student's t with `freedom` degrees of freedom, 1 or more.
double student_tail(double t, double freedom);
/// The t beyond which that part lies, on both sides together.
double student_quantile(double freedom, double both_tails = 0.05);
double pearson(std::span<const double> a, std::span<const double> b);

}  // namespace wsp::train

#include "train/stats/curves.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

namespace wsp::train {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

// Thresholds that differ in what they do, from high to low.
std::vector<double> thresholds(std::span<const double> score) {
  std::vector<double> all(score.begin(), score.end());
  std::sort(all.begin(), all.end(), std::greater<>());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  return all;
}

double part(std::int64_t count, std::int64_t of) {
  return of > 0 ? static_cast<double>(count) / static_cast<double>(of) : kNone;
}

}  // namespace

double OperatingPoint::sensitivity() const {
  return part(true_positive, true_positive + false_negative);
}
double OperatingPoint::specificity() const {
  return part(true_negative, true_negative + false_positive);
}

OperatingPoint operating_point(std::span<const double> score,
                               std::span<const std::uint8_t> positive, double threshold) {
  OperatingPoint p;
  p.threshold = threshold;
  for (std::size_t i = 0; i < score.size(); ++i) {
    const bool called = score[i] >= threshold;
    if (positive[i] != 0)
      ++(called ? p.true_positive : p.false_negative);
    else
      ++(called ? p.false_positive : p.true_negative);
  }
  return p;
}

OperatingPoint youden_point(std::span<const double> score, std::span<const std::uint8_t> positive) {
  OperatingPoint best;
  double most = -1;
  for (const double t : thresholds(score)) {
    const OperatingPoint p = operating_point(score, positive, t);
    if (const double sum = p.sensitivity() + p.specificity(); sum > most + 1e-12) {
      most = sum;
      best = p;
    }
  }
  return best;
}

OperatingPoint point_of_sensitivity(std::span<const double> score,
                                    std::span<const std::uint8_t> positive, double least) {
  OperatingPoint p;
  for (const double t : thresholds(score)) {
    p = operating_point(score, positive, t);
    if (p.sensitivity() >= least - 1e-12) break;
  }
  return p;
}

std::vector<double> roc_curve(std::span<const double> score,
                              std::span<const std::uint8_t> positive) {
  std::vector<double> negatives, positives;
  for (std::size_t i = 0; i < score.size(); ++i)
    (positive[i] != 0 ? positives : negatives).push_back(score[i]);
  std::vector<double> curve(kRocSteps + 1, kNone);
  if (positives.empty() || negatives.empty()) return curve;
  std::sort(negatives.begin(), negatives.end(), std::greater<>());
  std::sort(positives.begin(), positives.end(), std::greater<>());
  for (std::size_t k = 0; k < curve.size(); ++k) {
    // So many negatives may be called positive; the next one, and what ties with it, must not.
    const auto allowed = static_cast<std::size_t>(
        std::floor(static_cast<double>(k * negatives.size()) / kRocSteps + 1e-9));
    const auto above = allowed == negatives.size()
                           ? positives.size()
                           : static_cast<std::size_t>(
                                 std::count_if(positives.begin(), positives.end(),
                                               [&](double s) { return s > negatives[allowed]; }));
    curve[k] = static_cast<double>(above) / static_cast<double>(positives.size());
  }
  return curve;
}

std::vector<double> roc_curve(const CrossValidation& cv, std::span<const std::uint8_t> positive) {
  std::vector<double> sum(kRocSteps + 1);
  for (std::size_t r = 0; r < cv.fold.size(); ++r) {
    std::vector<double> score;
    std::vector<std::uint8_t> truth;
    for (std::size_t s = 0; s < positive.size(); ++s)
      if (cv.fold[r][s] >= 0) {
        score.push_back(cv.probability[r][s]);
        truth.push_back(positive[s]);
      }
    const std::vector<double> curve = roc_curve(score, truth);
    for (std::size_t k = 0; k < sum.size(); ++k)
      sum[k] += curve[k] / static_cast<double>(cv.fold.size());
  }
  return sum;
}

double net_benefit(std::span<const double> probability, std::span<const std::uint8_t> positive,
                   double threshold) {
  const OperatingPoint p = operating_point(probability, positive, threshold);
  return (static_cast<double>(p.true_positive) -
          static_cast<double>(p.false_positive) * threshold / (1 - threshold)) /
         static_cast<double>(probability.size());
}

Interval wilson_interval(double count, double of) {
  if (!(of > 0)) return {0, 1};
  constexpr double z = 1.959963984540054;
  const double p = count / of, middle = (p + z * z / (2 * of)) / (1 + z * z / of);
  const double reach = z / (1 + z * z / of) * std::sqrt(p * (1 - p) / of + z * z / (4 * of * of));
  return {std::max(0.0, middle - reach), std::min(1.0, middle + reach)};
}

}  // namespace wsp::train

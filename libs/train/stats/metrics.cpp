#include "train/stats/metrics.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "io/core/error.hpp"
#include "train/stats/subject_scores.hpp"

namespace wsp::train {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

void same_length(std::size_t a, std::size_t b) {
  if (a != b)
    throw Error(ErrorCode::failure,
                std::to_string(a) + " scores for " + std::to_string(b) + " subjects");
}

// Structural components of DeLong et al.: of each positive the part of negatives below it, of each
// negative the part of positives above it; ties count half.
struct Components {
  std::vector<double> positive, negative;
  double auc = 0;
};
Components components(std::span<const double> score, std::span<const std::uint8_t> truth) {
  same_length(score.size(), truth.size());
  Components c;
  const auto share = [&](double s, bool of_positives) {
    double won = 0, all = 0;
    for (std::size_t i = 0; i < score.size(); ++i) {
      if ((truth[i] != 0) != of_positives) continue;
      const bool right = of_positives ? score[i] > s : score[i] < s;
      won += right ? 1 : score[i] == s ? 0.5 : 0;
      all += 1;
    }
    return won / all;
  };
  for (std::size_t i = 0; i < score.size(); ++i)
    (truth[i] != 0 ? c.positive : c.negative).push_back(share(score[i], truth[i] == 0));
  c.auc = c.positive.empty() || c.negative.empty() ? kNone : mean(c.positive);
  return c;
}

double covariance(std::span<const double> a, std::span<const double> b) {
  if (a.size() < 2) return kNone;
  const double ma = mean(a), mb = mean(b);
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += (a[i] - ma) * (b[i] - mb);
  return sum / static_cast<double>(a.size() - 1);
}

double normal_tail(double z) { return std::erfc(std::abs(z) / std::sqrt(2.0)); }  // two-sided

}  // namespace

double mean(std::span<const double> values) {
  double sum = 0, n = 0;
  for (const double v : values)
    if (!std::isnan(v)) sum += v, n += 1;
  return n > 0 ? sum / n : kNone;
}

double sample_sd(std::span<const double> values) {
  const double m = mean(values);
  double sum = 0, n = 0;
  for (const double v : values)
    if (!std::isnan(v)) sum += (v - m) * (v - m), n += 1;
  return n > 1 ? std::sqrt(sum / (n - 1)) : kNone;
}

double quantile(std::vector<double> values, double p) {
  std::erase_if(values, [](double v) { return std::isnan(v); });
  if (values.empty()) return kNone;
  std::sort(values.begin(), values.end());
  const double place = p * static_cast<double>(values.size() - 1);
  const auto low = static_cast<std::size_t>(place);
  const std::size_t high = std::min(low + 1, values.size() - 1);
  return values[low] + (place - static_cast<double>(low)) * (values[high] - values[low]);
}

// With t = sqrt(freedom) * tan(u) the density is that of cos(u)^(freedom - 1), which has
// beta(freedom / 2, 1 / 2) / 2 up to a quarter turn.
double student_tail(double t, double freedom) {
  constexpr double kQuarter = 1.5707963267948966;
  constexpr int kSteps = 2000;  // of Simpson's rule
  const double from = std::atan(std::abs(t) / std::sqrt(freedom)),
               step = (kQuarter - from) / kSteps;
  double sum = 0;
  for (int i = 0; i <= kSteps; ++i)
    sum += (i == 0 || i == kSteps ? 1
            : i % 2 == 1          ? 4
                                  : 2) *
           std::pow(std::max(0.0, std::cos(from + i * step)), freedom - 1);
  return sum * step / 3 / (std::beta(freedom / 2, 0.5) / 2);
}

double student_quantile(double freedom, double both_tails) {
  double low = 0, high = 1000;
  for (int i = 0; i < 40; ++i) {
    const double t = (low + high) / 2;
    (student_tail(t, freedom) > both_tails ? low : high) = t;
  }
  return low;
}

double pearson(std::span<const double> a, std::span<const double> b) {
  same_length(a.size(), b.size());
  const double va = covariance(a, a), vb = covariance(b, b);
  return va > 0 && vb > 0 ? covariance(a, b) / std::sqrt(va * vb) : kNone;
}

BinaryScores binary_scores(std::span<const double> probability,
                           std::span<const std::uint8_t> positive) {
  same_length(probability.size(), positive.size());
  double right[2] = {0, 0}, all[2] = {0, 0}, squares = 0;
  for (std::size_t i = 0; i < probability.size(); ++i) {
    const int truth = positive[i] != 0 ? 1 : 0;
    // At exactly 0.5 the first class, as scikit-learn's predict().
    right[truth] += (probability[i] > 0.5 ? 1 : 0) == truth ? 1 : 0;
    all[truth] += 1;
    squares += (probability[i] - truth) * (probability[i] - truth);
  }
  BinaryScores s;
  s.auc = roc_auc(probability, positive);
  s.sensitivity = all[1] > 0 ? right[1] / all[1] : kNone;
  s.specificity = all[0] > 0 ? right[0] / all[0] : kNone;
  s.balanced_accuracy = mean(std::array{s.sensitivity, s.specificity});
  s.brier = all[0] + all[1] > 0 ? squares / (all[0] + all[1]) : kNone;
  return s;
}

Calibration calibration(std::span<const double> probability,
                        std::span<const std::uint8_t> positive) {
  same_length(probability.size(), positive.size());
  Calibration c{kNone, kNone, kNone, kNone};
  const auto n = static_cast<double>(probability.size());
  if (probability.empty()) return c;
  double predicted = 0, observed = 0;
  std::array<std::array<double, 3>, 10> bins{};  // count, sum of probabilities, positives
  std::vector<double> logit;
  for (std::size_t i = 0; i < probability.size(); ++i) {
    const double p = std::clamp(probability[i], 1e-6, 1 - 1e-6), y = positive[i] != 0 ? 1 : 0;
    predicted += probability[i];
    observed += y;
    auto& bin = bins[std::min<std::size_t>(9, static_cast<std::size_t>(probability[i] * 10))];
    bin[0] += 1;
    bin[1] += probability[i];
    bin[2] += y;
    logit.push_back(std::log(p / (1 - p)));
  }
  c.in_the_large = (predicted - observed) / n;
  c.expected_error = 0;
  for (const auto& bin : bins) c.expected_error += std::abs(bin[1] - bin[2]) / n;
  // Newton in two parameters; a step that the likelihood does not bear is halved.
  double a = 0, b = 1;
  const auto loss = [&](double intercept, double slope) {
    double sum = 0;
    for (std::size_t i = 0; i < logit.size(); ++i) {
      const double z = intercept + slope * logit[i];
      sum += std::max(z, 0.0) + std::log1p(std::exp(-std::abs(z))) - (positive[i] != 0 ? z : 0);
    }
    return sum;
  };
  double value = loss(a, b);
  for (int i = 0; i < 100; ++i) {
    double ga = 0, gb = 0, haa = 0, hab = 0, hbb = 0;
    for (std::size_t k = 0; k < logit.size(); ++k) {
      const double p = 1 / (1 + std::exp(-(a + b * logit[k]))), h = p * (1 - p);
      const double r = p - (positive[k] != 0 ? 1 : 0);
      ga += r;
      gb += r * logit[k];
      haa += h;
      hab += h * logit[k];
      hbb += h * logit[k] * logit[k];
    }
    const double determinant = haa * hbb - hab * hab;
    if (!(determinant > 1e-12 * haa * hbb) || std::abs(b) > 1e3) return c;  // separated or constant
    const double da = (hbb * ga - hab * gb) / determinant, db = (haa * gb - hab * ga) / determinant;
    double step = 1;
    while (step > 1e-8 && loss(a - step * da, b - step * db) > value + 1e-14 * std::abs(value))
      step /= 2;
    a -= step * da;
    b -= step * db;
    value = loss(a, b);
    if (std::abs(da) + std::abs(db) < 1e-10) {
      c.slope = b;
      c.intercept = a;
      return c;
    }
  }
  return c;
}

DeLong delong(std::span<const double> score, std::span<const std::uint8_t> positive) {
  const Components c = components(score, positive);
  DeLong d{c.auc, kNone, kNone, kNone};
  d.standard_error =
      std::sqrt(covariance(c.positive, c.positive) / static_cast<double>(c.positive.size()) +
                covariance(c.negative, c.negative) / static_cast<double>(c.negative.size()));
  constexpr double k95 = 1.959963984540054;
  if (!std::isnan(d.standard_error)) {
    d.low = std::max(0.0, d.auc - k95 * d.standard_error);
    d.high = std::min(1.0, d.auc + k95 * d.standard_error);
  }
  return d;
}

DeLongComparison delong_compare(std::span<const double> a, std::span<const double> b,
                                std::span<const std::uint8_t> positive) {
  Components ca = components(a, positive), cb = components(b, positive);
  DeLongComparison result{ca.auc - cb.auc, kNone, kNone};
  for (std::size_t i = 0; i < ca.positive.size(); ++i) ca.positive[i] -= cb.positive[i];
  for (std::size_t i = 0; i < ca.negative.size(); ++i) ca.negative[i] -= cb.negative[i];
  result.standard_error =
      std::sqrt(covariance(ca.positive, ca.positive) / static_cast<double>(ca.positive.size()) +
                covariance(ca.negative, ca.negative) / static_cast<double>(ca.negative.size()));
  if (result.standard_error > 0)
    result.p = normal_tail(result.difference / result.standard_error);
  else if (result.difference == 0)
    result.p = 1;
  return result;
}

}  // namespace wsp::train

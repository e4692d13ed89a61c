#include "train/stats/pair_variance.hpp"

#include <algorithm>
#include <vector>

#include "train/stats/metrics.hpp"

namespace wsp::train {
namespace {

PairVariance of_fold(const std::vector<double>& positives, const std::vector<double>& negatives) {
  const auto m = static_cast<double>(positives.size()), n = static_cast<double>(negatives.size());
  const auto won = [](double a, double b) { return a > b ? 1.0 : a == b ? 0.5 : 0.0; };
  std::vector<double> of_positive(positives.size()), of_negative(negatives.size());
  for (std::size_t i = 0; i < positives.size(); ++i)
    for (std::size_t j = 0; j < negatives.size(); ++j) {
      of_positive[i] += won(positives[i], negatives[j]) / n;
      of_negative[j] += won(positives[i], negatives[j]) / m;
    }
  const double auc = mean(of_positive);
  double rest = 0;
  for (std::size_t i = 0; i < positives.size(); ++i)
    for (std::size_t j = 0; j < negatives.size(); ++j) {
      const double r = won(positives[i], negatives[j]) - of_positive[i] - of_negative[j] + auc;
      rest += r * r / ((m - 1) * (n - 1));
    }
  const double a = sample_sd(of_positive), b = sample_sd(of_negative);
  return {a * a - rest / n, b * b - rest / m, rest};
}

}  // namespace

void PairVariance::operator+=(const PairVariance& other) {
  positive += other.positive;
  negative += other.negative;
  pair += other.pair;
}

double PairVariance::of_mean_auc(double positives, double negatives, int folds) const {
  const double m = positives / folds, n = negatives / folds;
  return (std::max(0.0, positive) / m + std::max(0.0, negative) / n + pair / (m * n)) / folds;
}

PairVariance pair_variance(std::span<const int> fold, std::span<const double> score,
                           std::span<const std::uint8_t> positive) {
  PairVariance sum;
  double folds = 0;
  const int end = fold.empty() ? 0 : 1 + *std::max_element(fold.begin(), fold.end());
  for (int f = 0; f < end; ++f) {
    std::vector<double> of[2];
    for (std::size_t s = 0; s < fold.size(); ++s)
      if (fold[s] == f) of[positive[s] != 0 ? 1 : 0].push_back(score[s]);
    if (std::min(of[0].size(), of[1].size()) < 2) continue;
    sum += of_fold(of[1], of[0]);
    folds += 1;
  }
  if (folds > 0) sum = {sum.positive / folds, sum.negative / folds, sum.pair / folds};
  return sum;
}

}  // namespace wsp::train

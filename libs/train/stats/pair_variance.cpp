#include "train/stats/pair_variance.hpp"

#include <algorithm>
#include <vector>

#include "train/stats/metrics.hpp"

namespace wsp::train {
namespace {

double share_above(const TestedScores& scores, std::size_t positive, std::size_t negative) {
  double above = 0;
  for (const std::vector<double>& of : scores.of)
    above += of[positive] > of[negative] ? 1 : of[positive] == of[negative] ? 0.5 : 0;
  return above / static_cast<double>(scores.of.size());
}

PairVariance of_fold(const TestedScores& a, const TestedScores* b,
                     const std::vector<std::size_t>& positives,
                     const std::vector<std::size_t>& negatives) {
  const auto m = static_cast<double>(positives.size()), n = static_cast<double>(negatives.size());
  std::vector<double> of_pair, of_positive(positives.size()), of_negative(negatives.size());
  for (std::size_t i = 0; i < positives.size(); ++i)
    for (std::size_t j = 0; j < negatives.size(); ++j) {
      of_pair.push_back(share_above(a, positives[i], negatives[j]) -
                        (b != nullptr ? share_above(*b, positives[i], negatives[j]) : 0));
      of_positive[i] += of_pair.back() / n;
      of_negative[j] += of_pair.back() / m;
    }
  const double all = mean(of_positive);
  double rest = 0;
  for (std::size_t i = 0; i < positives.size(); ++i)
    for (std::size_t j = 0; j < negatives.size(); ++j) {
      const double r = of_pair[i * negatives.size() + j] - of_positive[i] - of_negative[j] + all;
      rest += r * r / ((m - 1) * (n - 1));
    }
  const double u = sample_sd(of_positive), v = sample_sd(of_negative);
  return {u * u - rest / n, v * v - rest / m, rest};
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

PairVariance pair_variance(const TestedScores& a, const TestedScores* b) {
  PairVariance sum;
  double folds = 0;
  const int end = a.fold.empty() ? 0 : 1 + *std::max_element(a.fold.begin(), a.fold.end());
  for (int f = 0; f < end; ++f) {
    std::vector<std::size_t> of[2];
    for (std::size_t s = 0; s < a.fold.size(); ++s)
      if (a.fold[s] == f) of[a.positive[s] != 0 ? 1 : 0].push_back(s);
    if (std::min(of[0].size(), of[1].size()) < 2) continue;
    sum += of_fold(a, b, of[1], of[0]);
    folds += 1;
  }
  if (folds > 0) sum = {sum.positive / folds, sum.negative / folds, sum.pair / folds};
  return sum;
}

}  // namespace wsp::train

#include "train/stats/pair_variance.hpp"

#include <gtest/gtest.h>

#include "io/core/counter_rng.hpp"
#include "train/stats/metrics.hpp"

namespace wsp::train {
namespace {

struct Cohort {
  std::vector<int> fold;
  std::vector<double> score;
  std::vector<std::uint8_t> positive;

  [[nodiscard]] double auc(int folds) const {
    double sum = 0;
    for (int f = 0; f < folds; ++f) {
      std::vector<double> p;
      std::vector<std::uint8_t> truth;
      for (std::size_t s = 0; s < fold.size(); ++s)
        if (fold[s] == f) {
          p.push_back(score[s]);
          truth.push_back(positive[s]);
        }
      sum += binary_scores(p, truth).auc / folds;
    }
    return sum;
  }
};

// Normal scores that know of no fold, each class dealt out evenly.
Cohort draw(int positives, int negatives, int folds, double signal, std::uint64_t number) {
  CounterRng rng(7, {number, static_cast<std::uint64_t>(positives)});
  Cohort c;
  for (int s = 0; s < positives + negatives; ++s) {
    c.positive.push_back(s < positives ? 1 : 0);
    c.fold.push_back((s < positives ? s : s - positives) % folds);
    c.score.push_back(rng.normal() + (s < positives ? signal : 0));
  }
  return c;
}

double variance(std::vector<double> values) {
  const double sd = sample_sd(values);
  return sd * sd;
}

TEST(PairVariance, IsThatOfSimulatedCohortsAndOfTheirHalves) {
  struct Design {
    int positives, negatives, folds, half_folds;
    double signal;
  };
  for (const Design d : {Design{40, 60, 5, 5, 0.5}, {40, 60, 5, 5, 2.5}, {16, 40, 4, 2, 1.0}}) {
    std::vector<double> whole, half;
    PairVariance pairs;
    for (std::uint64_t i = 0; i < 4000; ++i) {
      const Cohort all = draw(d.positives, d.negatives, d.folds, d.signal, i);
      whole.push_back(all.auc(d.folds));
      half.push_back(
          draw(d.positives / 2, d.negatives / 2, d.half_folds, d.signal, i).auc(d.half_folds));
      pairs += pair_variance({all.fold, all.positive, {all.score}});
    }
    const double told = pairs.of_mean_auc(d.positives, d.negatives, d.folds) / 4000,
                 of_half =
                     pairs.of_mean_auc(d.positives / 2., d.negatives / 2., d.half_folds) / 4000;
    EXPECT_NEAR(told, variance(whole), 0.08 * told) << d.signal;  // chance: some 2 %
    EXPECT_NEAR(of_half, variance(half), 0.08 * of_half) << d.signal;
  }
}

TEST(PairVariance, OfPositivesAloneOfADifferenceAndOfNothing) {
  // A positive lies above all negatives or below all of them.
  const TestedScores a{
      {0, 0, 0, 0, 1, 1, 1, 1}, {1, 1, 0, 0, 1, 1, 0, 0}, {{9, 1, 5, 5.5, 9, 1, 5, 5.5}}};
  const PairVariance v = pair_variance(a);
  EXPECT_NEAR(v.positive, 0.5, 1e-12);
  EXPECT_NEAR(v.negative, 0, 1e-12);
  EXPECT_NEAR(v.pair, 0, 1e-12);
  // Of the difference to one that gets every pair right; to itself, also as the mean of two.
  const TestedScores right{a.fold, a.positive, {{9, 8, 1, 2, 9, 8, 1, 2}}};
  EXPECT_NEAR(pair_variance(a, &right).positive, 0.5, 1e-12);
  TestedScores twice = a;
  twice.of.push_back(a.of.front());
  EXPECT_EQ(pair_variance(a, &twice).of_mean_auc(4, 4, 2), 0);
  EXPECT_EQ(pair_variance(right).of_mean_auc(4, 4, 2), 0);
  // The mean of two seeds: pairs differ, subjects do not.
  const TestedScores seeds{{0, 0, 0, 0}, {1, 1, 0, 0}, {{2, 4, 1, 3}, {4, 2, 3, 1}}};
  const PairVariance p = pair_variance(seeds);
  EXPECT_NEAR(p.pair, 0.25, 1e-12);
  EXPECT_NEAR(p.positive, -0.125, 1e-12);
  const TestedScores alone{{0, 1, 0, 1}, {1, 1, 0, 0}, {{3, 1, 2, 4}}};
  EXPECT_EQ(pair_variance(alone).of_mean_auc(2, 2, 1), 0);
}

}  // namespace
}  // namespace wsp::train

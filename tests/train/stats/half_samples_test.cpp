// Uncertainty by halves of the cohort; pooled datasets.
#include "train/stats/half_samples.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <tuple>

#include "io/core/parallel.hpp"
#include "probe_support.hpp"
#include "support/python.hpp"
#include "train/stats/cross_validation.hpp"
#include "train/stats/folds.hpp"
#include "train/stats/neighbours.hpp"
#include "train/stats/pca.hpp"
#include "train/stats/subject_scores.hpp"

namespace wsp::train {
namespace {

using test::make_probe_set;

TEST(HalfSamples, ShareNoSubjectAndFitEverythingAnew) {
  ProbeSet set = make_probe_set(40, 4, 12, 21, 2);
  for (int s = 0; s < 40; ++s) set.dataset.push_back(s % 4 == 0 ? 1 : 0);
  LogisticFits fits(set);
  const CrossValidationOptions options{.folds = 5, .repeats = 2, .seed = 2};
  const CrossValidation cv = cross_validate(set, fits, set.positive, options);
  const HalfSamples h = half_samples(set, fits, cv, options, 6);
  ASSERT_EQ(h.auc.size(), 6U);
  // By hand: the first half of a division, cut out of the set, is what was cross-validated.
  const std::vector<int> halves =
      stratified_folds(set.positive, 2, 2, (std::uint64_t{1} << 40) + 3, set.dataset);
  ProbeSet half;
  half.dimensions = set.dimensions;
  half.first = {0};
  for (std::size_t s = 0; s < 40; ++s) {
    if (halves[s] != 1) continue;
    half.x.insert(half.x.end(), set.x.begin() + set.first[s] * 12,
                  set.x.begin() + set.first[s + 1] * 12);
    half.first.push_back(half.first.back() + set.first[s + 1] - set.first[s]);
    half.positive.push_back(set.positive[s]);
    half.dataset.push_back(set.dataset[s]);
  }
  LogisticFits apart(half);
  std::vector<std::vector<int>> fold;
  for (std::uint64_t r = 0; r < 2; ++r)
    fold.push_back(stratified_folds(half.positive, h.half_folds, 2,
                                    (std::uint64_t{1} << 41) + (3 * 2 + 1) * 2 + r, half.dataset));
  const CrossValidation alone = cross_validate_in(half, apart, half.positive, fold, options);
  EXPECT_NEAR(h.auc[3][1], alone.mean_auc(), 1e-9);
  EXPECT_NEAR(h.within[3][1], within_datasets_auc(alone, half.positive, half.dataset), 1e-9);
  // Every repeat counts.
  CrossValidationOptions once = options;
  once.repeats = 1;
  EXPECT_NE(half_samples(set, fits, cross_validate(set, fits, set.positive, once), once, 6).auc,
            h.auc);
}

TEST(HalfSamples, GiveIntervalsThatHaveAWidthAndPair) {
  const ProbeSet set = make_probe_set(60, 3, 8, 21, 6);
  LogisticFits fits(set);
  const CrossValidationOptions options{.folds = 5, .seed = 2};
  const CrossValidation cv = cross_validate(set, fits, set.positive, options);
  const HalfSamples good = half_samples(set, fits, cv, options, 30);
  const Interval i = auc_interval(cv.mean_auc(), good, good.auc);
  EXPECT_LT(i.low, cv.mean_auc());
  EXPECT_GT(i.high, cv.mean_auc());
  const PairedDifference same = paired_difference(cv.mean_auc(), good, cv.mean_auc(), good);
  EXPECT_EQ(same.difference, 0);
  EXPECT_EQ(same.p, 1);
  const ProbeSet other = make_probe_set(60, 3, 8, 22, 0);
  ProbeSet noise = other;
  noise.positive = set.positive;
  LogisticFits of_noise(noise);
  const CrossValidation blind = cross_validate(noise, of_noise, noise.positive, options);
  const HalfSamples bad = half_samples(noise, of_noise, blind, options, 30);
  const PairedDifference d = paired_difference(cv.mean_auc(), good, blind.mean_auc(), bad);
  EXPECT_GT(d.interval.low, 0);
  EXPECT_LT(d.p, 0.05);
  // Halves that separate all vouch for no width of 0.
  HalfSamples perfect = good;
  for (auto& pair : perfect.auc) pair = {1, 1};
  const Interval top = auc_interval(1, perfect, perfect.auc);
  EXPECT_LT(top.low, 0.98);
  EXPECT_GT(top.low, 0.5);
  EXPECT_EQ(top.high, 1);
  // Nor do two that are always right for being equal.
  const PairedDifference alike = paired_difference(1, perfect, 1, perfect);
  EXPECT_LT(alike.interval.low, -0.01);
  EXPECT_GT(alike.interval.low, top.low - 1);
  EXPECT_NEAR(alike.interval.high, -alike.interval.low, 1e-9);
  EXPECT_EQ(alike.p, 1);
  // A difference is told from 0 where its interval leaves 0 out, and only there.
  for (const double auc : {1.0, 0.99, 0.95, 0.9, 0.85, 0.8, 0.6, 0.4}) {
    const PairedDifference e = paired_difference(1, good, auc, bad);
    EXPECT_EQ(e.p<0.05, e.interval.low> 0) << auc;
    EXPECT_LE(e.interval.low, e.difference + 1e-12);
    EXPECT_GE(e.interval.high, e.difference - 1e-12);
    EXPECT_LE(e.interval.high, 1);
  }
  // Too few subjects for halves: no interval.
  ProbeSet few = make_probe_set(12, 3, 8, 21);
  few.positive = {1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  LogisticFits of_few(few);
  const CrossValidationOptions three{.folds = 3};
  const HalfSamples none =
      half_samples(few, of_few, cross_validate(few, of_few, few.positive, three), three, 30);
  EXPECT_TRUE(none.auc.empty());
  EXPECT_TRUE(std::isnan(auc_interval(0.7, none, none.auc).low));
}

// Features that know nothing but the cohort: pooled they tell the diagnosis, since prevalence
// differs.
TEST(Datasets, PooledDiagnosesAreToldByTheCohortWithinNoneAre) {
  ProbeSet set = make_probe_set(155, 3, 6, 4, 0);
  for (int s = 0; s < 155; ++s) {
    const bool first = s < 106;
    set.dataset.push_back(first ? 0 : 1);
    set.positive[static_cast<std::size_t>(s)] = s < 78 || s >= 140 ? 1 : 0;
    for (std::int64_t r = set.first[static_cast<std::size_t>(s)];
         r < set.first[static_cast<std::size_t>(s) + 1]; ++r)
      set.x[static_cast<std::size_t>(6 * r)] += first ? 0 : 20;
  }
  LogisticFits fits(set);
  const CrossValidationOptions options{.folds = 5, .seed = 3};
  const CrossValidation cv = cross_validate(set, fits, set.positive, options);
  EXPECT_GT(cv.mean_auc(), 0.6);
  EXPECT_NEAR(within_datasets_auc(cv, set.positive, set.dataset), 0.5, 0.17);
  const Permutation shuffled = permute_labels(set, fits, cv, options, 60);
  EXPECT_GT(shuffled.null_mean, 0.58);
  EXPECT_GT(shuffled.p, 0.05);
  // Folds hold as many of each dataset and class as can be.
  std::map<std::tuple<int, int, int>, int> count;
  for (std::size_t s = 0; s < 155; ++s) ++count[{set.dataset[s], set.positive[s], cv.fold[0][s]}];
  for (const auto& [key, n] : count)
    EXPECT_LE(std::abs(n - count[{std::get<0>(key), std::get<1>(key), 0}]), 1);
  // By hand.
  CrossValidation two;
  two.fold = {{0, 0, 0, 0, 0, 1}};
  two.probability = {{0.9, 0.1, 0.8, 0.95, 0.2, 0.3}};
  const std::vector<std::uint8_t> truth = {1, 0, 0, 1, 0, 1};
  EXPECT_NEAR(within_datasets_auc(two, truth, std::vector<int>{0, 0, 0, 1, 1, 1}), 1, 1e-12);
  EXPECT_NEAR(within_datasets_auc(two, truth, std::vector<int>{0, 0, 0, 0, 0, 0}), 1, 1e-12);
}

}  // namespace
}  // namespace wsp::train

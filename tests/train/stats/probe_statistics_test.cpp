#include <gtest/gtest.h>
#include <tbb/global_control.h>

#include <cmath>
#include <fstream>
#include <functional>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

#include "io/core/error.hpp"
#include "io/core/parallel.hpp"
#include "probe_support.hpp"
#include "support/python.hpp"
#include "support/test_data.hpp"
#include "train/stats/cross_validation.hpp"
#include "train/stats/folds.hpp"
#include "train/stats/half_samples.hpp"
#include "train/stats/neighbours.hpp"
#include "train/stats/pca.hpp"
#include "train/stats/subject_scores.hpp"

namespace wsp::train {
namespace {

using nlohmann::json;
using test::make_probe_set;

TEST(ProbeStatistics, AgreeWithScikitLearnAndScipy) {
  WSP_REQUIRE_PYTHON("sklearn, scipy, numpy");
  const test::TemporaryDirectory scratch;
  const ProbeSet set = make_probe_set(40, 6, 90, 5);
  json problem{{"x", set.x},
               {"dimensions", 90},
               {"first", set.first},
               {"positive", set.positive},
               {"fits", json::array()}};
  LogisticFits fits(set);
  for (const double c : {0.001, 1.0, 100.0}) {
    CounterRng rng(3, {static_cast<std::uint64_t>(1000 * c)});
    std::vector<int> weight;
    for (std::int64_t s = 0; s < set.subjects(); ++s)
      weight.push_back(static_cast<int>(rng.below(3)));
    problem["fits"].push_back({{"c", c}, {"weight", weight}});
    fits.prepare(c);
  }
  CounterRng rng(9, {1});
  std::vector<double> a, b;
  std::vector<std::uint8_t> truth;
  for (int i = 0; i < 60; ++i) {
    truth.push_back(i % 3 == 0 ? 1 : 0);
    const double shift = truth.back() != 0 ? 0.2 : 0;
    // Rounded, so that there are ties.
    a.push_back(std::round(50 * (0.05 + 0.7 * rng.uniform() + shift)) / 50);
    b.push_back(std::round(50 * (0.3 * a.back() + 0.5 * rng.uniform() + shift / 4)) / 50);
  }
  problem["score_a"] = a;
  problem["score_b"] = b;
  problem["truth"] = truth;
  int status = 0;
  problem["new"] =
      test::run_command(
          test::python() + " -c 'import sklearn; print(int(sklearn.__version__ >= \"1.2\"))'",
          status) == "1\n";
  std::ofstream(scratch.path() / "problem.json") << problem;
  const std::string text = test::run_command(
      test::python() + " " WSP_SOURCE_DIR "/tests/train/stats/probe_reference.py " +
          (scratch.path() / "problem.json").string(),
      status);
  ASSERT_EQ(status, 0);
  const json expected = json::parse(text);

  for (std::size_t i = 0; i < problem["fits"].size(); ++i) {
    const std::vector<double> weight = problem["fits"][i]["weight"];
    const BinaryModel model = fits.fit(problem["fits"][i]["c"], weight, set.positive);
    const json& reference = expected["fits"][i];
    for (std::size_t j = 0; j < model.coefficients.size(); ++j)
      ASSERT_NEAR(model.coefficients[j], reference["coef"][j].get<double>(), 1e-6) << i << " " << j;
    EXPECT_NEAR(model.intercept, reference["intercept"].get<double>(), 1e-6);
    const std::vector<double> p = subject_probabilities(set, model);
    for (std::size_t s = 0; s < p.size(); ++s)
      EXPECT_NEAR(p[s], reference["prob"][s].get<double>(), 1e-6);
    EXPECT_NEAR(
        model.probability(std::span(set.x).first(90)),
        [&] {
          double z = model.intercept;
          for (std::size_t j = 0; j < 90; ++j)
            z += model.coefficients[j] * (set.x[j] - model.mean[j]) / model.scale[j];
          return 1 / (1 + std::exp(-z));
        }(),
        1e-12);
  }

  const BinaryScores scores = binary_scores(a, truth);
  EXPECT_NEAR(scores.auc, expected["auc"].get<double>(), 1e-12);
  EXPECT_NEAR(scores.balanced_accuracy, expected["bacc"].get<double>(), 1e-12);
  EXPECT_NEAR(scores.sensitivity, expected["sensitivity"].get<double>(), 1e-12);
  EXPECT_NEAR(scores.specificity, expected["specificity"].get<double>(), 1e-12);
  EXPECT_NEAR(scores.brier, expected["brier"].get<double>(), 1e-12);
  const DeLong one = delong(a, truth);
  EXPECT_NEAR(one.auc, expected["areas"][0].get<double>(), 1e-12);
  EXPECT_NEAR(one.standard_error, expected["auc_se"].get<double>(), 1e-10);
  const DeLongComparison two = delong_compare(a, b, truth);
  EXPECT_NEAR(two.standard_error, expected["difference_se"].get<double>(), 1e-10);
  EXPECT_NEAR(two.p, expected["difference_p"].get<double>(), 1e-9);
  const Calibration fit = calibration(a, truth);
  EXPECT_NEAR(fit.slope, expected["slope"].get<double>(), 1e-4);
  EXPECT_NEAR(fit.intercept, expected["intercept"].get<double>(), 1e-4);
  EXPECT_NEAR(pearson(a, b), expected["pearson"].get<double>(), 1e-12);
  EXPECT_NEAR(quantile(a, 0.025), expected["quantile"].get<double>(), 1e-12);

  const Pca pca = fit_pca(set.x, 90, 3);  // more than 64 features: by subspace iteration
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(pca.explained_variance_ratio[i], expected["ratio"][i].get<double>(), 1e-10);
    double same = 0;
    for (std::size_t j = 0; j < 90; ++j)
      same += pca.components[90 * i + j] * expected["components"][i][j].get<double>();
    EXPECT_NEAR(std::abs(same), 1, 1e-9);
  }
  std::vector<int> group;
  for (std::int64_t s = 0; s < set.subjects(); ++s)
    group.insert(group.end(),
                 static_cast<std::size_t>(set.first[static_cast<std::size_t>(s) + 1] -
                                          set.first[static_cast<std::size_t>(s)]),
                 set.positive[static_cast<std::size_t>(s)]);
  EXPECT_NEAR(silhouette(set.x, 90, group), expected["silhouette"].get<double>(), 1e-10);
}

TEST(Folds, AreStratifiedEvenAndFixedBySeed) {
  for (int n = 10; n < 60; n += 7)
    for (int folds = 2; folds <= 5; ++folds) {
      std::vector<std::uint8_t> positive;
      for (int i = 0; i < n; ++i) positive.push_back(i % 2 == 0 || i > n - 4 ? 1 : 0);
      if (std::count(positive.begin(), positive.end(), 0) < folds) continue;
      const std::vector<int> fold = stratified_folds(positive, folds, 4, 0);
      std::map<int, int> size, positives;
      for (std::size_t i = 0; i < fold.size(); ++i) {
        ++size[fold[i]];
        positives[fold[i]] += positive[i];
      }
      ASSERT_EQ(size.size(), static_cast<std::size_t>(folds));
      const auto spread = [](const std::map<int, int>& counts) {
        int low = 1000, high = 0;
        for (const auto& [f, count] : counts)
          low = std::min(low, count), high = std::max(high, count);
        return high - low;
      };
      EXPECT_LE(spread(size), 1);
      EXPECT_LE(spread(positives), 1);
      EXPECT_EQ(fold, stratified_folds(positive, folds, 4, 0));
      EXPECT_NE(fold, stratified_folds(positive, folds, 4, 1));
      EXPECT_NE(fold, stratified_folds(positive, folds, 5, 0));
    }
}

TEST(Folds, RefuseWhatCannotBeDivided) {
  const std::vector<std::uint8_t> positive = {1, 1, 0, 0, 0, 0, 0};
  EXPECT_NO_THROW((void)stratified_folds(positive, 2, 0, 0));
  try {
    (void)stratified_folds(positive, 3, 0, 0);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::usage);
    EXPECT_NE(std::string(e.what()).find("at most 2 --folds"), std::string::npos) << e.what();
  }
  EXPECT_THROW((void)stratified_folds(positive, 8, 0, 0), Error);
  EXPECT_THROW((void)stratified_folds(positive, 1, 0, 0), Error);
}

TEST(CrossValidation, ScoresASubjectByFitsThatNeverSawIt) {
  // Diagnoses that do not follow from the features: were a subject's own slices in the fit, 60
  // features would know it.
  const ProbeSet set = make_probe_set(40, 5, 60, 8, 0);
  LogisticFits fits(set);
  const CrossValidation cv =
      cross_validate(set, fits, set.positive, {.folds = 4, .repeats = 3, .seed = 2, .c = 10});
  EXPECT_LT(cv.mean_auc(), 0.75);
  const std::vector<double> all(40, 1.0);
  EXPECT_GT(roc_auc(subject_probabilities(set, fits.fit(10, all, set.positive)), set.positive),
            0.99);
  // By hand: the first fold of the first repeat.
  std::vector<double> weight;
  for (const int f : cv.fold[0]) weight.push_back(f == 0 ? 0 : 1);
  const std::vector<double> p = subject_probabilities(set, fits.fit(10, weight, set.positive));
  for (std::size_t s = 0; s < 40; ++s)
    if (weight[s] == 0) {
      EXPECT_EQ(p[s], cv.probability[0][s]);
    }
}

TEST(CrossValidation, IsTheSameOnAnyNumberOfThreads) {
  const ProbeSet set = make_probe_set(30, 4, 70, 1);
  const CrossValidationOptions options{
      .folds = 5, .repeats = 2, .seed = 7, .c = 1, .c_grid = {0.01, 1}};
  std::vector<CrossValidation> runs;
  std::vector<HalfSamples> halves;
  std::vector<Permutation> permutations;
  for (const std::size_t threads : {1UL, 4UL}) {
    const tbb::global_control limit(tbb::global_control::max_allowed_parallelism, threads);
    LogisticFits fits(set);
    runs.push_back(cross_validate(set, fits, set.positive, options));
    halves.push_back(half_samples(set, fits, runs.back(), options, 5));
    permutations.push_back(permute_labels(set, fits, runs.back(), options, 10));
  }
  EXPECT_EQ(runs[0].probability, runs[1].probability);
  EXPECT_EQ(runs[0].chosen_c, runs[1].chosen_c);
  EXPECT_EQ(halves[0].auc, halves[1].auc);
  EXPECT_EQ(permutations[0].p, permutations[1].p);
  EXPECT_EQ(permutations[0].null.low, permutations[1].null.low);
}

TEST(CrossValidation, ChoosesAStrongPenaltyWhereThereIsOnlyNoise) {
  const ProbeSet noise = make_probe_set(40, 4, 40, 3, 0);
  const ProbeSet clear = make_probe_set(40, 4, 40, 3, 30);
  const auto chosen = [](const ProbeSet& set) {
    LogisticFits fits(set);
    return cross_validate(set, fits, set.positive,
                          {.folds = 4, .seed = 1, .c_grid = {1e-4, 1e-2, 1}})
        .chosen_c[0];
  };
  EXPECT_LT(mean(chosen(noise)), mean(chosen(clear)));
}

TEST(Permutation, SeesWhetherThereIsSomethingToSee) {
  for (const double signal : {0.0, 30.0}) {
    const ProbeSet set = make_probe_set(50, 3, 8, 11, signal);
    LogisticFits fits(set);
    const CrossValidationOptions options{.folds = 5, .seed = 2};
    const CrossValidation cv = cross_validate(set, fits, set.positive, options);
    const Permutation permuted = permute_labels(set, fits, cv, options, 99);
    EXPECT_LT(permuted.null.low, 0.5);
    EXPECT_GT(permuted.null.high, 0.5);
    if (signal > 0) {
      EXPECT_EQ(permuted.p, 0.01) << cv.mean_auc();
    } else {
      EXPECT_GT(permuted.p, 0.05) << cv.mean_auc();
    }
  }
}

TEST(WeightedAuc, CountsSubjectsAsOftenAsTheyWeigh) {
  // Weights are counts: doubling every subject changes no area, and ties count half.
  const std::vector<double> score = {0.1, 0.4, 0.4, 0.8}, twice = {2, 2, 2, 2}, some = {1, 0, 1, 3};
  const std::vector<std::uint8_t> truth = {0, 1, 0, 1};
  EXPECT_EQ(weighted_auc(score, truth, twice, ascending(score)), roc_auc(score, truth));
  EXPECT_EQ(weighted_auc(score, truth, some, ascending(score)), 1);
}

TEST(StudentT, IsThatOfTheTables) {
  EXPECT_NEAR(student_quantile(14), 2.144787, 1e-5);
  EXPECT_NEAR(student_quantile(3), 3.182446, 1e-5);
  EXPECT_NEAR(student_quantile(1000), 1.962339, 1e-5);
  EXPECT_NEAR(student_tail(-2.5, 10), 0.031446, 1e-5);
  EXPECT_NEAR(student_tail(0, 5), 1, 1e-12);
}

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

TEST(Neighbours, VoteOfTheNearestButNeverOfTheSubjectItself) {
  ProbeSet set;
  set.dimensions = 2;
  set.first = {0, 2, 3, 4};
  set.x = {1, 0, 1, 0.01, 1, 0.2, 0, 1};
  set.positive = {1, 0, 1};
  set.names = {"a", "b", "c"};
  const std::vector<double> weight = {0, 1, 1};
  // The nearest of a's slices among the others is b's, negative; of two neighbours c's vote is
  // exp((cos - cos) / 0.07) beside it.
  EXPECT_EQ(neighbour_probabilities(set, set.positive, weight, 1)[0], 0);
  const double b0 = 1 / std::sqrt(1.04), v0 = std::exp((0 - b0) / 0.07);
  const double n1 = std::sqrt(1.0001), b1 = (1 + 0.002) / (n1 * std::sqrt(1.04)), c1 = 0.01 / n1;
  const double v1 = std::exp((c1 - b1) / 0.07);
  EXPECT_NEAR(neighbour_probabilities(set, set.positive, weight, 5)[0],
              (v0 / (1 + v0) + v1 / (1 + v1)) / 2, 1e-12);
}

TEST(LogisticFits, RefuseWhatHasNoSolution) {
  ProbeSet set = make_probe_set(6, 4, 3, 1);
  set.positive = {1, 1, 1, 0, 0, 0};
  LogisticFits fits(set);
  EXPECT_THROW(fits.prepare(0), Error);
  fits.prepare(1);
  const std::vector<double> weight = {1, 1, 1, 0, 0, 0};
  EXPECT_THROW((void)fits.fit(1, weight, set.positive), Error);
  set.x[4] = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THROW(LogisticFits{set}, Error);
}

// A standardised probe does not see where a feature lies and how wide it is: what hardly varies far
// from 0 gives what the same feature gives around 0.
TEST(LogisticFits, SolveWithFeaturesThatHardlyVary) {
  const std::int64_t d = 20;
  ProbeSet plain = make_probe_set(40, 5, d, 12);
  for (double& x : plain.x) x = std::round(64 * x);  // few digits, so that both are exact as float
  const std::vector<double> all(40, 1.0);
  const auto moved = [&](double offset, double width,
                         const std::function<bool(std::int64_t, std::int64_t)>& which) {
    ProbeSet set = plain;
    for (std::int64_t r = 0; r < set.rows(); ++r)
      for (std::int64_t j = 0; j < d; ++j)
        if (double& x = set.x[static_cast<std::size_t>(r * d + j)]; which(r, j))
          x = offset + width * x;
    return set;
  };
  const auto probabilities = [&](const ProbeSet& set) {
    LogisticFits fits(set);
    return cross_validate(set, fits, set.positive, {.folds = 5, .seed = 2}).probability[0];
  };
  const std::vector<double> expected = probabilities(plain);
  const auto same = [&](const ProbeSet& set, const char* what) {
    const std::vector<double> p = probabilities(set);
    for (std::size_t s = 0; s < p.size(); ++s)
      ASSERT_NEAR(p[s], expected[s], 1e-6) << what << " " << s;
  };
  same(moved(1024, std::ldexp(1, -13), [](auto, std::int64_t j) { return j == 3; }), "one feature");
  same(moved(-3.0e5, std::ldexp(1, -4), [](auto, auto) { return true; }),
       "a collapsed encoder, float");
  same(moved(1e4, std::ldexp(1, -20), [](auto, auto) { return true; }),
       "a collapsed encoder, double");
  // Constant but for noise in all subjects other than one: no part may stop the probe.
  ProbeSet odd = plain;
  for (std::int64_t r = 0; r < odd.rows(); ++r)
    odd.x[static_cast<std::size_t>(r * d + 3)] = r < odd.first[1] ? 1e6 : r % 2 == 0 ? 1 : 1 + 1e-7;
  for (const double p : probabilities(odd)) EXPECT_TRUE(p >= 0 && p <= 1);
}

// Fits beside each other, one of which cannot be: the failure comes out, and the others neither
// hang nor crash.
TEST(LogisticFits, FailWholeWhereOneOfManyFails) {
  const tbb::global_control threads(tbb::global_control::max_allowed_parallelism, 4);
  const ProbeSet set = make_probe_set(60, 12, 256, 3);
  const ProbeSet small = make_probe_set(60, 6, 64, 3);
  for (const ProbeSet* of : {&set, &small}) {
    LogisticFits fits(*of);
    fits.prepare(1);
    const std::vector<double> all(60, 1.0);
    std::vector<double> none(60);
    for (std::size_t s = 0; s < 60; ++s) none[s] = of->positive[s];
    EXPECT_THROW(wsp::parallel_loop(
                     0, 40, [&](int i) { (void)fits.fit(1, i == 9 ? none : all, of->positive); }),
                 Error);
  }
}

TEST(Calibration, KnowsPerfectAndSeparatedScores) {
  std::vector<double> p;
  std::vector<std::uint8_t> truth;
  for (int i = 0; i < 400; ++i) {  // of each hundred as many positives as the probability says
    p.push_back(i < 200 ? 0.25 : 0.75);
    truth.push_back((i % 4 == 0) == (i < 200) ? 1 : 0);
  }
  const Calibration right = calibration(p, truth);
  EXPECT_NEAR(right.slope, 1, 1e-9);
  EXPECT_NEAR(right.intercept, 0, 1e-9);
  EXPECT_NEAR(right.in_the_large, 0, 1e-12);
  EXPECT_NEAR(right.expected_error, 0, 1e-12);
  EXPECT_TRUE(std::isnan(
      calibration(std::vector<double>{0.1, 0.2, 0.8, 0.9}, std::vector<std::uint8_t>{0, 0, 1, 1})
          .slope));
}

}  // namespace
}  // namespace wsp::train

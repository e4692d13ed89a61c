// Folds, scores and permutations against scikit-learn, SciPy and what must hold.
#include <gtest/gtest.h>
#include <tbb/global_control.h>

#include <cmath>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

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

TEST(StudentT, IsThatOfTheTables) {
  EXPECT_NEAR(student_quantile(14), 2.144787, 1e-5);
  EXPECT_NEAR(student_quantile(3), 3.182446, 1e-5);
  EXPECT_NEAR(student_quantile(1000), 1.962339, 1e-5);
  EXPECT_NEAR(student_tail(-2.5, 10), 0.031446, 1e-5);
  EXPECT_NEAR(student_tail(0, 5), 1, 1e-12);
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

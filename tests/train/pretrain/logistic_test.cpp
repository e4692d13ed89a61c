#include "train/pretrain/logistic.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <limits>
#include <nlohmann/json.hpp>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "support/test_data.hpp"
#include "train/stats/subject_scores.hpp"

namespace wsp::train {
namespace {

using nlohmann::json;

// Golden values of scikit-learn: probe.json in WSP_GOLDEN_DIR, else beside the source tree.
std::filesystem::path golden_probe() {
  const char* named = std::getenv("WSP_GOLDEN_DIR");
  return std::filesystem::path(
             named != nullptr && *named != '\0' ? named : WSP_SOURCE_DIR "/../shared/golden") /
         "probe.json";
}

torch::Tensor matrix(const std::vector<std::vector<double>>& rows) {
  torch::Tensor m = torch::empty(
      {static_cast<std::int64_t>(rows.size()), static_cast<std::int64_t>(rows.at(0).size())},
      torch::kFloat64);
  for (std::size_t i = 0; i < rows.size(); ++i)
    m[static_cast<std::int64_t>(i)] = torch::tensor(rows[i], torch::kFloat64);
  return m;
}

// Of c * sum of log-losses + |coefficients|^2 / 2, by automatic differentiation.
double gradient_at(const LogisticModel& model, const torch::Tensor& x,
                   const std::vector<std::int64_t>& label, double c) {
  torch::Tensor w = model.coefficients.clone().requires_grad_();
  torch::Tensor b = model.intercepts.clone().requires_grad_();
  torch::Tensor logits = x.matmul(w.t()) + b;
  if (model.classes.size() == 2) logits = torch::cat({torch::zeros_like(logits), logits}, 1);
  std::vector<std::int64_t> index;
  for (const std::int64_t y : label)
    index.push_back(std::find(model.classes.begin(), model.classes.end(), y) -
                    model.classes.begin());
  const torch::Tensor loss =
      c * torch::cross_entropy_loss(logits, torch::tensor(index), {}, at::Reduction::Sum) +
      w.square().sum() / 2;
  loss.backward();
  return std::max(w.grad().abs().max().item<double>(), b.grad().abs().max().item<double>());
}

TEST(Logistic, AgreesWithScikitLearnsGoldenFolds) {
  if (!std::filesystem::exists(golden_probe())) {
    std::fprintf(stderr,
                 "*** GOLDEN probe.json ABSENT: set WSP_GOLDEN_DIR; this test did not run ***\n");
    GTEST_SKIP() << "golden data absent: set WSP_GOLDEN_DIR";
  }
  const json golden = json::parse(read_file(golden_probe()));
  std::size_t folds = 0;
  for (const json& test_case : golden["cases"]) {
    const auto x = matrix(test_case["features"]);
    const std::vector<std::int64_t> label = test_case["label"];
    const std::vector<std::int32_t> subject = test_case["subject"];
    const std::vector<int> fold_of_subject = test_case["fold_of_subject"];
    for (std::size_t fold = 0; fold < test_case["folds"].size(); ++fold, ++folds) {
      SCOPED_TRACE(folds);
      const json& expected = test_case["folds"][fold];
      std::vector<std::int64_t> fit_rows, test_rows, fit_label, test_label;
      std::vector<std::int32_t> test_subject;
      for (std::size_t i = 0; i < label.size(); ++i) {
        const bool tested =
            fold_of_subject[static_cast<std::size_t>(subject[i])] == static_cast<int>(fold);
        (tested ? test_rows : fit_rows).push_back(static_cast<std::int64_t>(i));
        (tested ? test_label : fit_label).push_back(label[i]);
        if (tested) test_subject.push_back(subject[i]);
      }
      const torch::Tensor fit_x = x.index_select(0, torch::tensor(fit_rows));
      const Standardiser standardiser = Standardiser::fit(fit_x);
      const LogisticModel model =
          fit_logistic(standardiser.apply(fit_x), fit_label, {.c = test_case["C"]});
      // scikit-learn stopped at its default tolerance: at its numbers the gradient is still up to
      // 3e-4.
      constexpr double kSolved = 2e-5;
      const std::vector<double> coefficients = expected["coef"];
      for (std::size_t d = 0; d < coefficients.size(); ++d)
        EXPECT_NEAR(model.coefficients[0][static_cast<std::int64_t>(d)].item<double>(),
                    coefficients[d], kSolved);
      EXPECT_NEAR(model.intercepts[0].item<double>(), expected["intercept"].get<double>(), kSolved);

      const torch::Tensor p =
          model.probabilities(standardiser.apply(x.index_select(0, torch::tensor(test_rows))));
      const SubjectPredictions subjects =
          average_by_subject({p.data_ptr<double>(), static_cast<std::size_t>(p.numel())},
                             model.classes, test_label, test_subject);
      EXPECT_EQ(subjects.subject, expected["subjects"].get<std::vector<std::int32_t>>());
      for (std::size_t s = 0; s < subjects.subject.size(); ++s)
        EXPECT_NEAR(subjects.probability[s][1], expected["prob"][s].get<double>(), kSolved);
      const SubjectScores scores = score_subjects(subjects);
      EXPECT_NEAR(scores.auc, expected["auc"].get<double>(), 1e-12);
      EXPECT_NEAR(scores.balanced_accuracy, expected["bacc"].get<double>(), 1e-12);
    }
  }
  EXPECT_GE(folds, 10U);
}

struct Problem {
  std::int64_t n, d, classes;
  double c;
};

class LogisticOptimum : public testing::TestWithParam<Problem> {};

TEST_P(LogisticOptimum, HasNoGradientLeft) {
  const Problem problem = GetParam();
  torch::manual_seed(static_cast<std::uint64_t>(problem.n + problem.d));
  torch::Tensor x = torch::randn({problem.n, problem.d}, torch::kFloat64);
  // Correlated, as features of a network are.
  x = x + 3 * torch::randn({problem.n, 1}, torch::kFloat64);
  std::vector<std::int64_t> label;
  for (std::int64_t i = 0; i < problem.n; ++i)
    label.push_back(x[i][0].item<double>() + torch::randn({1}).item<double>() > 0.5
                        ? 7 * (1 + i % (problem.classes - 1))
                        : 3);
  const LogisticModel model = fit_logistic(x, label, {.c = problem.c});
  EXPECT_EQ(model.classes.size(), static_cast<std::size_t>(problem.classes));
  const double scale = std::max(1.0, problem.c);
  EXPECT_LE(model.gradient, 1e-8 * scale);
  EXPECT_LE(gradient_at(model, x, label, problem.c), 2e-8 * scale);
  const torch::Tensor p = model.probabilities(x);
  EXPECT_TRUE(torch::allclose(p.sum(1), torch::ones({problem.n}, torch::kFloat64)));
}

INSTANTIATE_TEST_SUITE_P(All, LogisticOptimum,
                         testing::Values(Problem{50, 3, 2, 1}, Problem{40, 200, 2, 1},
                                         Problem{300, 20, 3, 0.01}, Problem{300, 20, 5, 100},
                                         Problem{100, 60, 2, 1e4}, Problem{30, 300, 4, 1000},
                                         Problem{2000, 256, 4, 1}));

TEST(Logistic, OneFeatureHasTheClosedForm) {
  // Without features that vary, the intercept is the logit of the frequency, softmax that of logs.
  const torch::Tensor x = torch::zeros({10, 2}, torch::kFloat64);
  const LogisticModel two = fit_logistic(x, {5, 5, 5, 9, 9, 9, 9, 9, 9, 9});
  EXPECT_NEAR(two.intercepts[0].item<double>(), std::log(7.0 / 3), 1e-9);
  EXPECT_EQ(two.coefficients.abs().max().item<double>(), 0);
  const LogisticModel three = fit_logistic(x, {1, 1, 2, 2, 2, 3, 3, 3, 3, 3});
  const torch::Tensor p = three.probabilities(x);
  EXPECT_NEAR(p[0][0].item<double>(), 0.2, 1e-9);
  EXPECT_NEAR(p[0][1].item<double>(), 0.3, 1e-9);
  EXPECT_NEAR(p[0][2].item<double>(), 0.5, 1e-9);
}

TEST(Logistic, SeparableClassesStayFiniteAndExtremeLogitsDoNotOverflow) {
  const torch::Tensor x = torch::tensor({{-1.0}, {-2.0}, {1.0}, {2.0}}, torch::kFloat64);
  const std::vector<std::int64_t> label = {0, 0, 1, 1};
  const LogisticModel model = fit_logistic(x, label, {.c = 1e6});
  EXPECT_LE(gradient_at(model, x, label, 1e6), 2e-2);
  EXPECT_GT(model.coefficients[0][0].item<double>(), 5);
  const torch::Tensor far = model.probabilities(torch::tensor({{1e6}, {-1e6}}, torch::kFloat64));
  EXPECT_EQ(far[0][1].item<double>(), 1);
  EXPECT_EQ(far[1][0].item<double>(), 1);
}

TEST(Logistic, RefusesWhatHasNoSolution) {
  const torch::Tensor x = torch::randn({4, 2});
  EXPECT_THROW(fit_logistic(x, {1, 1, 1, 1}), Error);
  EXPECT_THROW(fit_logistic(x, {1, 0, 1}), Error);
  EXPECT_THROW(fit_logistic(x, {1, 0, 1, 0}, {.c = 0}), Error);
  EXPECT_THROW(fit_logistic(torch::zeros({0, 2}), {}), Error);
  torch::Tensor bad = x.clone();
  bad[1][1] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THROW(fit_logistic(bad, {1, 0, 1, 0}), Error);
  EXPECT_THROW(Standardiser::fit(bad), Error);
}

TEST(Standardiser, ShiftsAndScalesAndLeavesConstantsAlone) {
  const torch::Tensor x =
      torch::tensor({{1.0, 0.1, 5.0}, {3.0, 0.1, 5.0}, {5.0, 0.1, 5.0}}, torch::kFloat64);
  const Standardiser standardiser = Standardiser::fit(x);
  EXPECT_NEAR(standardiser.scale[0].item<double>(), std::sqrt(8.0 / 3), 1e-15);
  EXPECT_EQ(standardiser.scale[1].item<double>(), 1) << "0.1 is not exact, yet constant";
  EXPECT_EQ(standardiser.scale[2].item<double>(), 1);
  const torch::Tensor z = standardiser.apply(x);
  EXPECT_NEAR(z.mean(0).abs().max().item<double>(), 0, 1e-15);
}

}  // namespace
}  // namespace wsp::train

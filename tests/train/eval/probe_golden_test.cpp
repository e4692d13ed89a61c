#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "io/core/atomic_file.hpp"
#include "support/test_data.hpp"
#include "train/eval/binary_logistic.hpp"
#include "train/eval/dense.hpp"
#include "train/eval/metrics.hpp"
#include "train/eval/pca.hpp"

namespace wsp::train {
namespace {

using nlohmann::json;

// scikit-learn's L-BFGS stops when the loss changes by less than 2e-9 of itself, which leaves its
// coefficients up to 1.2e-5 from the optimum. So its numbers are first led there: one Newton step from
// them, with an explicit Hessian that shares nothing with the solver under test.
struct Polished {
  std::vector<double> w;  ///< coefficients, then the intercept
  double moved = 0;       ///< largest change
};
Polished newton_from(const std::vector<double>& coef, double intercept,
                     const std::vector<std::vector<double>>& z, const std::vector<double>& y, double c) {
  const std::size_t d = coef.size(), m = d + 1;
  Polished result{coef, 0};
  result.w.push_back(intercept);
  for (int step = 0; step < 3; ++step) {
    std::vector<double> gradient(result.w), hessian(m * m);
    gradient[d] = 0;
    for (std::size_t j = 0; j < d; ++j) hessian[j * m + j] = 1;
    for (std::size_t i = 0; i < z.size(); ++i) {
      double logit = result.w[d];
      for (std::size_t j = 0; j < d; ++j) logit += result.w[j] * z[i][j];
      const double p = 1 / (1 + std::exp(-logit));
      for (std::size_t j = 0; j < m; ++j) {
        const double xj = j < d ? z[i][j] : 1;
        gradient[j] += c * (p - y[i]) * xj;
        for (std::size_t k = 0; k < m; ++k)
          hessian[j * m + k] += c * p * (1 - p) * xj * (k < d ? z[i][k] : 1);
      }
    }
    dense::Cholesky(hessian, static_cast<std::int64_t>(m)).solve(gradient);
    for (std::size_t j = 0; j < m; ++j) result.w[j] -= gradient[j];
  }
  for (std::size_t j = 0; j < d; ++j) result.moved = std::max(result.moved, std::abs(result.w[j] - coef[j]));
  return result;
}

void check_case(const json& test_case) {
  ProbeSet set;
  const std::vector<int> subject = test_case["subject"], label = test_case["label"];
  const std::vector<int> fold_of_subject = test_case["fold_of_subject"];
  const std::vector<std::vector<double>> features = test_case["features"];
  const double c = test_case["C"];
  const std::size_t subjects = fold_of_subject.size(), d = features.at(0).size();
  set.dimensions = static_cast<std::int64_t>(d);
  set.first = {0};
  std::vector<std::vector<double>> rows;
  std::vector<std::size_t> of_row;
  for (std::size_t s = 0; s < subjects; ++s) {
    std::uint8_t positive = 0;
    for (std::size_t i = 0; i < subject.size(); ++i)
      if (subject[i] == static_cast<int>(s)) {
        set.x.insert(set.x.end(), features[i].begin(), features[i].end());
        rows.push_back(features[i]);
        of_row.push_back(s);
        positive = label[i] != 0 ? 1 : 0;
      }
    set.positive.push_back(positive);
    set.first.push_back(static_cast<std::int64_t>(rows.size()));
  }
  LogisticFits fits(set);
  fits.prepare(c);
  for (std::size_t f = 0; f < test_case["folds"].size(); ++f) {
    SCOPED_TRACE("fold " + std::to_string(f));
    const json& golden = test_case["folds"][f];
    std::vector<double> weight(subjects);
    for (std::size_t s = 0; s < subjects; ++s) weight[s] = fold_of_subject[s] == static_cast<int>(f) ? 0 : 1;
    const BinaryModel model = fits.fit(c, weight, set.positive);
    EXPECT_LE(model.gradient, 1e-8 * std::max(1.0, c));

    std::vector<std::vector<double>> z;
    std::vector<double> y;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (weight[of_row[i]] == 0) continue;
      std::vector<double> row;
      for (std::size_t j = 0; j < d; ++j) row.push_back((rows[i][j] - model.mean[j]) / model.scale[j]);
      z.push_back(row);
      y.push_back(set.positive[of_row[i]]);
    }
    const std::vector<double> coef = golden["coef"];
    const Polished optimum = newton_from(coef, golden["intercept"], z, y, c);
    EXPECT_LE(optimum.moved, 5e-5) << "the golden coefficients are no solution of this problem";
    for (std::size_t j = 0; j < d; ++j) EXPECT_NEAR(model.coefficients[j], optimum.w[j], 2e-8);
    EXPECT_NEAR(model.intercept, optimum.w[d], 2e-8);
    // Where scikit-learn did arrive, its own numbers to the digits that were asked for.
    for (std::size_t j = 0; j < d; ++j) EXPECT_NEAR(model.coefficients[j], coef[j], 1e-5 + optimum.moved);

    BinaryModel theirs = model;
    theirs.coefficients = coef;
    theirs.intercept = golden["intercept"];
    const std::vector<double> ours_p = subject_probabilities(set, model);
    const std::vector<double> theirs_p = subject_probabilities(set, theirs);
    const std::vector<std::size_t> tested = golden["subjects"];
    std::vector<double> p;
    std::vector<std::uint8_t> truth;
    for (std::size_t i = 0; i < tested.size(); ++i) {
      const double expected = golden["prob"][i];
      EXPECT_NEAR(theirs_p[tested[i]], expected, 1e-12) << "scaler, sigmoid and mean over slices";
      EXPECT_NEAR(ours_p[tested[i]], expected, 1e-6 + std::abs(ours_p[tested[i]] - theirs_p[tested[i]]));
      EXPECT_NEAR(ours_p[tested[i]], expected, 2e-5);
      p.push_back(ours_p[tested[i]]);
      truth.push_back(set.positive[tested[i]]);
    }
    const BinaryScores scores = binary_scores(p, truth);
    EXPECT_NEAR(scores.auc, golden["auc"].get<double>(), 1e-12);
    EXPECT_NEAR(scores.balanced_accuracy, golden["bacc"].get<double>(), 1e-12);
  }
  if (!test_case.contains("pca")) return;
  const json& expected = test_case["pca"];
  const auto k = static_cast<std::int64_t>(expected["components"].size());
  const Pca pca = fit_pca(set.x, set.dimensions, k);
  for (std::size_t j = 0; j < d; ++j) EXPECT_NEAR(pca.mean[j], expected["mean"][j].get<double>(), 1e-9);
  for (std::size_t i = 0; i < static_cast<std::size_t>(k); ++i) {
    EXPECT_NEAR(pca.explained_variance_ratio[i], expected["explained_variance_ratio"][i].get<double>(), 1e-9);
    double same = 0;
    for (std::size_t j = 0; j < d; ++j)
      same += pca.components[i * d + j] * expected["components"][i][j].get<double>();
    for (std::size_t j = 0; j < d; ++j)
      EXPECT_NEAR(pca.components[i * d + j], (same < 0 ? -1 : 1) * expected["components"][i][j].get<double>(), 1e-7);
  }
}

TEST(ProbeGolden, AgreesWithEveryGoldenFile) {
  WSP_REQUIRE_GOLDEN(directory);
  int cases = 0;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    if (entry.path().extension() != ".json") continue;
    const json golden = json::parse(read_file(entry.path()));
    if (!golden.is_object() || !golden.contains("cases")) continue;
    for (const json& test_case : golden["cases"]) {
      if (!test_case.contains("folds") || !test_case.contains("features")) continue;  // other values
      SCOPED_TRACE(entry.path().filename().string() + " case " + std::to_string(cases));
      check_case(test_case);
      ++cases;
    }
  }
  if (cases == 0) GTEST_SKIP() << "no golden values of probes there";
}

}  // namespace
}  // namespace wsp::train

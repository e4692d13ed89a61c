// Matrix products, factors and moments beside explicit loops, at sizes that fill no tile or panel.
#include "train/stats/dense.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "io/core/counter_rng.hpp"
#include "probe_support.hpp"
#include "train/stats/binary_logistic.hpp"
#include "train/stats/subject_moments.hpp"

namespace wsp::train {
namespace {

template <class T>
std::vector<T> normal(std::size_t n, std::uint64_t seed) {
  CounterRng rng(seed, {1});
  std::vector<T> v(n);
  for (T& x : v) x = static_cast<T>(rng.normal());
  return v;
}

template <class T>
void expect_gram(std::int64_t n, std::int64_t d, double tolerance) {
  const std::vector<T> x = normal<T>(static_cast<std::size_t>(n * d), 1);
  const std::vector<double> gram = dense::gram(std::span<const T>(x), n, d);
  for (std::int64_t i = 0; i < d; ++i)
    for (std::int64_t j = 0; j < d; ++j) {
      double sum = 0;
      for (std::int64_t r = 0; r < n; ++r)
        sum += static_cast<double>(x[static_cast<std::size_t>(r * d + i)]) *
               static_cast<double>(x[static_cast<std::size_t>(r * d + j)]);
      ASSERT_NEAR(gram[static_cast<std::size_t>(i * d + j)], sum,
                  tolerance * static_cast<double>(n))
          << n << " x " << d << ": " << i << ", " << j;
    }
}

TEST(Gram, EqualsTheExplicitLoop) {
  for (const std::int64_t d : {1, 5, 12, 24, 31, 100}) {
    expect_gram<double>(300, d, 1e-13);
    expect_gram<float>(300, d, 1e-6);
  }
  expect_gram<double>(1, 7, 1e-13);
}

TEST(Cholesky, SolvesWhatItFactored) {
  for (const std::int64_t d : {1, 2, 31, 32, 33, 64, 97, 130}) {
    const std::vector<double> x = normal<double>(static_cast<std::size_t>(2 * d * d), 2);
    std::vector<double> a = dense::gram(std::span<const double>(x), 2 * d, d);
    const std::vector<double> solution = normal<double>(static_cast<std::size_t>(d), 3);
    std::vector<double> b(static_cast<std::size_t>(d));
    for (std::size_t i = 0; i < b.size(); ++i)
      for (std::size_t j = 0; j < b.size(); ++j) b[i] += a[i * b.size() + j] * solution[j];
    dense::Cholesky(std::move(a), d).solve(b);
    for (std::size_t i = 0; i < b.size(); ++i)
      ASSERT_NEAR(b[i], solution[i], 1e-9) << d << ": " << i;
  }
}

TEST(SubjectMoments, EqualMeanAndDeviationOfTheSlices) {
  ProbeSet set = test::make_probe_set(12, 5, 7, 4);
  const auto d = static_cast<std::size_t>(set.dimensions);
  for (std::size_t r = 0; r < static_cast<std::size_t>(set.rows()); ++r) {
    set.x[r * d + 1] = 1e3 + 1e-3 * set.x[r * d + 1];
    set.x[r * d + 2] = 0.1;                                    // constant
    set.x[r * d + 3] = r < 5 ? 1e6 : 0.3;                      // constant but for the first subject
    set.x[r * d + 4] = r < 5 ? 1e9 : 1e-3 * set.x[r * d + 4];  // nearly
  }
  std::vector<double> weight(12);
  for (std::size_t s = 0; s < 12; ++s)
    weight[s] = static_cast<double>(s % 3);  // the first counts nothing
  std::vector<double> mean, scale;
  SubjectMoments(set).standardiser(weight, mean, scale);
  for (std::size_t j = 0; j < d; ++j) {
    double n = 0, sum = 0, squares = 0;
    const auto each = [&](auto&& visit) {
      for (std::size_t s = 0; s < 12; ++s)
        for (std::int64_t r = set.first[s]; r < set.first[s + 1]; ++r)
          visit(weight[s], set.x[static_cast<std::size_t>(r) * d + j]);
    };
    each([&](double w, double x) {
      n += w;
      sum += w * x;
    });
    each([&](double w, double x) { squares += w * (x - sum / n) * (x - sum / n); });
    const bool constant = j == 2 || j == 3;
    EXPECT_NEAR(mean[j], sum / n, 1e-12 * std::abs(sum / n)) << j;
    if (constant)
      EXPECT_EQ(scale[j], 1) << j;
    else
      EXPECT_NEAR(scale[j] / std::sqrt(squares / n), 1, 1e-9) << j;
  }
}

TEST(LogisticFits, OfManyAtOnceAreTheSameToTheBit) {
  const ProbeSet set = test::make_probe_set(40, 6, 33, 8);
  LogisticFits fits(set);
  fits.prepare(0.1);
  fits.prepare(100);
  std::vector<std::vector<double>> weight(19, std::vector<double>(40));
  std::vector<LogisticRequest> requests;
  for (std::size_t i = 0; i < weight.size(); ++i) {
    CounterRng rng(5, {i});
    for (double& w : weight[i]) w = static_cast<double>(rng.below(3));
    requests.push_back({i % 2 == 0 ? 0.1 : 100.0, weight[i], set.positive});
  }
  const std::vector<BinaryModel> together = fits.fit_all(requests);
  ASSERT_EQ(together.size(), requests.size());
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const BinaryModel alone = fits.fit(requests[i].c, requests[i].weight, requests[i].positive);
    EXPECT_EQ(together[i].coefficients, alone.coefficients) << i;
    EXPECT_EQ(together[i].intercept, alone.intercept) << i;
    EXPECT_EQ(together[i].scale, alone.scale) << i;
    EXPECT_LE(together[i].gradient, 1e-6) << i;
  }
}

}  // namespace
}  // namespace wsp::train

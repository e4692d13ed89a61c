// Losses of a continuous label beside loops that read like their definitions.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <random>

#include "io/core/error.hpp"
#include "train/kernels/contrastive_batch.hpp"
#include "train/kernels/contrastive_reference.hpp"
#include "train/kernels/rank_contrast.hpp"

namespace wsp::train::test {
namespace {

constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

struct Ranked {
  std::vector<double> z, value;
  std::int64_t n, dim;

  /// `ties`: whole numbers of which many are equal.
  Ranked(std::uint32_t seed, std::int64_t slices, std::int64_t width, bool ties, bool some_unknown)
      : n(slices), dim(width) {
    std::mt19937 random(seed);
    std::normal_distribution<double> normal;
    for (std::int64_t i = 0; i < 2 * n * dim; ++i) z.push_back(normal(random));
    for (std::int64_t i = 0; i < n; ++i) {
      const double y =
          ties ? std::uniform_int_distribution<int>(0, 4)(random) : 60 + 9 * normal(random);
      value.push_back(some_unknown && i % 5 == 2 ? kUnknown : y);
    }
  }
  [[nodiscard]] RankContrastProblem<double> problem(double temperature = 2) const {
    return {z.data(), n, dim, value.data(), temperature};
  }
};

Evaluated evaluate_ranks(const RankContrastProblem<double>& p, std::int64_t tile, int threads = 2) {
  Evaluated e;
  e.grad.assign(static_cast<std::size_t>(2 * p.n * p.dim), kUnknown);
  e.loss = with_threads(threads, [&] { return rank_contrast_loss_cpu(p, tile, e.grad.data()); });
  return e;
}

/// The published definition, a denominator for every pair: O(M^3).
Evaluated ranks_by_loops(const RankContrastProblem<double>& p) {
  std::vector<std::int64_t> views;
  for (std::int64_t i = 0; i < 2 * p.n; ++i)
    if (!std::isnan(p.value[i % p.n])) views.push_back(i);
  const auto apart = [&](std::int64_t i, std::int64_t j) {
    return std::fabs(p.value[i % p.n] - p.value[j % p.n]);
  };
  const auto distance = [&](std::int64_t i, std::int64_t j) {
    double square = 0;
    for (std::int64_t k = 0; k < p.dim; ++k)
      square += std::pow(p.z[i * p.dim + k] - p.z[j * p.dim + k], 2);
    return std::sqrt(square);
  };
  Evaluated found;
  found.grad.resize(static_cast<std::size_t>(2 * p.n * p.dim));
  const auto m = static_cast<double>(views.size());
  if (views.empty()) return found;
  const auto pull = [&](std::int64_t i, std::int64_t j, double by) {  // d |z_i - z_j|
    for (std::int64_t k = 0; k < p.dim; ++k) {
      const double slope = by * (p.z[i * p.dim + k] - p.z[j * p.dim + k]) / distance(i, j);
      found.grad[static_cast<std::size_t>(i * p.dim + k)] += slope;
      found.grad[static_cast<std::size_t>(j * p.dim + k)] -= slope;
    }
  };
  for (const std::int64_t i : views)
    for (const std::int64_t j : views) {
      if (i == j) continue;
      double denominator = 0;
      for (const std::int64_t k : views)
        if (k != i && apart(i, k) >= apart(i, j))
          denominator += std::exp(-distance(i, k) / p.temperature);
      const double each = 1 / (m * (m - 1));
      found.loss += each * (std::log(denominator) + distance(i, j) / p.temperature);
      pull(i, j, each / p.temperature);
      for (const std::int64_t k : views)
        if (k != i && apart(i, k) >= apart(i, j))
          pull(i, k,
               -each / p.temperature * std::exp(-distance(i, k) / p.temperature) / denominator);
    }
  return found;
}

/// L^exp as the published code has it: similarities less the largest of the row, which is the
/// anchor's own; weights with the kernel's diagonal taken out.
double weighted_repulsion_by_loops(const ContrastiveProblem<double>& p) {
  const std::int64_t views = 2 * p.n;
  const auto similarity = [&](std::int64_t t, std::int64_t i) {
    double product = 0, tt = 0, ii = 0;
    for (std::int64_t k = 0; k < p.dim; ++k) {
      product += p.z[t * p.dim + k] * p.z[i * p.dim + k];
      tt += p.z[t * p.dim + k] * p.z[t * p.dim + k];
      ii += p.z[i * p.dim + k] * p.z[i * p.dim + k];
    }
    return product / std::sqrt(tt) / std::sqrt(ii) / p.temperature;
  };
  double sum = 0;
  for (std::int64_t t = 0; t < views; ++t) {
    double largest = -std::numeric_limits<double>::infinity(), uniformity = 0, weights = 0,
           pull = 0;
    for (std::int64_t i = 0; i < views; ++i) largest = std::max(largest, similarity(t, i));
    for (std::int64_t i = 0; i < views; ++i) {
      if (i == t) continue;
      const double w = pair_weight(p, t, i), logit = similarity(t, i) - largest;
      uniformity += std::exp(logit * (1 - w));
      weights += w;
      pull += w * logit;
    }
    sum -= (pull - weights * std::log(uniformity)) / weights;
  }
  return sum / static_cast<double>(views);
}

ContrastiveProblem<double> with_weighted_repulsion(const Batch& batch, int number) {
  auto p = variant(batch, number);
  p.weighted_repulsion = true;
  return p;
}

void expect_near(const Evaluated& a, const Evaluated& b, double tolerance) {
  EXPECT_NEAR(a.loss, b.loss, tolerance * (1 + std::abs(b.loss)));
  ASSERT_EQ(a.grad.size(), b.grad.size());
  for (std::size_t i = 0; i < a.grad.size(); ++i)
    ASSERT_NEAR(a.grad[i], b.grad[i], tolerance) << "gradient " << i;
}

/// Fourth order: differences of a loss of size 1 are then good to about 1e-11 / step.
double slope_of(double& x, const std::function<double()>& loss) {
  constexpr double kStep = 1e-4;
  const double before = x;
  const auto at = [&](double offset) {
    x = before + offset;
    return loss();
  };
  const double slope =
      (8 * (at(kStep) - at(-kStep)) - (at(2 * kStep) - at(-2 * kStep))) / (12 * kStep);
  x = before;
  return slope;
}

TEST(RankContrast, EqualsLoopsOverEveryPairAndItsDenominator) {
  for (const std::int64_t n : {1, 2, 3, 7, 19})
    for (const bool ties : {false, true})
      for (const bool unknown : {false, true})
        for (const double temperature : {0.5, 2.0}) {
          const Ranked batch(static_cast<std::uint32_t>(n), n, 6, ties, unknown);
          SCOPED_TRACE("n " + std::to_string(n) + " ties " + std::to_string(ties) + " unknown " +
                       std::to_string(unknown));
          const auto p = batch.problem(temperature);
          for (const std::int64_t tile : {1, 4, 64})
            expect_near(evaluate_ranks(p, tile), ranks_by_loops(p), 1e-11);
        }
}

TEST(RankContrast, GradientEqualsFiniteDifferences) {
  Ranked batch(3, 6, 3, true, true);
  const Evaluated found = evaluate_ranks(batch.problem(), 4);
  for (std::size_t i = 0; i < batch.z.size(); ++i)
    ASSERT_NEAR(found.grad[i],
                slope_of(batch.z[i], [&] { return ranks_by_loops(batch.problem()).loss; }), 1e-8);
}

TEST(RankContrast, WhoIsUnknownCountsForNobody) {
  Ranked batch(5, 9, 4, false, true);
  const Evaluated before = evaluate_ranks(batch.problem(), 4);
  Ranked without = batch;
  std::vector<double> first, second;
  without.value.clear();
  for (std::int64_t i = 0; i < batch.n; ++i) {
    const auto row = [&](std::int64_t view) {
      return batch.z.begin() + (view * batch.n + i) * batch.dim;
    };
    if (std::isnan(batch.value[static_cast<std::size_t>(i)])) {
      for (const std::int64_t view : {0, 1})
        for (std::int64_t k = 0; k < batch.dim; ++k)
          EXPECT_EQ(before.grad[static_cast<std::size_t>((view * batch.n + i) * batch.dim + k)], 0);
      continue;
    }
    first.insert(first.end(), row(0), row(0) + batch.dim);
    second.insert(second.end(), row(1), row(1) + batch.dim);
    without.value.push_back(batch.value[static_cast<std::size_t>(i)]);
  }
  without.n = static_cast<std::int64_t>(without.value.size());
  without.z = first;
  without.z.insert(without.z.end(), second.begin(), second.end());
  ASSERT_LT(without.n, batch.n);
  EXPECT_EQ(evaluate_ranks(without.problem(), 4).loss, before.loss);
  std::fill(batch.value.begin(), batch.value.end(), kUnknown);
  const Evaluated nobody = evaluate_ranks(batch.problem(), 4);
  EXPECT_EQ(nobody.loss, 0);
  EXPECT_EQ(nobody.grad, std::vector<double>(batch.z.size(), 0.0));
}

TEST(RankContrast, ThreadsNeverChangeABitAndTilesRoundingOnly) {
  const Ranked batch(7, 37, 20, true, true);
  const Evaluated whole = evaluate_ranks(batch.problem(), 1000, 1);
  for (const std::int64_t tile : {1, 3, 8, 64}) {
    const Evaluated one = evaluate_ranks(batch.problem(), tile, 1);
    expect_near(one, whole, 1e-14);
    for (const int threads : {2, 8}) {
      const Evaluated more = evaluate_ranks(batch.problem(), tile, threads);
      EXPECT_EQ(one.loss, more.loss);
      EXPECT_EQ(one.grad, more.grad);
    }
  }
}

TEST(RankContrast, FloatsAreSummedInDouble) {
  Ranked batch(9, 40, 64, false, true);
  const std::vector<float> z(batch.z.begin(), batch.z.end());
  batch.z.assign(z.begin(), z.end());
  const Evaluated expected = evaluate_ranks(batch.problem(), 16);
  const RankContrastProblem<float> narrow{z.data(), batch.n, batch.dim, batch.value.data(), 2};
  std::vector<float> grad(z.size());
  EXPECT_EQ(rank_contrast_loss_cpu(narrow, 16, grad.data()), expected.loss);
  for (std::size_t i = 0; i < grad.size(); ++i)
    ASSERT_EQ(grad[i], static_cast<float>(expected.grad[i]));
}

// Where the farthest in y lie far apart their exponentials vanish beside the nearest one's.
TEST(RankContrast, NoDenominatorVanishes) {
  Ranked batch(11, 8, 5, false, false);
  const Evaluated found = evaluate_ranks(batch.problem(1e-4), 4);
  EXPECT_TRUE(std::isfinite(found.loss));
  for (const double g : found.grad) EXPECT_TRUE(std::isfinite(g));
  EXPECT_GT(found.loss, 100);
}

TEST(RankContrast, EqualEmbeddingsStayFiniteAndANaNIsNotHidden) {
  Ranked batch(13, 6, 5, true, false);
  std::copy_n(batch.z.begin(), 10, batch.z.begin() + 30);
  const Evaluated equal = evaluate_ranks(batch.problem(), 4);
  EXPECT_TRUE(std::isfinite(equal.loss));
  for (const double g : equal.grad) EXPECT_TRUE(std::isfinite(g));
  batch.z[7] = kUnknown;
  EXPECT_FALSE(std::isfinite(evaluate_ranks(batch.problem(), 4).loss));
}

// Of all orders of some points on a line the one of y is the best.
TEST(RankContrast, IsLeastWhereEmbeddingsAreInTheOrderOfTheirValues) {
  Ranked batch(15, 5, 1, false, false);
  batch.value = {1, 2, 4, 7, 11};
  std::vector<std::size_t> order{0, 1, 2, 3, 4};
  const auto loss = [&] {
    for (std::size_t i = 0; i < 5; ++i) batch.z[i] = batch.z[5 + i] = 3 * batch.value[order[i]];
    return evaluate_ranks(batch.problem(), 8).loss;
  };
  const double sorted = loss();
  while (std::next_permutation(order.begin(), order.end())) EXPECT_GT(loss(), sorted);
}

TEST(RankContrast, RefusesWhatHasNoMeaning) {
  Ranked batch(1, 3, 2, false, false);
  const auto refuses = [&](auto change, std::int64_t tile = 8) {
    auto p = batch.problem();
    change(p);
    EXPECT_THROW(rank_contrast_loss_cpu<double>(p, tile, nullptr), Error);
  };
  refuses([](auto& p) { p.n = 0; });
  refuses([](auto& p) { p.dim = 0; });
  refuses([](auto& p) { p.z = nullptr; });
  refuses([](auto& p) { p.value = nullptr; });
  refuses([](auto& p) { p.temperature = 0; });
  refuses([](auto& p) { p.temperature = kUnknown; });
  refuses([](auto&) {}, 0);
  batch.value[1] = std::numeric_limits<double>::infinity();
  refuses([](auto&) {});
}

TEST(WeightedRepulsion, EqualsTheLoopsOfThePublishedCode) {
  for (const std::int64_t n : {1, 2, 5, 19})
    for (int number = 0; number < kVariants - 1; ++number)
      for (const auto normalisation : {Normalisation::paper, Normalisation::reference}) {
        const Batch batch(static_cast<std::uint32_t>(n), n, 6, 3);
        auto p = with_weighted_repulsion(batch, number);
        p.normalisation = normalisation;  // means nothing to this loss
        SCOPED_TRACE("n " + std::to_string(n) + " variant " + std::to_string(number));
        const double expected = weighted_repulsion_by_loops(p);
        for (const std::int64_t tile : {1, 4, 64})
          EXPECT_NEAR(evaluate(p, tile).loss, expected, 1e-11 * (1 + std::abs(expected)));
      }
}

TEST(WeightedRepulsion, GradientEqualsFiniteDifferencesOfTheLoops) {
  for (int number = 0; number < kVariants - 1; ++number) {
    Batch batch(17, 5, 4, 2);
    const auto p = with_weighted_repulsion(batch, number);
    const Evaluated found = evaluate(p, 3);
    for (std::size_t i = 0; i < batch.z.size(); ++i)
      ASSERT_NEAR(found.grad[i],
                  slope_of(batch.z[i], [&] { return weighted_repulsion_by_loops(p); }), 1e-8)
          << "variant " << number << ", entry " << i;
  }
}

TEST(WeightedRepulsion, ThreadsNeverChangeABitAndTilesRoundingOnly) {
  const Batch batch(3, 37, 20, 3);
  for (int number = 0; number < kVariants; ++number) {
    const auto p = with_weighted_repulsion(batch, number);
    const Evaluated whole = evaluate(p, 1000, 1);
    for (const std::int64_t tile : {1, 8, 64}) {
      const Evaluated one = evaluate(p, tile, 1), more = evaluate(p, tile, 8);
      expect_near(one, whole, 1e-12 / p.temperature);
      EXPECT_EQ(one.loss, more.loss);
      EXPECT_EQ(one.grad, more.grad);
    }
  }
}

// Where nothing but its own view weighs, the sum holds that view's exp(0) in place of its own.
RC_GTEST_PROP(WeightedRepulsion, WithoutPositivesRepelsAsSimClr, ()) {
  const Batch batch(*rc::gen::arbitrary<std::uint32_t>(), *rc::gen::inRange<std::int64_t>(2, 20), 5,
                    2);
  auto p = batch.problem();
  p.own_view_only = p.weighted_repulsion = true;
  double expected = 0;
  for (std::int64_t t = 0; t < 2 * p.n; ++t) {
    const auto s = [&](std::int64_t i) {
      double dot = 0, tt = 0, ii = 0;
      for (std::int64_t k = 0; k < p.dim; ++k) {
        const double x = p.z[t * p.dim + k], y = p.z[i * p.dim + k];
        dot += x * y, tt += x * x, ii += y * y;
      }
      return (dot / std::sqrt(tt * ii) - 1) / p.temperature;
    };
    double sum = 1;
    for (std::int64_t i = 0; i < 2 * p.n; ++i)
      if (i % p.n != t % p.n) sum += std::exp(s(i));
    expected += (std::log(sum) - s((t + p.n) % (2 * p.n))) / static_cast<double>(2 * p.n);
  }
  RC_ASSERT(std::abs(evaluate(p, 7).loss - expected) <= 1e-11 * (1 + std::abs(expected)));
}

}  // namespace
}  // namespace wsp::train::test

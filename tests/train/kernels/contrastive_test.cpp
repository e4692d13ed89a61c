#include "train/kernels/contrastive.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <limits>
#include <random>

#include "io/core/error.hpp"
#include "train/kernels/contrastive_batch.hpp"
#include "train/kernels/contrastive_reference.hpp"

namespace wsp::train::test {
namespace {

void expect_close(const Evaluated& a, const Evaluated& b, double tolerance) {
  EXPECT_NEAR(a.loss, b.loss, tolerance * (1 + std::abs(b.loss)));
  ASSERT_EQ(a.grad.size(), b.grad.size());
  double largest = 1;
  for (const double g : b.grad) largest = std::max(largest, std::abs(g));
  for (std::size_t i = 0; i < a.grad.size(); ++i)
    ASSERT_NEAR(a.grad[i], b.grad[i], tolerance * largest) << "gradient " << i;
}

TEST(Contrastive, EqualsAnExplicitDoubleLoop) {
  for (const std::int64_t n : {1, 2, 5, 19})
    for (int number = 0; number < kVariants; ++number)
      for (const auto normalisation : {Normalisation::paper, Normalisation::reference}) {
        if (number == 8) continue;  // the plain loop's exponentials vanish at such temperatures
        const Batch batch(static_cast<std::uint32_t>(n), n, 6, 3);
        auto p = variant(batch, number);
        p.normalisation = normalisation;
        SCOPED_TRACE("n " + std::to_string(n) + " variant " + std::to_string(number));
        const double expected = loss_by_loops(p);
        EXPECT_NEAR(evaluate(p, 4).loss, expected, 1e-11 * (1 + std::abs(expected)));
      }
}

TEST(Contrastive, GradientEqualsFiniteDifferencesOfTheDoubleLoop) {
  for (int number = 0; number < kVariants - 1; ++number)
    for (const auto normalisation : {Normalisation::paper, Normalisation::reference}) {
      Batch batch(17, 5, 4, 2);
      auto p = variant(batch, number);
      p.normalisation = normalisation;
      const Evaluated found = evaluate(p, 3);
      for (std::size_t i = 0; i < batch.z.size(); ++i) {
        const double value = batch.z[i];
        const double step = 1e-4;
        // Fourth order: differences of a loss of size 1 are then good to about 1e-11 / step.
        const auto at = [&](double offset) {
          batch.z[i] = value + offset;
          return loss_by_loops(p);
        };
        const double slope =
            (8 * (at(step) - at(-step)) - (at(2 * step) - at(-2 * step))) / (12 * step);
        batch.z[i] = value;
        ASSERT_NEAR(found.grad[i], slope, 1e-8) << "variant " << number << ", entry " << i;
      }
    }
}

TEST(Contrastive, SomeRowsByLoopsOverPairsEqualTheTiles) {
  for (const std::int64_t n : {1, 2, 37, 70})
    for (int number = 0; number < kVariants - 1; ++number) {
      const Batch batch(static_cast<std::uint32_t>(n + number), n, 6, 3);
      const auto p = variant(batch, number);
      const std::vector<std::int64_t> rows = {2 * n - 1, 0, n, n / 2};
      const Evaluated all = evaluate(p, 8), some = evaluate_at(p, rows);
      SCOPED_TRACE("n " + std::to_string(n) + " variant " + std::to_string(number));
      EXPECT_NEAR(some.loss, all.loss, 1e-11 * (1 + std::abs(all.loss)));
      for (std::size_t row = 0; row < rows.size(); ++row)
        for (std::size_t k = 0; k < 6; ++k)
          ASSERT_NEAR(some.grad[row * 6 + k], all.grad[static_cast<std::size_t>(rows[row]) * 6 + k],
                      1e-11);
    }
}

TEST(Contrastive, ThreadsNeverChangeABit) {
  const Batch batch(3, 37, 20, 3);
  for (int number = 0; number < kVariants; ++number)
    for (const std::int64_t tile : {1, 3, 8, 64}) {
      const auto p = variant(batch, number);
      const Evaluated one = evaluate(p, tile, 1);
      for (const int threads : {2, 8}) {
        const Evaluated more = evaluate(p, tile, threads);
        EXPECT_EQ(one.loss, more.loss);
        EXPECT_EQ(one.grad, more.grad);
      }
    }
}

TEST(Contrastive, TilesChangeRoundingOnly) {
  for (const std::int64_t n : {1, 4, 37, 70}) {
    const Batch batch(5, n, 20, 3);
    for (int number = 0; number < kVariants; ++number) {
      const auto p = variant(batch, number);
      const Evaluated whole = evaluate(p, 2 * n);
      for (const std::int64_t tile : {1, 3, 8, 64, 1000}) {
        SCOPED_TRACE("variant " + std::to_string(number) + " tile " + std::to_string(tile));
        expect_close(evaluate(p, tile), whole, 1e-13);
      }
    }
  }
}

TEST(Contrastive, FloatsAreSummedInDouble) {
  const Batch batch(9, 40, 64, 4);
  std::vector<float> z(batch.z.begin(), batch.z.end());
  Batch rounded = batch;
  rounded.z.assign(z.begin(), z.end());
  const auto p = rounded.problem();
  const Evaluated expected = evaluate(p, 16);

  ContrastiveProblem<float> narrow;
  narrow.z = z.data();
  narrow.n = p.n;
  narrow.dim = p.dim;
  narrow.label = p.label;
  narrow.depth = p.depth;
  narrow.sigma = p.sigma;
  narrow.temperature = p.temperature;
  std::vector<float> grad(z.size());
  EXPECT_EQ(contrastive_loss_cpu(narrow, 16, grad.data()), expected.loss);
  for (std::size_t i = 0; i < grad.size(); ++i)
    ASSERT_EQ(grad[i], static_cast<float>(expected.grad[i]));
}

TEST(Contrastive, LengthOfAnEmbeddingHasNoEffect) {
  Batch batch(11, 6, 5, 2);
  const Evaluated before = evaluate(batch.problem(), 8);
  for (std::size_t i = 0; i < 5; ++i) batch.z[i] *= 8;
  const Evaluated after = evaluate(batch.problem(), 8);
  EXPECT_DOUBLE_EQ(before.loss, after.loss);
  double along = 0;
  for (std::size_t i = 0; i < 5; ++i) {
    EXPECT_NEAR(after.grad[i], before.grad[i] / 8, 1e-14);
    along += after.grad[i] * batch.z[i];
  }
  EXPECT_NEAR(along, 0, 1e-13);
}

TEST(Contrastive, AZeroEmbeddingStaysFiniteAndANaNIsNotHidden) {
  Batch batch(13, 6, 5, 2);
  std::fill_n(batch.z.begin(), 5, 0.0);
  const Evaluated zero = evaluate(batch.problem(), 4);
  EXPECT_TRUE(std::isfinite(zero.loss));
  for (const double g : zero.grad) EXPECT_TRUE(std::isfinite(g));
  batch.z[7] = std::numeric_limits<double>::quiet_NaN();
  EXPECT_FALSE(std::isfinite(evaluate(batch.problem(), 4).loss));
}

TEST(Contrastive, RefusesWhatHasNoMeaning) {
  const Batch batch(1, 3, 2, 2);
  const auto refuses = [&](auto change, std::int64_t tile = 8) {
    auto p = batch.problem();
    change(p);
    EXPECT_THROW(contrastive_loss_cpu<double>(p, tile, nullptr), Error);
  };
  refuses([](auto& p) { p.n = 0; });
  refuses([](auto& p) { p.dim = 0; });
  refuses([](auto& p) { p.z = nullptr; });
  refuses([](auto& p) { p.sigma = 0; });
  refuses([](auto& p) { p.temperature = std::numeric_limits<double>::quiet_NaN(); });
  refuses([](auto& p) { p.continuous_columns = 1; });
  refuses([](auto& p) { p.discrete_columns = 1; });
  refuses([](auto&) {}, 0);
}

// The paper's limits, on random batches.

Batch any_batch(int classes, bool some_unknown) {
  const auto n = *rc::gen::inRange<std::int64_t>(1, 24);
  const auto dim = *rc::gen::inRange<std::int64_t>(2, 12);
  return Batch(*rc::gen::arbitrary<std::uint32_t>(), n, dim, classes, some_unknown);
}

Normalisation any_normalisation() {
  return *rc::gen::element(Normalisation::paper, Normalisation::reference);
}

void require_close(const Evaluated& a, const Evaluated& b, double factor = 1) {
  RC_ASSERT(std::abs(a.loss - factor * b.loss) <= 1e-11 * (1 + std::abs(a.loss)));
  for (std::size_t i = 0; i < a.grad.size(); ++i)
    RC_ASSERT(std::abs(a.grad[i] - factor * b.grad[i]) <= 1e-9);
}

RC_GTEST_PROP(ContrastiveLimits, AnInfiniteSigmaIsSupCon, ()) {
  const Batch batch = any_batch(3, true);
  auto wsp = batch.problem();
  wsp.normalisation = any_normalisation();
  wsp.shape = *rc::gen::element(KernelShape::rbf, KernelShape::laplacian);
  wsp.sigma = 1e9;
  auto supcon = wsp;
  supcon.depth = nullptr;
  // The published WSP divides its sum over 2N anchors by N, the published SupCon by 2N.
  require_close(evaluate(wsp, 7), evaluate(supcon, 7),
                wsp.normalisation == Normalisation::reference ? 2 : 1);
}

RC_GTEST_PROP(ContrastiveLimits, OneClassIsDepthAware, ()) {
  const Batch batch = any_batch(1, false);
  auto wsp = batch.problem();
  wsp.normalisation = any_normalisation();
  auto aware = wsp;
  aware.label_matters = false;
  require_close(evaluate(wsp, 7), evaluate(aware, 7));
}

RC_GTEST_PROP(ContrastiveLimits, AllDistinctLabelsAreSimClr, ()) {
  Batch batch = any_batch(2, true);
  for (std::size_t i = 0; i < batch.label.size(); ++i)
    batch.label[i] = static_cast<std::int64_t>(i) * 3;
  auto wsp = batch.problem();
  wsp.normalisation = any_normalisation();
  auto simclr = wsp;
  simclr.own_view_only = true;
  require_close(evaluate(wsp, 7), evaluate(simclr, 7));
  std::fill(batch.label.begin(), batch.label.end(), -1);
  require_close(evaluate(wsp, 7), evaluate(simclr, 7));
}

RC_GTEST_PROP(ContrastiveLimits, SmallSigmaWithDistinctDepthsIsSimClr, ()) {
  Batch batch = any_batch(1, false);
  for (std::size_t i = 0; i < batch.depth.size(); ++i) batch.depth[i] = static_cast<double>(i);
  auto wsp = batch.problem();
  wsp.sigma = 1e-3;
  auto simclr = wsp;
  simclr.own_view_only = true;
  require_close(evaluate(wsp, 7), evaluate(simclr, 7));
}

RC_GTEST_PROP(ContrastiveLimits, OrderOfTheSlicesHasNoEffect, ()) {
  const Batch batch = any_batch(3, true);
  std::vector<std::size_t> order(static_cast<std::size_t>(batch.n));
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::mt19937 random(*rc::gen::arbitrary<std::uint32_t>());
  std::shuffle(order.begin(), order.end(), random);
  Batch shuffled = batch;
  for (std::size_t i = 0; i < order.size(); ++i) {
    shuffled.label[i] = batch.label[order[i]];
    shuffled.depth[i] = batch.depth[order[i]];
    for (std::size_t view = 0; view < 2; ++view)
      std::copy_n(
          batch.z.begin() + static_cast<std::ptrdiff_t>((view * order.size() + order[i]) *
                                                        static_cast<std::size_t>(batch.dim)),
          batch.dim,
          shuffled.z.begin() + static_cast<std::ptrdiff_t>((view * order.size() + i) *
                                                           static_cast<std::size_t>(batch.dim)));
  }
  const double before = evaluate(batch.problem(), 7).loss;
  const double after = evaluate(shuffled.problem(), 7).loss;
  RC_ASSERT(std::abs(before - after) <= 1e-12 * (1 + std::abs(before)));
}

}  // namespace
}  // namespace wsp::train::test

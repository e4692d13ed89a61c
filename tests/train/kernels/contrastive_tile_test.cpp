// The code of the CUDA kernels, run on the host thread by thread, beside the reference in float64.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <limits>

#include "train/kernels/contrastive_batch.hpp"
#include "train/kernels/contrastive_reference.hpp"
#include "train/kernels/host_blocks.hpp"

namespace wsp::train::test {
namespace {

using Precision = ContrastivePrecision;

/// Loss and gradient by the passes of the kernels, from embeddings of `type`; splits 0: as planned.
template <class Launch>
Evaluated by_tiles(const ContrastiveProblem<void>& problem, EmbeddingType type, Precision precision,
                   bool with_gradient = true, std::int64_t splits = 0) {
  ContrastiveWork work{};
  EXPECT_TRUE(plan_contrastive(problem, work));
  if (splits > 0) work.splits = splits;
  std::vector<double> workspace(lay_out(work, precision, nullptr) / sizeof(double),
                                std::numeric_limits<double>::quiet_NaN());
  lay_out(work, precision, workspace.data());
  std::vector<float> grad(static_cast<std::size_t>(2 * problem.n * problem.dim), -7);
  Evaluated result;
  work.type = type;
  work.loss = &result.loss;
  work.grad = with_gradient ? grad.data() : nullptr;
  const Launch launch{work};
  const int error = precision == Precision::tensor ? run_contrastive<TensorProduct>(work, launch)
                                                   : run_contrastive<ExactProduct>(work, launch);
  EXPECT_EQ(error, 0);
  result.grad.assign(grad.begin(), grad.end());
  return result;
}

/// Relative to 1 + |loss| and to the largest entry of the gradient.
struct Distance {
  double loss = 0, grad = 0;

  void widen(const Evaluated& found, const Evaluated& expected) {
    double largest = 0, worst = 0;
    for (std::size_t i = 0; i < expected.grad.size(); ++i) {
      largest = std::max(largest, std::abs(expected.grad[i]));
      worst = std::max(worst, std::abs(found.grad[i] - expected.grad[i]));
      if (!std::isfinite(found.grad[i])) worst = std::numeric_limits<double>::infinity();
    }
    loss = std::max(loss, std::abs(found.loss - expected.loss) / (1 + std::abs(expected.loss)));
    // With one slice there is nothing to tell apart, and the gradient is 0.
    grad = std::max(grad, worst / std::max(largest, 1e-3));
    if (!std::isfinite(found.loss)) loss = std::numeric_limits<double>::infinity();
  }
};

/// A batch whose embeddings are floats, and these.
struct FloatBatch : Batch {
  std::vector<float> floats;
  FloatBatch(std::uint32_t seed, std::int64_t slices, std::int64_t width)
      : Batch(seed, slices, width, 3), floats(z.begin(), z.end()) {
    z.assign(floats.begin(), floats.end());
  }
};

/// Largest distance over all members of the family and both normalisations; sizes that are no
/// multiples of a tile, of a block of rows, of 16 dimensions or of what is staged at once.
Distance over_the_family(Precision precision, bool small_temperature) {
  Distance distance;
  struct Size {
    std::int64_t n, dim;
  };
  for (const Size size : {Size{1, 3}, Size{2, 16}, Size{5, 6}, Size{33, 40}, Size{64, 32},
                          Size{70, 130}, Size{130, 20}})
    for (int number = 0; number < kVariants; ++number) {
      if ((number == 8) != small_temperature) continue;
      for (const auto normalisation : {Normalisation::paper, Normalisation::reference}) {
        const FloatBatch batch(static_cast<std::uint32_t>(31 * size.n + number), size.n, size.dim);
        auto p = variant(batch, number);
        p.normalisation = normalisation;
        distance.widen(by_tiles<SerialLaunch>(with_embeddings(p, batch.floats.data()),
                                              EmbeddingType::f32, precision),
                       evaluate(p, 32));
      }
    }
  std::cout << (precision == Precision::exact ? "float32" : "tensor cores")
            << (small_temperature ? ", temperature 0.001" : "") << ": loss within " << distance.loss
            << ", gradient within " << distance.grad << " of its largest entry\n";
  return distance;
}

TEST(ContrastiveTiles, Float32EqualsTheReference) {
  const Distance distance = over_the_family(Precision::exact, false);
  EXPECT_LE(distance.loss, 2e-6);
  EXPECT_LE(distance.grad, 1e-5);
}

TEST(ContrastiveTiles, TensorCoresEqualTheReferenceWithinHalfPrecision) {
  const Distance distance = over_the_family(Precision::tensor, false);
  EXPECT_LE(distance.loss, 5e-4);
  EXPECT_LE(distance.grad, 4e-3);
}

TEST(ContrastiveTiles, SoftmaxesAreStreamedWithoutOverflow) {
  // Similarities reach 1,000: their rounding, 6e-5, is that of the probabilities and of the loss.
  const Distance distance = over_the_family(Precision::exact, true);
  EXPECT_LE(distance.loss, 3e-4);
  EXPECT_LE(distance.grad, 3e-4);
}

TEST(ContrastiveTiles, TakesEmbeddingsInHalfPrecision) {
  const FloatBatch batch(4, 40, 24);
  std::vector<std::uint16_t> f16, bf16;
  Batch as_f16 = batch, as_bf16 = batch;
  for (std::size_t i = 0; i < batch.floats.size(); ++i) {
    f16.push_back(half_bits(batch.floats[i]));
    as_f16.z[i] = half_value(f16.back());
    std::uint32_t wide = 0;
    std::memcpy(&wide, &batch.floats[i], sizeof wide);
    bf16.push_back(static_cast<std::uint16_t>(wide >> 16));
    as_bf16.z[i] = bfloat16_value(bf16.back());
  }
  Distance distance;
  for (const auto precision : {Precision::exact, Precision::tensor}) {
    distance.widen(by_tiles<SerialLaunch>(with_embeddings(as_f16.problem(), f16.data()),
                                          EmbeddingType::f16, precision),
                   evaluate(as_f16.problem(), 32));
    distance.widen(by_tiles<SerialLaunch>(with_embeddings(as_bf16.problem(), bf16.data()),
                                          EmbeddingType::bf16, precision),
                   evaluate(as_bf16.problem(), 32));
  }
  EXPECT_LE(distance.loss, 5e-4);
  EXPECT_LE(distance.grad, 4e-3);
}

TEST(ContrastiveTiles, TheLossAloneIsTheSame) {
  const FloatBatch batch(5, 40, 24);
  const auto p = with_embeddings(batch.problem(), batch.floats.data());
  const Evaluated alone = by_tiles<SerialLaunch>(p, EmbeddingType::f32, Precision::exact, false);
  EXPECT_EQ(alone.loss, by_tiles<SerialLaunch>(p, EmbeddingType::f32, Precision::exact).loss);
  EXPECT_EQ(alone.grad.front(), -7);
}

TEST(ContrastiveTiles, AnUnknownCoordinateMatchesOnlyItself) {
  FloatBatch batch(6, 70, 8);
  FloatBatch unknown = batch;
  unknown.depth[3] = std::numeric_limits<double>::quiet_NaN();
  batch.label[3] = -1;
  const auto found =
      by_tiles<SerialLaunch>(with_embeddings(unknown.problem(), unknown.floats.data()),
                             EmbeddingType::f32, Precision::exact);
  Distance distance;
  distance.widen(found, evaluate(batch.problem(), 16));
  EXPECT_LE(distance.loss, 2e-6);
  EXPECT_LE(distance.grad, 1e-5);
}

TEST(ContrastiveTiles, NarrowKernelsKeepTheirWeights) {
  // Depths near 1 and a sigma of 1e-3: a difference of floats would be off by a part in 30 of
  // sigma.
  FloatBatch batch(7, 70, 8);
  for (double& depth : batch.depth) depth = 0.99 + depth / 200;
  Distance distance;
  for (const auto shape : {KernelShape::rbf, KernelShape::laplacian}) {
    auto p = batch.problem();
    p.shape = shape;
    p.sigma = shape == KernelShape::rbf ? 1e-3 : 0.03;
    distance.widen(by_tiles<SerialLaunch>(with_embeddings(p, batch.floats.data()),
                                          EmbeddingType::f32, Precision::exact),
                   evaluate(p, 16));
  }
  EXPECT_LE(distance.loss, 2e-6);
  EXPECT_LE(distance.grad, 1e-5);
}

TEST(ContrastiveTiles, AZeroEmbeddingStaysFiniteAndANaNIsNotHidden) {
  FloatBatch batch(8, 40, 5);
  std::fill_n(batch.floats.begin(), 5, 0.0F);
  const auto p = with_embeddings(batch.problem(), batch.floats.data());
  for (const auto precision : {Precision::exact, Precision::tensor}) {
    const Evaluated zero = by_tiles<SerialLaunch>(p, EmbeddingType::f32, precision);
    EXPECT_TRUE(std::isfinite(zero.loss));
    for (const double g : zero.grad) ASSERT_TRUE(std::isfinite(g));
    for (const float bad :
         {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
      batch.floats[7] = bad;
      const Evaluated found = by_tiles<SerialLaunch>(p, EmbeddingType::f32, precision);
      EXPECT_FALSE(std::isfinite(found.loss));
      EXPECT_FALSE(std::isfinite(found.grad[11]));
    }
    batch.floats[7] = 1;
  }
}

TEST(ContrastiveTiles, SplitsOfTheColumnsChangeRoundingOnly) {
  const FloatBatch batch(10, 130, 20);
  const auto p = with_embeddings(batch.problem(), batch.floats.data());
  const Evaluated expected = evaluate(batch.problem(), 32);
  Distance distance;
  for (const std::int64_t splits : {1, 2, 4, 5})
    distance.widen(by_tiles<SerialLaunch>(p, EmbeddingType::f32, Precision::exact, true, splits),
                   expected);
  EXPECT_LE(distance.loss, 2e-6);
  EXPECT_LE(distance.grad, 1e-5);
}

TEST(ContrastiveTiles, ThreadsOfABlockWaitForEachOther) {
  // 128 host threads with barriers and two tiles for a block: ThreadSanitizer sees what is not
  // ordered; here the bits must be those of one thread.
  const FloatBatch batch(9, 34, 34);
  auto p = batch.problem();
  p.normalisation = Normalisation::reference;
  for (const auto precision : {Precision::exact, Precision::tensor}) {
    const auto problem = with_embeddings(p, batch.floats.data());
    const Evaluated serial =
        by_tiles<SerialLaunch>(problem, EmbeddingType::f32, precision, true, 1);
    const Evaluated parallel =
        by_tiles<ParallelLaunch>(problem, EmbeddingType::f32, precision, true, 1);
    EXPECT_EQ(serial.loss, parallel.loss);
    EXPECT_EQ(serial.grad, parallel.grad);
  }
}

TEST(ContrastiveTiles, MemoryGrowsWithTheBatchNotItsSquare) {
  ContrastiveProblem<void> p;
  p.dim = 128;
  const auto bytes = [&](std::int64_t n) {
    p.n = n;
    ContrastiveWork work{};
    EXPECT_TRUE(plan_contrastive(p, work));
    return static_cast<double>(lay_out(work, Precision::tensor, nullptr));
  };
  EXPECT_LT(bytes(8192), 64e6);
  EXPECT_LT(bytes(32768), 64e6);
  EXPECT_NEAR(bytes(1 << 20) / bytes(1 << 19), 2, 0.01);
}

TEST(ContrastiveTiles, RefusesWhatHasNoMeaning) {
  const FloatBatch batch(1, 3, 2);
  const auto refuses = [&](auto change) {
    auto p = with_embeddings(batch.problem(), batch.floats.data());
    change(p);
    ContrastiveWork work{};
    EXPECT_FALSE(plan_contrastive(p, work));
  };
  refuses([](auto& p) { p.n = 0; });
  refuses([](auto& p) { p.dim = 0; });
  refuses([](auto& p) { p.weighted_repulsion = true; });
  refuses([](auto& p) { p.sigma = 0; });
  refuses([](auto& p) { p.temperature = std::numeric_limits<double>::quiet_NaN(); });
  refuses([](auto& p) { p.continuous_columns = 1; });
  refuses([](auto& p) { p.discrete_columns = 1; });
  refuses([&](auto& p) {
    p.continuous = batch.continuous.data();
    p.continuous_sigma = batch.continuous_sigma.data();
    p.continuous_columns = kMostCoordinates;  // and the depth
  });
}

}  // namespace
}  // namespace wsp::train::test

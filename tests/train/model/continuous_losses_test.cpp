// Losses of labels that are numbers.
#include <gtest/gtest.h>

#include <cmath>

#include "io/core/error.hpp"
#include "losses_support.hpp"
#include "train/model/contrastive_problem.hpp"
#include "train/model/kernel_rows.hpp"
#include "train/model/losses.hpp"

namespace wsp::train {
namespace {

using test::Batch;
using test::contrastive;
using test::contrastive_by_loops;
using test::differentiate;
using test::distance;
using test::kDouble;
using test::random_batch;
using test::ValueAndGradient;
using torch::Tensor;

// Losses of a continuous label
// ---------------------------------------------------------------------

/// A batch with one number a slice, some of them equal and some unknown.
Batch numbered_batch(std::int64_t seed, std::int64_t n, std::int64_t dim) {
  Batch batch = random_batch(seed, n, dim, 3);
  batch.targets.value = torch::randint(20, 30, {n}, kDouble) / 4;
  batch.targets.value[n / 2] = std::nan("");
  batch.targets.continuous = batch.targets.value.unsqueeze(0);
  batch.targets.continuous_sigma = {0.8};
  return batch;
}

KernelOptions number_kernel() {
  KernelOptions kernel;
  kernel.use_label = kernel.use_depth = false;
  return kernel;
}

template <class Loss>
ValueAndGradient of_z(const Batch& batch, torch::ScalarType type, const Loss& loss) {
  return differentiate({batch.z().to(type)},
                       [&](const std::vector<Tensor>& leaves) { return loss(leaves[0]); });
}

// y-Aware is the contrastive loss of a Gaussian column alone.
TEST(ContinuousLosses, YAwareEqualsTheLoops) {
  for (const std::int64_t n : {2, 7}) {
    Batch batch = numbered_batch(n, n, 5);
    batch.targets.value.fill_(0);  // has no effect
    batch.targets.continuous = torch::rand({1, n}, kDouble) * 4;
    const double expected = contrastive_by_loops(batch, number_kernel(), 0.2);
    for (const std::int64_t tile : {0, 3})
      EXPECT_NEAR(contrastive(batch.z(), batch.targets, number_kernel(), 0.2, tile).loss, expected,
                  1e-10);
  }
}

TEST(ContinuousLosses, TheDenseFormsEqualTheKernelsOfTheCpu) {
  for (const std::int64_t n : {2, 5, 23}) {
    const Batch batch = numbered_batch(n, n, 6);
    const Targets& targets = batch.targets;
    const auto exponential = of_z(batch, kDouble, [&](const Tensor& z) {
      return weighted_repulsion_loss(z, targets, number_kernel(), 0.2, 4);
    });
    const auto dense = of_z(batch, kDouble, [&](const Tensor& z) {
      return dense_weighted_repulsion_loss(z, targets, number_kernel(), 0.2);
    });
    EXPECT_NEAR(exponential.loss, dense.loss, 1e-9);
    EXPECT_LT(distance(exponential.gradient, dense.gradient), 1e-9);
    const auto ranks = of_z(
        batch, kDouble, [&](const Tensor& z) { return rank_contrast_loss(z, targets, 1.3, 4); });
    const auto dense_ranks = of_z(batch, kDouble, [&](const Tensor& z) {
      return dense_rank_contrast_loss(z, targets.value, 1.3);
    });
    EXPECT_NEAR(ranks.loss, dense_ranks.loss, 1e-9);
    EXPECT_LT(distance(ranks.gradient, dense_ranks.gradient), 1e-9);
    EXPECT_EQ(ranks.gradient[n / 2].abs().max().item<double>(), 0);
  }
}

TEST(ContinuousLosses, HalfPrecisionIsComputedInFloatAndFloatIsCloseToDouble) {
  const Batch batch = numbered_batch(3, 9, 16);
  for (const bool exponential : {true, false}) {
    const auto loss = [&](const Tensor& z) {
      return exponential ? weighted_repulsion_loss(z, batch.targets, number_kernel(), 0.2)
                         : rank_contrast_loss(z, batch.targets, 2);
    };
    const auto exact = of_z(batch, kDouble, loss), single = of_z(batch, torch::kFloat, loss);
    EXPECT_NEAR(single.loss, exact.loss, 1e-5 * (1 + exact.loss));
    EXPECT_LT(distance(single.gradient.to(kDouble), exact.gradient), 1e-5);
    EXPECT_EQ(loss(batch.z().to(torch::kBFloat16)).scalar_type(), torch::kFloat);
    const torch::NoGradGuard no_grad;
    EXPECT_EQ(loss(batch.z()).item<double>(), exact.loss);
  }
}

TEST(ContinuousLosses, NobodyKnownIsNoGradient) {
  Batch batch = numbered_batch(5, 4, 3);
  batch.targets.value.fill_(std::nan(""));
  for (const bool dense : {true, false}) {
    const auto found = of_z(batch, kDouble, [&](const Tensor& z) {
      return dense ? dense_rank_contrast_loss(z, batch.targets.value, 2)
                   : rank_contrast_loss(z, batch.targets, 2);
    });
    EXPECT_EQ(found.loss, 0);
    EXPECT_EQ(found.gradient.abs().max().item<double>(), 0);
  }
}

TEST(ContinuousLosses, RefuseWhatHasNoMeaning) {
  const Batch batch = numbered_batch(7, 4, 3);
  Targets none = batch.targets;
  none.value = Tensor();
  none.continuous = Tensor();
  EXPECT_THROW(rank_contrast_loss(batch.z(), none, 2), Error);
  EXPECT_THROW(contrastive_loss(batch.z(), none, number_kernel(), 0.1), Error);
  EXPECT_THROW(weighted_repulsion_loss(batch.z(), none, number_kernel(), 0.1), Error);
  none.value = torch::rand({3}, kDouble);
  EXPECT_THROW(rank_contrast_loss(batch.z(), none, 2), Error);
  EXPECT_THROW(rank_contrast_loss(batch.z(), batch.targets, 0), Error);
  EXPECT_THROW(rank_contrast_loss(batch.z(), batch.targets, 2, -1), Error);
  EXPECT_THROW(weighted_repulsion_loss(batch.z(), batch.targets, number_kernel(), 0.1, -1), Error);
}

}  // namespace
}  // namespace wsp::train

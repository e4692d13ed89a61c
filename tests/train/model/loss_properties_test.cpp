// What must hold of the losses for any batch.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cmath>

#include "losses_support.hpp"
#include "train/model/contrastive_problem.hpp"
#include "train/model/kernel_rows.hpp"
#include "train/model/losses.hpp"

namespace wsp::train {
namespace {

using test::add_columns;
using test::Batch;
using test::contrastive;
using test::depth_kernel;
using test::distance;
using test::every_kernel;
using test::kDouble;
using test::kLong;
using test::random_batch;
using test::simclr_kernel;
using test::supcon_kernel;
using test::ValueAndGradient;
using test::wsp_kernel;
using torch::Tensor;

// Properties ------------------------------------------------------------------------------------

void expect_same(const ValueAndGradient& a, const ValueAndGradient& b, double tolerance) {
  RC_ASSERT(std::abs(a.loss - b.loss) < tolerance);
  RC_ASSERT(distance(a.gradient, b.gradient) < tolerance);
}

struct Draw {
  Batch batch;
  std::int64_t n, tile;
};

Draw any_batch() {
  const auto seed = *rc::gen::inRange<std::int64_t>(0, 1 << 30);
  const auto n = *rc::gen::inRange<std::int64_t>(2, 10);
  const auto dim = *rc::gen::inRange<std::int64_t>(2, 9);
  return {random_batch(seed, n, dim, 3), n, *rc::gen::element<std::int64_t>(0, 1, 2, 7)};
}

RC_GTEST_PROP(LossProperties, WideSigmaIsSupCon, ()) {
  const Draw draw = any_batch();
  KernelOptions wide = wsp_kernel();
  wide.sigma = 1e6;
  const Tensor z = draw.batch.z();
  expect_same(contrastive(z, draw.batch.targets, wide, 0.1, draw.tile),
              contrastive(z, draw.batch.targets, supcon_kernel(), 0.1, draw.tile), 1e-9);
}

RC_GTEST_PROP(LossProperties, OneClassIsDepthAware, ()) {
  Draw draw = any_batch();
  draw.batch.targets.label.fill_(2);
  const Tensor z = draw.batch.z();
  expect_same(contrastive(z, draw.batch.targets, wsp_kernel(), 0.1, draw.tile),
              contrastive(z, draw.batch.targets, depth_kernel(), 0.1, draw.tile), 1e-12);
}

RC_GTEST_PROP(LossProperties, DistinctOrUnknownLabelsAreSimClr, ()) {
  Draw draw = any_batch();
  draw.batch.targets.label =
      *rc::gen::arbitrary<bool>() ? torch::arange(draw.n, kLong) : torch::full({draw.n}, -1, kLong);
  const Tensor z = draw.batch.z();
  expect_same(contrastive(z, draw.batch.targets, wsp_kernel(), 0.1, draw.tile),
              contrastive(z, draw.batch.targets, simclr_kernel(), 0.1, draw.tile), 1e-12);
}

RC_GTEST_PROP(LossProperties, TheOrderOfSlicesAndOfViewsDoesNotMatter, ()) {
  Draw draw = any_batch();
  add_columns(draw.batch);
  const Batch& batch = draw.batch;
  const Tensor order = torch::randperm(draw.n, kLong);
  Targets moved;
  moved.label = batch.targets.label.index_select(0, order);
  moved.depth = batch.targets.depth.index_select(0, order);
  moved.discrete = batch.targets.discrete.index_select(1, order);
  moved.continuous = batch.targets.continuous.index_select(1, order);
  moved.continuous_sigma = batch.targets.continuous_sigma;
  const Tensor z1 = batch.z1.index_select(0, order), z2 = batch.z2.index_select(0, order);
  const auto kernel = *rc::gen::elementOf(every_kernel());
  const double loss = contrastive(batch.z(), batch.targets, kernel, 0.2, draw.tile).loss;
  const double swapped = contrastive(torch::cat({z2, z1}), moved, kernel, 0.2, draw.tile).loss;
  RC_ASSERT(std::abs(loss - swapped) < 1e-10);
  const double barlow =
      kernel_barlow_loss(batch.z1, batch.z2, batch.targets, kernel, 0.01).item<double>();
  RC_ASSERT(std::abs(barlow - kernel_barlow_loss(z2, z1, moved, kernel, 0.01).item<double>()) <
            1e-9);
}

RC_GTEST_PROP(LossProperties, TheKernelIsSymmetricWithOnesOnTheDiagonal, ()) {
  Draw draw = any_batch();
  add_columns(draw.batch);
  draw.batch.targets.continuous[0][0] = std::nan("");
  const Tensor k = composite_kernel(draw.batch.targets, *rc::gen::elementOf(every_kernel()));
  RC_ASSERT(torch::equal(k, k.t()));
  RC_ASSERT(torch::equal(k.diagonal(), torch::ones({draw.n}, kDouble)));
  RC_ASSERT(k.min().item<double>() >= 0 && k.max().item<double>() <= 1);
  // An unknown value is like no other.
  RC_ASSERT(k[0].sum().item<double>() == 1.0);
}

}  // namespace
}  // namespace wsp::train

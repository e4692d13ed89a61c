// Our CUDA kernels through LibTorch's tensors, streams and autograd.
#include <gtest/gtest.h>

#include <cstdio>

#include "io/core/error.hpp"
#include "train/engine/views.hpp"
#include "train/model/cuda_kernels.hpp"

namespace wsp::train::test {
namespace {

using torch::Tensor;

#define WSP_SKIP_WITHOUT_TORCH_CARD()                                        \
  if (!torch::cuda::is_available()) {                                        \
    std::fprintf(stderr, "*** NO CUDA DEVICE: this test did not run ***\n"); \
    GTEST_SKIP() << "no CUDA device";                                        \
  }

Targets random_targets(std::int64_t n) {
  Targets targets;
  targets.label = torch::randint(-1, 3, {n}, torch::kLong);
  targets.depth = torch::rand({n}, torch::kDouble);
  targets.discrete = torch::randint(0, 2, {1, n}, torch::kLong);
  targets.continuous = torch::randn({1, n}, torch::kDouble);
  targets.continuous_sigma = {0.7};
  return targets;
}

Targets to_card(const Targets& host) {
  Targets targets = host;
  for (Tensor* column : {&targets.label, &targets.depth, &targets.discrete, &targets.continuous})
    *column = column->to(torch::kCUDA);
  return targets;
}

TEST(CudaGlue, LossAndGradientEqualThoseOfTorch) {
  WSP_SKIP_WITHOUT_TORCH_CARD();
  torch::manual_seed(5);
  const std::int64_t n = 150;
  const Targets host = random_targets(n);
  const Tensor z = torch::randn({2 * n, 96});
  for (const auto normalisation : {Normalisation::paper, Normalisation::reference})
    for (const bool own_view_only : {false, true}) {
      KernelOptions kernel;
      kernel.normalisation = normalisation;
      kernel.own_view_only = own_view_only;
      const Tensor reference = z.to(torch::kDouble).requires_grad_();
      (contrastive_loss(reference, host, kernel, 0.1) * 3).backward();
      for (const auto precision : {ContrastivePrecision::exact, ContrastivePrecision::tensor}) {
        const double tolerance = precision == ContrastivePrecision::exact ? 1e-5 : 1e-2;
        const Tensor leaf = z.to(torch::kCUDA).requires_grad_();
        const Tensor loss = contrastive_loss_cuda(leaf, to_card(host), kernel, 0.1, precision);
        EXPECT_EQ(loss.scalar_type(), torch::kFloat);
        (loss * 3).backward();
        const Tensor grad = leaf.grad().to(torch::kCPU, torch::kDouble);
        EXPECT_LE((grad - reference.grad()).abs().max().item<double>(),
                  tolerance * reference.grad().abs().max().item<double>());
      }
    }
  const torch::NoGradGuard no_grad;
  EXPECT_FALSE(
      contrastive_loss_cuda(z.to(torch::kCUDA), to_card(host), {}, 0.1, ContrastivePrecision::exact)
          .requires_grad());
}

TEST(CudaGlue, HalfPrecisionEmbeddingsGetTheirGradientInTheirType) {
  WSP_SKIP_WITHOUT_TORCH_CARD();
  const Targets targets = to_card(random_targets(20));
  const Tensor leaf = torch::randn({40, 32}, torch::kCUDA).to(torch::kBFloat16).requires_grad_();
  contrastive_loss_cuda(leaf, targets, {}, 0.1, ContrastivePrecision::tensor).backward();
  EXPECT_EQ(leaf.grad().scalar_type(), torch::kBFloat16);
}

TEST(CudaGlue, TooManyColumnsAreRefused) {
  WSP_SKIP_WITHOUT_TORCH_CARD();
  Targets targets = to_card(random_targets(20));
  targets.continuous = torch::randn({kMostCoordinates, 20}, torch::kCUDA).to(torch::kDouble);
  targets.continuous_sigma.assign(kMostCoordinates, 1.0);
  EXPECT_THROW(contrastive_loss_cuda(torch::randn({40, 32}, torch::kCUDA), targets, {}, 0.1,
                                     ContrastivePrecision::exact),
               Error);
}

TEST(CudaGlue, ViewsEqualThoseOfTheCpuBitForBit) {
  WSP_SKIP_WITHOUT_TORCH_CARD();
  const std::int64_t n = 4;
  const Tensor hu = torch::randint(-100, 401, {n, 130, 130}, torch::kShort);
  std::vector<ViewParameters> parameters;
  for (const int view : {0, 1})
    for (std::uint64_t i = 0; i < static_cast<std::uint64_t>(n); ++i)
      parameters.push_back(draw_view({}, 3, 0, i, view));
  const Tensor expected = draw_views(hu, parameters);
  const Tensor card = hu.to(torch::kCUDA);
  for (const auto type : {torch::kFloat, torch::kBFloat16, torch::kHalf}) {
    const Tensor found = draw_views(card, parameters, {true, type});
    EXPECT_EQ(found.scalar_type(), type);
    EXPECT_TRUE(torch::equal(found.to(torch::kCPU), expected.to(type)));
  }
}

}  // namespace
}  // namespace wsp::train::test

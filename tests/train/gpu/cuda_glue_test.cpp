// Our CUDA kernels through LibTorch's tensors, streams and autograd.
#include <gtest/gtest.h>

#include <cstdio>

#include "io/core/error.hpp"
#include "train/model/cuda_kernels.hpp"
#include "train/model/encoder.hpp"
#include "train/model/fused_pooling.hpp"
#include "train/model/method.hpp"
#include "train/pretrain/step_graph.hpp"
#include "train/pretrain/views.hpp"
#include "train/run/optimizer.hpp"

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
    for (const char* method : {"wsp", "simclr", "yaware"}) {
      KernelOptions kernel = contrastive_kernel(method).value();
      kernel.normalisation = normalisation;
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

TEST(CudaGlue, BiasReluAndPoolingEqualThoseOfTorch) {
  WSP_SKIP_WITHOUT_TORCH_CARD();
  for (const bool channels_last : {false, true})
    for (const auto type : {torch::kFloat, torch::kBFloat16, torch::kHalf}) {
      const auto format =
          channels_last ? torch::MemoryFormat::ChannelsLast : torch::MemoryFormat::Contiguous;
      const Tensor conv =
          torch::randn({3, 16, 33, 30}, torch::kCUDA).to(type).contiguous(format).requires_grad_();
      const Tensor bias = torch::randn({16}, torch::kCUDA).requires_grad_();
      const Tensor wide = conv.detach().to(torch::kFloat).requires_grad_();
      const Tensor wide_bias = bias.detach().clone().requires_grad_();
      const Tensor out = bias_relu_pool(conv, bias);
      const Tensor expected = torch::max_pool2d(wide + wide_bias.view({1, 16, 1, 1}), 2).relu();
      EXPECT_EQ(out.scalar_type(), type);
      EXPECT_TRUE(out.is_contiguous(format));
      EXPECT_TRUE(torch::equal(out, expected.to(type)));
      const Tensor gradient = torch::randn_like(out);
      out.backward(gradient);
      expected.backward(gradient.to(torch::kFloat));
      EXPECT_TRUE(torch::equal(conv.grad().to(torch::kFloat), wide.grad()));
      EXPECT_TRUE(torch::allclose(bias.grad(), wide_bias.grad(), 1e-3, 1e-3));
    }
}

TEST(CudaGlue, TinyNetByTheFusedLayersIsTheOneOfTorch) {
  WSP_SKIP_WITHOUT_TORCH_CARD();
  const auto gradient_of = [](bool ours) {
    torch::manual_seed(5);
    const auto net = make_encoder({"tinynet", Norm::batch, ours});
    net->to(torch::kCUDA);
    torch::manual_seed(6);
    net->forward(torch::rand({4, 1, 200, 200}, torch::kCUDA)).square().sum().backward();
    std::vector<Tensor> all;
    for (const Tensor& parameter : net->parameters())
      all.push_back(parameter.grad().flatten().to(torch::kCPU));
    return torch::cat(all);
  };
  const Tensor plain = gradient_of(false), fused = gradient_of(true);
  EXPECT_LT(((fused - plain).norm() / plain.norm()).item<double>(), 1e-3);
}

// The step as one graph: after the warm-up every batch is a replay, and the weights go the way of
// steps without it.
TEST(CudaGlue, AGraphTrainsAsStepsWithoutIt) {
  WSP_SKIP_WITHOUT_TORCH_CARD();
  const torch::Device card(torch::kCUDA, 0);
  for (const char* encoder : {"tinynet", "resnet18"})
    for (const bool kernels : {false, true}) {
      const auto train = [&](bool graph) {
        torch::manual_seed(7);
        MethodOptions options;
        if (kernels) options.cuda_loss = ContrastivePrecision::exact;
        auto method = make_method(options, make_encoder({encoder, Norm::batch, kernels}));
        method->to(card);
        method->train();
        FlatParameters parameters(*method);
        Optimizer optimizer(parameters, {});
        Ranks alone({}, card, 10);
        const GradScaler scaler(false);
        const auto work = [&](const Tensor& views, const Targets& targets) {
          return backward_batch(*method, views, targets, {}, scaler, alone);
        };
        StepGraph recorded(make_cuda_recorder(card), work);
        std::vector<double> losses;
        for (std::uint64_t batch = 0; batch < 8; ++batch) {
          torch::manual_seed(100 + batch);
          const Tensor views = torch::rand({16, 1, 160, 160}).to(card);
          const Targets targets = to_card(random_targets(8));
          losses.push_back(
              (graph ? recorded.run(views, targets) : work(views, targets)).loss.item<double>());
          optimizer.step(1e-3);
          parameters.zero_gradients();
        }
        EXPECT_EQ(recorded.recorded(), graph);
        return losses;
      };
      const auto usual = train(false), recorded = train(true);
      for (std::size_t i = 0; i < usual.size(); ++i)
        EXPECT_NEAR(recorded[i], usual[i], 1e-2 * usual[i]) << i;
    }
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

#include "train/model/fused_pooling.hpp"

#include <gtest/gtest.h>

#include "io/core/error.hpp"
#include "train/model/pooled_convolution.hpp"

namespace wsp::train {
namespace {

using torch::Tensor;

constexpr auto kPlanes = torch::MemoryFormat::Contiguous;
constexpr auto kLast = torch::MemoryFormat::ChannelsLast;

TEST(FusedPooling, IsBiasPoolingAndReluOfTorch) {
  torch::manual_seed(1);
  for (const auto format : {kPlanes, kLast})
    for (const auto& [h, w] : {std::pair{6, 8}, std::pair{7, 5}, std::pair{2, 3}}) {
      const Tensor map = torch::randn({3, 5, h, w}).contiguous(format);
      const Tensor b = torch::randn({5});
      const Tensor conv = map.clone().requires_grad_(), bias = b.clone().requires_grad_();
      const Tensor plain_conv = map.clone().requires_grad_(),
                   plain_bias = b.clone().requires_grad_();
      const Tensor found = bias_relu_pool(conv, bias);
      const Tensor expected =
          torch::max_pool2d(plain_conv + plain_bias.view({1, 5, 1, 1}), 2).relu();
      EXPECT_TRUE(torch::equal(found, expected));
      EXPECT_TRUE(found.is_contiguous(format));
      const Tensor gradient = torch::randn_like(found);
      found.backward(gradient);
      expected.backward(gradient);
      EXPECT_TRUE(torch::equal(conv.grad(), plain_conv.grad()));
      EXPECT_TRUE(torch::allclose(bias.grad(), plain_bias.grad(), 1e-5, 1e-6));
    }
}

TEST(FusedPooling, OfTwoLayersHasThePlainGradient) {
  torch::manual_seed(2);
  const auto weights = [] {
    torch::manual_seed(3);
    return std::vector<Tensor>{
        (torch::randn({16, 1, 5, 5}) / 5).requires_grad_(), torch::randn({16}).requires_grad_(),
        (torch::randn({8, 16, 5, 5}) / 20).requires_grad_(), torch::randn({8}).requires_grad_()};
  };
  const Tensor x = torch::rand({2, 1, 40, 36});
  const auto fused = weights(), plain = weights();
  const auto run = [&](auto&& layer, const std::vector<Tensor>& w) {
    layer(layer(x, w[0], w[1]), w[2], w[3]).square().mean().backward();
  };
  run(fused_pooled_convolution, fused);
  run(pooled_convolution_plain, plain);
  for (std::size_t i = 0; i < plain.size(); ++i) {
    ASSERT_GT(plain[i].grad().norm().item<double>(), 0);
    EXPECT_LT(((fused[i].grad() - plain[i].grad()).norm() / plain[i].grad().norm()).item<double>(),
              1e-5)
        << i;
  }
}

TEST(FusedPooling, FrozenPartsGetNoGradient) {
  const Tensor conv = torch::randn({1, 2, 4, 4}).requires_grad_(), bias = torch::zeros({2});
  bias_relu_pool(conv, bias).sum().backward();
  EXPECT_TRUE(conv.grad().defined());
  EXPECT_FALSE(bias.grad().defined());
  EXPECT_FALSE(bias_relu_pool(conv.detach(), bias).requires_grad());
}

TEST(FusedPooling, RefusesWhatItsKernelsDoNotTake) {
  const Tensor bias = torch::zeros({2});
  for (const Tensor& conv :
       {torch::zeros({2, 4, 4}), torch::zeros({1, 3, 4, 4}), torch::zeros({1, 2, 1, 4}),
        torch::zeros({1, 2, 4, 4}, torch::kDouble), torch::zeros({1, 2, 4, 4}, torch::kBFloat16)})
    EXPECT_THROW((void)bias_relu_pool(conv, bias), Error);
  EXPECT_THROW((void)bias_relu_pool(torch::zeros({1, 2, 4, 4}), bias.to(torch::kDouble)), Error);
}

}  // namespace
}  // namespace wsp::train

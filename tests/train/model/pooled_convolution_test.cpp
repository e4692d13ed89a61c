#include "train/model/pooled_convolution.hpp"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "train/kernels/pooled_conv.hpp"
#include "train/model/encoder.hpp"

namespace wsp::train {
namespace {

using torch::Tensor;

struct Layer {
  std::int64_t n, in_c, out_c, h, w;
};

std::ostream& operator<<(std::ostream& out, const Layer& l) {
  return out << l.n << "x" << l.in_c << "x" << l.h << "x" << l.w << " to " << l.out_c;
}

// The five layers of TinyNet at 160x160, and sizes that leave rests everywhere: odd, one pixel, one
// image, more images than a group.
constexpr Layer kLayers[] = {{2, 1, 16, 160, 160}, {2, 16, 32, 78, 78},  {2, 32, 64, 37, 37},
                             {3, 64, 128, 16, 16}, {35, 128, 256, 6, 6}, {1, 1, 16, 6, 6},
                             {1, 1, 32, 157, 9},   {3, 1, 48, 12, 31},   {1, 16, 16, 6, 6},
                             {5, 16, 48, 9, 14},   {1, 48, 16, 7, 157},  {19, 32, 16, 8, 7}};

Tensor relative_error(const Tensor& a, const Tensor& b) {
  return (a - b).to(torch::kDouble).norm() / (b.to(torch::kDouble).norm() + 1e-30);
}

using Convolution = Tensor (*)(const Tensor&, const Tensor&, const Tensor&);

/// Output, then the gradients of x, weight and bias for an upstream gradient that is a function of
/// the shape.
std::vector<Tensor> run(Convolution convolution, const Tensor& x, const Tensor& weight,
                        const Tensor& bias) {
  std::vector<Tensor> leaves;
  for (const Tensor& t : {x, weight, bias})
    leaves.push_back(t.detach().clone().requires_grad_(true));
  const Tensor y = convolution(leaves[0], leaves[1], leaves[2]);
  const Tensor upstream =
      torch::sin(torch::arange(y.numel(), torch::kFloat) * 0.37F).reshape(y.sizes()).to(y.dtype());
  auto results = torch::autograd::grad({y}, leaves, {upstream});
  results.insert(results.begin(), y.detach());
  return results;
}

class EveryLayer : public testing::TestWithParam<Layer> {};
INSTANTIATE_TEST_SUITE_P(PooledConvolution, EveryLayer, testing::ValuesIn(kLayers));

TEST_P(EveryLayer, IsConvolutionPoolingAndRelu) {
  const Layer l = GetParam();
  torch::manual_seed(11);
  const Tensor x = torch::rand({l.n, l.in_c, l.h, l.w});
  const Tensor weight = torch::randn({l.out_c, l.in_c, 5, 5}) * 0.1;
  const Tensor bias = torch::randn({l.out_c}) * 0.1;
  const auto ours = run(pooled_convolution, x, weight, bias);
  // Float64 is the judge: where two pixels of a window are equal to rounding, float32 may choose
  // the other one.
  const auto exact = run(pooled_convolution_plain, x.to(torch::kDouble), weight.to(torch::kDouble),
                         bias.to(torch::kDouble));
  const char* names[] = {"output", "gradient of x", "of the weight", "of the bias"};
  for (std::size_t i = 0; i < ours.size(); ++i) {
    ASSERT_EQ(ours[i].sizes(), exact[i].sizes());
    EXPECT_LT(relative_error(ours[i], exact[i]).item<double>(), i == 0 ? 1e-6 : 1e-4) << names[i];
  }
}

TEST_P(EveryLayer, HasTheSameBitsInEveryRunAndWithAnyThreads) {
  const Layer l = GetParam();
  torch::manual_seed(12);
  const Tensor x = torch::rand({l.n, l.in_c, l.h, l.w});
  const Tensor weight = torch::randn({l.out_c, l.in_c, 5, 5}) * 0.1;
  const Tensor bias = torch::randn({l.out_c}) * 0.1;
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const auto once = run(pooled_convolution, x, weight, bias);
  for (const int threads : {1, 2, 3, 3}) {
    at::set_num_threads(threads);
    const auto again = run(pooled_convolution, x, weight, bias);
    for (std::size_t i = 0; i < once.size(); ++i) EXPECT_TRUE(again[i].equal(once[i])) << threads;
  }
  at::set_num_threads(before);
}

TEST(PooledConvolution, IsServedOnThisProcessorWhereItHasAvx2) {
#if defined(__x86_64__)
  const bool expected = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
  const bool expected = false;
#endif
  EXPECT_EQ(pooled_conv_served({1, 160, 160, 1, 16}), expected);
  EXPECT_FALSE(pooled_conv_served({1, 160, 160, 3, 16}));
  EXPECT_FALSE(pooled_conv_served({1, 160, 160, 1, 8}));
  EXPECT_FALSE(pooled_conv_served({1, 5, 160, 1, 16}));
  EXPECT_FALSE(pooled_conv_served({0, 160, 160, 1, 16}));
}

TEST(PooledConvolution, AConstantImageHasItsWinnerFirstAndNoRelu) {
  // All four pixels of a window are equal: Torch takes the first, and so must we.
  const Tensor x = torch::full({1, 16, 10, 11}, 0.5);
  const Tensor weight = torch::full({16, 16, 5, 5}, 0.25);
  for (const double bias : {0.0, -1000.0}) {
    const auto ours = run(pooled_convolution, x, weight, torch::full({16}, bias));
    const auto plain = run(pooled_convolution_plain, x, weight, torch::full({16}, bias));
    for (std::size_t i = 0; i < ours.size(); ++i)
      EXPECT_TRUE(torch::allclose(ours[i], plain[i], 1e-5, 1e-5)) << i;
  }
}

TEST(PooledConvolution, NanIsNotSwallowed) {
  for (const std::int64_t channels : {1, 16}) {
    Tensor x = torch::rand({1, channels, 20, 20});
    x[0][0][9][9] = std::numeric_limits<float>::quiet_NaN();
    const Tensor weight = torch::randn({16, channels, 5, 5});
    const Tensor ours = pooled_convolution(x, weight, torch::zeros({16}));
    const Tensor plain = pooled_convolution_plain(x, weight, torch::zeros({16}));
    EXPECT_TRUE(ours.isnan().equal(plain.isnan()));
    EXPECT_TRUE(ours.isnan().any().item<bool>());
  }
}

TEST(PooledConvolution, OtherTypesTakeThePlainPath) {
  const Tensor x = torch::rand({2, 3, 12, 12}, torch::kDouble);
  const Tensor weight = torch::randn({5, 3, 5, 5}, torch::kDouble);
  const Tensor bias = torch::randn({5}, torch::kDouble);
  EXPECT_TRUE(pooled_convolution(x, weight, bias).equal(pooled_convolution_plain(x, weight, bias)));
}

/// TinyNet, and the gradient of all its parameters, beside the plain operations in float64. In
/// float32, plain or not, now and then two pixels of a window are equal to rounding and the other
/// one wins, which moves one pixel's gradient: rare, and small.
TEST(PooledConvolution, TinyNetHasTheGradientOfThePlainNetwork) {
  int cases = 0, beyond = 0;
  for (const std::int64_t side : {156, 157, 158, 159, 160, 161})
    for (const std::int64_t n : {1, 3}) {
      torch::manual_seed(side);
      const auto encoder = make_encoder({});
      const Tensor x = torch::rand({n, 1, side, side});
      const Tensor y = encoder->forward(x);
      const auto parameters = encoder->parameters();
      const auto ours = torch::autograd::grad({y.square().sum()}, parameters);

      std::vector<Tensor> exact_parameters;
      for (const Tensor& p : parameters)
        exact_parameters.push_back(p.detach().to(torch::kDouble).requires_grad_(true));
      Tensor z = x.to(torch::kDouble);
      for (std::size_t i = 0; i < exact_parameters.size(); i += 2)
        z = pooled_convolution_plain(z, exact_parameters[i], exact_parameters[i + 1]);
      z = z.mean({2, 3});
      const auto exact = torch::autograd::grad({z.square().sum()}, exact_parameters);
      EXPECT_LT(relative_error(y, z).item<double>(), 1e-5) << side;
      double worst = 0;
      for (std::size_t i = 0; i < ours.size(); ++i)
        worst = std::max(worst, relative_error(ours[i], exact[i]).item<double>());
      EXPECT_LT(worst, 1e-3) << side << ", " << n << " images";
      ++cases;
      beyond += worst > 1e-4;
    }
  EXPECT_LE(beyond, cases / 4);
}

}  // namespace
}  // namespace wsp::train

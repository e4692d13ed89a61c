#include "train/model/fast_convolution.hpp"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "train/model/encoder.hpp"

namespace wsp::train {
namespace {

using torch::Tensor;

struct FastLayer {
  std::int64_t n, in_c, out_c, h, w;
};

std::ostream& operator<<(std::ostream& out, const FastLayer& l) {
  return out << l.n << "x" << l.in_c << "x" << l.h << "x" << l.w << " to " << l.out_c;
}

// ResNet-18's layers at 160x160, and odd sizes, single rows and pixels, more tiles than a block.
constexpr FastLayer kFastLayers[] = {
    {2, 64, 64, 40, 40}, {3, 128, 128, 20, 20}, {4, 256, 256, 10, 10},
    {4, 512, 512, 5, 5}, {1, 16, 16, 1, 1},     {1, 16, 32, 2, 1},
    {5, 48, 16, 7, 9},   {1, 32, 80, 1, 13},    {3, 16, 16, 33, 31}};

double relative_difference(const Tensor& a, const Tensor& b) {
  return ((a - b).to(torch::kDouble).norm() / b.to(torch::kDouble).norm()).item<double>();
}

Tensor plain(const Tensor& x, const Tensor& weight) { return torch::conv2d(x, weight, {}, 1, 1); }

/// Output, then the gradients of x and weight for an upstream gradient that is a function of the
/// shape.
std::vector<Tensor> run(Tensor (*convolution)(const Tensor&, const Tensor&), const Tensor& x,
                        const Tensor& weight) {
  std::vector<Tensor> leaves;
  for (const Tensor& t : {x, weight}) leaves.push_back(t.detach().clone().requires_grad_(true));
  const Tensor y = convolution(leaves[0], leaves[1]);
  const Tensor upstream =
      torch::sin(torch::arange(y.numel(), torch::kFloat) * 0.37F).reshape(y.sizes()).to(y.dtype());
  auto results = torch::autograd::grad({y}, leaves, {upstream});
  results.insert(results.begin(), y.detach());
  return results;
}

class EveryFastLayer : public testing::TestWithParam<FastLayer> {};
INSTANTIATE_TEST_SUITE_P(FastConvolution, EveryFastLayer, testing::ValuesIn(kFastLayers));

TEST_P(EveryFastLayer, IsAConvolution) {
  const FastLayer l = GetParam();
  torch::manual_seed(21);
  const Tensor x = torch::randn({l.n, l.in_c, l.h, l.w}) + 0.5;
  const Tensor weight = torch::randn({l.out_c, l.in_c, 3, 3}) * 0.1;
  const auto exact = run(plain, x.to(torch::kDouble), weight.to(torch::kDouble));
  for (const bool last : {false, true}) {
    const auto ours =
        run(fast_convolution, last ? x.contiguous(torch::MemoryFormat::ChannelsLast) : x, weight);
    for (std::size_t i = 0; i < ours.size(); ++i) {
      ASSERT_EQ(ours[i].sizes(), exact[i].sizes());
      EXPECT_LT(relative_difference(ours[i], exact[i]), 2e-6) << i;
    }
  }
}

TEST_P(EveryFastLayer, HasTheSameBitsInEveryRunAndWithAnyThreads) {
  const FastLayer l = GetParam();
  torch::manual_seed(22);
  const Tensor x = torch::randn({l.n, l.in_c, l.h, l.w});
  const Tensor weight = torch::randn({l.out_c, l.in_c, 3, 3}) * 0.1;
  const int before = at::get_num_threads();
  at::set_num_threads(1);
  const auto once = run(fast_convolution, x, weight);
  for (const int threads : {1, 2, 3, 3}) {
    at::set_num_threads(threads);
    const auto again = run(fast_convolution, x, weight);
    for (std::size_t i = 0; i < once.size(); ++i) EXPECT_TRUE(again[i].equal(once[i])) << threads;
  }
  at::set_num_threads(before);
}

TEST(FastConvolution, OtherTypesAndChannelsAreTorchs) {
  for (const auto type : {torch::kFloat, torch::kDouble}) {
    const Tensor x = torch::randn({2, 5, 9, 8}, type);
    const Tensor weight = torch::randn({7, 5, 3, 3}, type);
    EXPECT_TRUE(fast_convolution(x, weight).equal(plain(x, weight)));
  }
}

TEST(FastConvolution, ResNetHasTheFeaturesAndGradientsOfFloat64) {
  // In float64 every convolution is Torch's own.
  for (const std::int64_t side : {64, 75}) {
    torch::manual_seed(side);
    const auto encoder = make_encoder({"resnet18"});
    const auto exact = make_encoder({"resnet18"});
    {
      const torch::NoGradGuard no_grad;
      exact->to(torch::kDouble);
      const auto from = encoder->parameters(), to = exact->parameters();
      for (std::size_t i = 0; i < from.size(); ++i) to[i].copy_(from[i]);
    }
    const Tensor x = torch::rand({4, 1, side, side});
    const Tensor y = encoder->forward(x), z = exact->forward(x.to(torch::kDouble));
    EXPECT_LT(relative_difference(y, z), 1e-5) << side;
    const auto ours = torch::autograd::grad({y.square().sum()}, encoder->parameters());
    const auto judge = torch::autograd::grad({z.square().sum()}, exact->parameters());
    double error = 0, norm = 0;
    for (std::size_t i = 0; i < ours.size(); ++i) {
      error += (ours[i] - judge[i]).square().sum().item<double>();
      norm += judge[i].square().sum().item<double>();
    }
    // A ReLU or a maximum at rounding distance of its bend turns a pixel on or off, in any float32.
    EXPECT_LT(std::sqrt(error / norm), 1e-3) << side;
  }
}

}  // namespace
}  // namespace wsp::train

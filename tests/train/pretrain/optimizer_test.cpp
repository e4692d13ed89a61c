// Optimizers, schedules and the gradient scaler.
#include "train/run/optimizer.hpp"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "io/core/error.hpp"
#include "step_support.hpp"

namespace wsp::train {
namespace {

using test::method_of;

TEST(Optimizer, ASkippedStepChangesNothing) {
  for (const char* name : {"adam", "adamw", "lars", "sgd"}) {
    SCOPED_TRACE(name);
    torch::nn::Linear layer(4, 3);
    FlatParameters parameters(*layer);
    OptimizerOptions options;
    options.name = name;
    Optimizer optimizer(parameters, options);
    parameters.gradients().fill_(1);
    optimizer.step(0.1, torch::zeros({1}));
    const torch::Tensor moved = parameters.values().clone();
    parameters.gradients().fill_(std::numeric_limits<float>::quiet_NaN());
    optimizer.step(0.1, torch::ones({1}));
    EXPECT_TRUE(torch::equal(parameters.values(), moved));
    EXPECT_EQ(optimizer.steps(), 1);
    parameters.gradients().fill_(1);
    optimizer.step(0.1, torch::zeros({1}));
    EXPECT_FALSE(torch::equal(parameters.values(), moved));
    EXPECT_TRUE(torch::isfinite(parameters.values()).all().item<bool>());
  }
}

TEST(FlatParameters, ShareOneBufferAndKeepShapes) {
  auto method = method_of("resnet18", "wsp", Norm::batch);
  std::map<std::string, torch::Tensor> before;
  for (const auto& p : method->named_parameters()) before[p.key()] = p.value().detach().clone();
  FlatParameters flat(*method);
  for (const auto& p : method->named_parameters()) {
    EXPECT_TRUE(torch::equal(p.value(), before[p.key()])) << p.key();
    EXPECT_EQ(p.value().storage().data(), flat.values().storage().data());
  }
  flat.values().zero_();
  EXPECT_EQ(method->parameters()[0].abs().sum().item<float>(), 0);
}

// Ours against LibTorch's own optimizers, ten steps on the same gradients.
template <class Reference>
void expect_same_as(OptimizerOptions options, Reference&& make_reference, double rate) {
  torch::manual_seed(1);
  torch::nn::Sequential ours(torch::nn::Linear(7, 5), torch::nn::Linear(5, 3));
  torch::nn::Sequential theirs(torch::nn::Linear(7, 5), torch::nn::Linear(5, 3));
  {
    torch::NoGradGuard no_grad;
    for (std::size_t i = 0; i < ours->parameters().size(); ++i)
      theirs->parameters()[i].copy_(ours->parameters()[i]);
  }
  FlatParameters flat(*ours);
  Optimizer optimizer(flat, options);
  auto reference = make_reference(theirs->parameters());
  for (int step = 0; step < 10; ++step) {
    const torch::Tensor x = torch::randn({4, 7});
    flat.zero_gradients();
    ours->forward(x).pow(2).mean().backward();
    optimizer.step(rate);
    reference.zero_grad();
    theirs->forward(x).pow(2).mean().backward();
    reference.step();
  }
  for (std::size_t i = 0; i < ours->parameters().size(); ++i)
    EXPECT_TRUE(torch::allclose(ours->parameters()[i], theirs->parameters()[i], 1e-5, 1e-7)) << i;
}

TEST(Optimizer, AdamIsTorchs) {
  expect_same_as(
      {.name = "adam", .weight_decay = 0.01},
      [](auto p) {
        return torch::optim::Adam(p, torch::optim::AdamOptions(1e-2).weight_decay(0.01));
      },
      1e-2);
}

TEST(Optimizer, AdamWIsTorchs) {
  expect_same_as(
      {.name = "adamw", .weight_decay = 0.1},
      [](auto p) {
        return torch::optim::AdamW(p, torch::optim::AdamWOptions(1e-2).weight_decay(0.1));
      },
      1e-2);
}

TEST(Optimizer, SgdIsTorchs) {
  expect_same_as(
      {.name = "sgd", .weight_decay = 0.01, .momentum = 0.9},
      [](auto p) {
        return torch::optim::SGD(p,
                                 torch::optim::SGDOptions(1e-2).momentum(0.9).weight_decay(0.01));
      },
      1e-2);
}

TEST(Optimizer, LarsScalesByTrust) {
  torch::nn::Linear layer(3, 2);
  FlatParameters flat(*layer);
  OptimizerOptions options{.name = "lars", .weight_decay = 0.1, .momentum = 0.9};
  Optimizer optimizer(flat, options);
  const torch::Tensor weight = layer->weight.detach().clone(), bias = layer->bias.detach().clone();
  flat.gradients().fill_(0.5);
  optimizer.step(0.2);
  const torch::Tensor update = 0.5 + 0.1 * weight;
  const torch::Tensor expected = weight - 0.2 * 0.001 * weight.norm() / update.norm() * update;
  EXPECT_TRUE(torch::allclose(layer->weight, expected, 1e-5, 1e-8));
  EXPECT_TRUE(torch::allclose(layer->bias, bias - 0.2 * 0.5, 1e-5, 1e-8));
}

TEST(Optimizer, StateGoesRound) {
  torch::nn::Linear a(4, 4), b(4, 4);
  FlatParameters fa(*a), fb(*b);
  fb.values().copy_(fa.values());
  Optimizer oa(fa, {}), ob(fb, {});
  fa.gradients().normal_();
  oa.step(0.1);
  fb.values().copy_(fa.values());
  ob.load_state(oa.state(), oa.steps());
  fa.gradients().normal_();
  fb.gradients().copy_(fa.gradients());
  oa.step(0.1);
  ob.step(0.1);
  for (const auto& segment : fa.segments())
    EXPECT_TRUE(torch::equal(FlatParameters::view(fa.values(), segment),
                             FlatParameters::view(fb.values(), segment)));
  auto broken = oa.state();
  broken.erase(broken.begin());
  EXPECT_THROW(ob.load_state(broken, 1), Error);
}

TEST(Schedule, WarmsUpThenFallsToZero) {
  EXPECT_DOUBLE_EQ(scheduled_rate(1, 0, 100, 10), 0.1);
  EXPECT_DOUBLE_EQ(scheduled_rate(1, 9, 100, 10), 1.0);
  EXPECT_DOUBLE_EQ(scheduled_rate(1, 10, 100, 10), 1.0);
  EXPECT_NEAR(scheduled_rate(1, 55, 100, 10), 0.5, 1e-12);
  EXPECT_NEAR(scheduled_rate(1, 100, 100, 10), 0.0, 1e-12);
}

TEST(GradScaler, HalvesOnOverflowAndGrows) {
  GradScaler scaler(true);
  const double start = scaler.scale();
  EXPECT_TRUE(scaler.update(false));
  EXPECT_EQ(scaler.scale(), start / 2);
  for (int i = 0; i < 2000; ++i) EXPECT_TRUE(scaler.update(true));
  EXPECT_EQ(scaler.scale(), start);
  GradScaler off(false);
  EXPECT_FALSE(off.update(false));
  EXPECT_EQ(off.scale(), 1);
}

TEST(GradScaler, EndsWhereNoScaleHelps) {
  GradScaler scaler(true);
  int halved = 0;
  while (scaler.update(false)) ASSERT_LT(++halved, 100);
  EXPECT_EQ(halved, 16) << "65536 to 1";
  EXPECT_EQ(scaler.scale(), 1);
  EXPECT_TRUE(scaler.update(true));
}

}  // namespace
}  // namespace wsp::train

// A step in parts, in other precisions and layouts is the same step.
#include "train/pretrain/step.hpp"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include "step_support.hpp"
#include "train/run/distributed.hpp"
#include "train/run/optimizer.hpp"

namespace wsp::train {
namespace {

using test::method_of;
using test::targets_of;

Targets numbers_of(std::int64_t n) {
  Targets targets = targets_of(n);
  targets.value = torch::linspace(40, 80, n, torch::kDouble).remainder(13);
  targets.continuous = targets.value.unsqueeze(0);
  targets.continuous_sigma = {4};
  return targets;
}

torch::Tensor gradient_of(Method& method, const torch::Tensor& views, std::int64_t micro_batch,
                          Targets (*targets)(std::int64_t) = targets_of) {
  FlatParameters parameters(method);
  parameters.zero_gradients();
  Ranks alone({}, torch::kCPU, 10);
  const GradScaler scaler(false);
  (void)backward_batch(method, views, targets(views.size(0) / 2), {micro_batch, "fp32", 1.0},
                       scaler, alone);
  return parameters.gradients().clone();
}

class MicroBatch : public testing::TestWithParam<std::tuple<const char*, const char*>> {};

TEST_P(MicroBatch, GivesTheGradientOfTheWholeBatch) {
  const auto [encoder, name] = GetParam();
  const std::int64_t n = 6, size = std::string(encoder) == "tinynet" ? 156 : 48;
  const torch::Tensor views = torch::rand({2 * n, 1, size, size}, torch::kDouble);
  auto method = method_of(encoder, name, Norm::group);
  method->to(torch::kDouble);
  const torch::Tensor whole = gradient_of(*method, views, 0, numbers_of);
  ASSERT_GT(whole.norm().item<double>(), 1e-6);
  for (const std::int64_t piece : {1, 4}) {  // 4 does not divide 6: the last piece is smaller
    const torch::Tensor pieces = gradient_of(*method, views, piece, numbers_of);
    EXPECT_LT(((pieces - whole).norm() / whole.norm()).item<double>(), 1e-9) << piece;
  }
}

INSTANTIATE_TEST_SUITE_P(All, MicroBatch,
                         testing::Combine(testing::Values("tinynet", "resnet18"),
                                          testing::Values("wsp", "barlow-twins", "kernel-byol",
                                                          "supervised")));

INSTANTIATE_TEST_SUITE_P(OfANumber, MicroBatch,
                         testing::Combine(testing::Values("resnet18"),
                                          testing::Values("yaware", "lexp", "rnc")));

TEST(MicroBatch, TakesViewsAsTheyAreDrawn) {
  const std::int64_t n = 6;
  const torch::Tensor views = torch::rand({2 * n, 1, 48, 48}, torch::kDouble);
  auto method = method_of("resnet18", "wsp", Norm::group);
  method->to(torch::kDouble);
  const torch::Tensor whole = gradient_of(*method, views, 0);
  FlatParameters parameters(*method);
  parameters.zero_gradients();
  Ranks alone({}, torch::kCPU, 10);
  std::int64_t most = 0, asked = 0;
  const auto piece = [&](std::int64_t at, std::int64_t count) {
    most = std::max(most, count);
    ++asked;
    return torch::cat({views.narrow(0, at, count), views.narrow(0, n + at, count)});
  };
  (void)backward_batch(*method, piece, n, targets_of(n), {4, "fp32", 1.0}, GradScaler(false),
                       alone);
  EXPECT_LT(((parameters.gradients() - whole).norm() / whole.norm()).item<double>(), 1e-9);
  EXPECT_EQ(most, 4);
  EXPECT_EQ(asked, 4) << "two pieces, each to embed and to carry the gradient through";
}

TEST(MicroBatch, LeavesRunningStatisticsMovedOnce) {
  auto method = method_of("resnet18", "wsp", Norm::batch);
  method->train();
  const torch::Tensor views = torch::rand({8, 1, 48, 48});
  (void)gradient_of(*method, views, 2);
  for (const auto& buffer : method->named_buffers()) {
    if (!buffer.key().ends_with("num_batches_tracked")) continue;
    EXPECT_EQ(buffer.value().item<std::int64_t>(), 2) << buffer.key();  // two pieces, once each
  }
}

// A linear network and a loss that note whether matrix products may be TF32's.
class NotesTf32 final : public Method {
 public:
  NotesTf32() : Method({}, make_encoder({"tinynet", Norm::batch})) {
    weight_ = register_parameter("weight", torch::ones({16, 2}));
  }
  std::vector<torch::Tensor> forward(const torch::Tensor& views) override {
    in_networks.push_back(allowed());
    const torch::Tensor out = views.flatten(1).matmul(weight_);
    if (out.requires_grad()) note(out, in_networks);
    return {out};
  }
  torch::Tensor loss(const std::vector<torch::Tensor>& outputs, const Targets&) override {
    in_loss.push_back(allowed());
    note(outputs[0], in_loss);
    return outputs[0].square().sum();
  }
  std::vector<bool> in_networks, in_loss;  ///< forward, backward

 private:
  static bool allowed() { return at::globalContext().allowTF32CuBLAS(); }
  static void note(const torch::Tensor& at, std::vector<bool>& to) {
    (void)at.register_hook([&to](const torch::Tensor&) { to.push_back(allowed()); });
  }
  torch::Tensor weight_;
};

TEST(Tf32, IsForTheNetworksAndNotForTheLossNorItsGradient) {
  at::globalContext().setAllowTF32CuBLAS(true);
  NotesTf32 method;
  (void)gradient_of(method, torch::rand({4, 1, 4, 4}), 0);
  EXPECT_EQ(method.in_networks, (std::vector<bool>{true, true}));
  EXPECT_EQ(method.in_loss, (std::vector<bool>{false, false}));
  EXPECT_TRUE(at::globalContext().allowTF32CuBLAS());
  at::globalContext().setAllowTF32CuBLAS(false);
}

TEST(ChannelsLast, IsTheSameFunction) {
  for (const char* encoder : {"tinynet", "resnet18"}) {
    SCOPED_TRACE(encoder);
    const std::int64_t n = 4, size = std::string(encoder) == "tinynet" ? 156 : 48;
    const torch::Tensor views = torch::rand({2 * n, 1, size, size}, torch::kDouble);
    auto method = method_of(encoder, "wsp", Norm::group);
    method->to(torch::kDouble);
    const torch::Tensor expected = gradient_of(*method, views, 0);
    ASSERT_GT(expected.norm().item<double>(), 1e-6);
    auto other = method_of(encoder, "wsp", Norm::group);
    other->to(torch::kDouble);
    for (torch::Tensor& p : other->parameters())
      if (p.dim() == 4) p.set_data(p.contiguous(torch::MemoryFormat::ChannelsLast));
    FlatParameters parameters(*other);
    parameters.zero_gradients();
    Ranks alone({}, torch::kCPU, 10);
    (void)backward_batch(*other, views, targets_of(n), {0, "fp32", 1.0}, GradScaler(false), alone);
    std::int64_t strided = 0;
    FlatParameters plain(*method);
    for (std::size_t i = 0; i < parameters.segments().size(); ++i) {
      const auto& segment = parameters.segments()[i];
      strided += segment.strides != plain.segments()[i].strides ? 1 : 0;
      const torch::Tensor want = FlatParameters::view(expected, plain.segments()[i]);
      const torch::Tensor found = FlatParameters::view(parameters.gradients(), segment);
      EXPECT_TRUE(torch::allclose(found, want, 1e-9, 1e-12)) << segment.name;
    }
    EXPECT_GT(strided, 3) << "the weights did change their layout";
  }
}

}  // namespace
}  // namespace wsp::train

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "io/core/error.hpp"
#include "train/model/method.hpp"

namespace wsp::train {
namespace {

using torch::Tensor;
namespace nn = torch::nn;

std::int64_t parameter_count(const nn::Module& module) {
  std::int64_t count = 0;
  for (const Tensor& parameter : module.parameters())
    if (parameter.requires_grad()) count += parameter.numel();
  return count;
}

struct Size {
  const char* name;
  std::int64_t parameters, representation, latent, with_head;
};

// torchvision's 11,689,512, 21,797,672 and 25,557,032 less the classifier and two input channels.
constexpr Size kSizes[] = {{"tinynet", 1'088'896, 256, 64, 1'130'048},
                           {"resnet18", 11'170'240, 512, 128, 11'334'464},
                           {"resnet34", 21'278'400, 512, 128, 21'442'624},
                           {"resnet50", 23'501'760, 2048, 128, 25'731'136}};

class EveryEncoder : public testing::TestWithParam<Size> {};
INSTANTIATE_TEST_SUITE_P(Encoders, EveryEncoder, testing::ValuesIn(kSizes),
                         [](const auto& test) { return std::string(test.param.name); });

TEST_P(EveryEncoder, HasThePublishedSizesAndShapes) {
  const Size size = GetParam();
  for (const Norm norm : {Norm::batch, Norm::group}) {
    auto encoder = make_encoder({size.name, norm});
    EXPECT_EQ(parameter_count(*encoder), size.parameters);
    EXPECT_EQ(encoder->representation(), size.representation);
    EXPECT_EQ(encoder->latent(), size.latent);
    const std::int64_t side = encoder->smallest_image();
    const torch::NoGradGuard no_grad;
    encoder->eval();
    const Tensor x = torch::rand({2, 1, side, side + 7});
    const Tensor y = encoder->forward(x);
    EXPECT_EQ(y.sizes(), (std::vector<std::int64_t>{2, size.representation}));
    EXPECT_TRUE(torch::isfinite(y).all().item<bool>());
    EXPECT_TRUE(torch::allclose(encoder->forward(x.contiguous(torch::MemoryFormat::ChannelsLast)),
                                y, 1e-4, 1e-5));
    for (const auto& wrong : {torch::rand({2, 1, side - 1, side}), torch::rand({2, 3, side, side}),
                              torch::rand({1, side, side})}) {
      try {
        encoder->forward(wrong);
        ADD_FAILURE() << "accepted " << wrong.sizes();
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::usage);
        EXPECT_NE(std::string(error.what()).find(std::to_string(side)), std::string::npos);
      }
    }
  }
  EXPECT_EQ(parameter_count(*make_method({}, make_encoder({size.name}))), size.with_head);
}

TEST_P(EveryEncoder, IsItsStagesOneAfterAnother) {
  auto encoder = make_encoder({GetParam().name});
  const std::int64_t side = encoder->smallest_image() + 9;
  Tensor y = torch::rand({2, 1, side, side});
  const Tensor expected = encoder->forward(y);
  for (std::size_t stage = 0; stage < encoder->stages().size(); ++stage) {
    // A leaf, as where one stage is run by itself: it must come out as it went in.
    const Tensor x = y.detach().clone().requires_grad_(stage > 0), before = x.detach().clone();
    y = encoder->run_stage(stage, x);
    y.sum().backward();
    EXPECT_TRUE(torch::equal(x, before)) << encoder->stages()[stage];
  }
  EXPECT_TRUE(torch::equal(y.mean({2, 3}), expected));
  EXPECT_ANY_THROW(encoder->run_stage(encoder->stages().size(), y));
}

TEST(TinyNet, IsConvolutionReluPoolingFiveTimes) {
  auto encoder = make_encoder({});
  const Tensor x = torch::rand({2, 1, 160, 171});
  const Tensor found = encoder->forward(x);
  encoder->to(torch::kDouble);
  Tensor expected = x.to(torch::kDouble);
  const auto state = encoder->named_parameters();
  ASSERT_EQ(state.size(), 10U);
  for (std::size_t i = 0; i < 10; i += 2)
    expected = torch::max_pool2d(
        torch::relu(torch::conv2d(expected, state[i].value(), state[i + 1].value())), 2);
  EXPECT_EQ(state[2].key(), "features.3.weight");
  expected = expected.mean({2, 3});
  const double largest = expected.abs().max().item<double>();
  const auto worst = [&](const Tensor& y) { return (y - expected).abs().max().item<double>(); };
  EXPECT_LT(worst(encoder->forward(x.to(torch::kDouble))), 1e-12 * largest);
  // Single precision: sums of up to 3,200 products; oneDNN 3 is off by 2.7e-6, 2.6 by less.
  EXPECT_LT(worst(found), 5e-6 * largest);
}

TEST(ResNet, BatchNormalisationBecomesGroupNormalisationUnderTheSameNames) {
  auto batch = make_encoder({"resnet18", Norm::batch});
  auto group = make_encoder({"resnet18", Norm::group});
  std::vector<std::string> names[2];
  for (const auto& item : batch->named_parameters()) names[0].push_back(item.key());
  for (const auto& item : group->named_parameters()) names[1].push_back(item.key());
  EXPECT_EQ(names[0], names[1]);
  EXPECT_EQ(batch->named_buffers().size(), 60U);
  EXPECT_EQ(group->named_buffers().size(), 0U);
  EXPECT_TRUE(batch->named_parameters().contains("layer2.0.downsample.1.weight"));
}

TEST(Encoders, AnUnknownNameIsRefusedWithTheKnownOnes) {
  try {
    make_encoder({"resnet19"});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage);
    EXPECT_NE(std::string(error.what()).find("resnet18"), std::string::npos);
  }
}

// Methods ---------------------------------------------------------------------------------------

MethodOptions options_of(const std::string& name) {
  MethodOptions options;
  options.name = name;
  options.classes = 3;
  return options;
}

Targets some_targets(std::int64_t n) {
  Targets targets;
  targets.label = torch::arange(n, torch::kLong).remainder(3).sub(1);  // -1, 0, 1, ...
  targets.depth = torch::linspace(0, 1, n, torch::kDouble);
  targets.value = torch::linspace(40, 80, n, torch::kDouble).remainder(13);
  targets.continuous = targets.value.unsqueeze(0);
  targets.continuous_sigma = {4};
  return targets;
}

std::int64_t image_side(const Encoder& encoder) {
  return std::max<std::int64_t>(encoder.smallest_image(), 48);
}

class EveryMethod : public testing::TestWithParam<std::tuple<std::string, const char*>> {};
INSTANTIATE_TEST_SUITE_P(Methods, EveryMethod,
                         testing::Combine(testing::ValuesIn(method_names()),
                                          testing::Values("tinynet", "resnet18")),
                         [](const auto& test) {
                           std::string name =
                               std::get<0>(test.param) + "_" + std::get<1>(test.param);
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST_P(EveryMethod, TakesAStepThatReachesEveryTrainableParameter) {
  const auto [name, backbone] = GetParam();
  torch::manual_seed(4);
  auto method = make_method(options_of(name), make_encoder({backbone}));
  method->train();
  constexpr std::int64_t kSlices = 6;
  const std::int64_t side = image_side(method->encoder());
  const Tensor views = torch::rand({2 * kSlices, 1, side, side});
  const auto outputs = method->forward(views);
  ASSERT_GT(outputs.size(), method->embedding_output());
  for (const Tensor& output : outputs) {
    EXPECT_EQ(output.dim(), 2);
    EXPECT_EQ(output.size(0), 2 * kSlices);
  }
  const Targets targets = some_targets(kSlices);
  if (!method->trains()) {
    EXPECT_EQ(name, "random");
    EXPECT_THROW(method->loss(outputs, targets), Error);
    return;
  }
  EXPECT_EQ(outputs[0].requires_grad(), true);
  const Tensor loss = method->loss(outputs, targets);
  ASSERT_EQ(loss.dim(), 0);
  ASSERT_TRUE(std::isfinite(loss.item<double>()));
  loss.backward();

  std::vector<Tensor> trainable;
  for (const auto& item : method->named_parameters()) {
    if (!item.value().requires_grad()) {
      EXPECT_TRUE(item.key().starts_with("target_")) << item.key();
      continue;
    }
    ASSERT_TRUE(item.value().grad().defined()) << item.key();
    EXPECT_TRUE(torch::isfinite(item.value().grad()).all().item<bool>()) << item.key();
    trainable.push_back(item.value());
  }
  torch::optim::SGD optimizer(trainable, torch::optim::SGDOptions(1e-3));
  optimizer.step();
  method->after_step(0.5);
  EXPECT_TRUE(std::isfinite(method->loss(method->forward(views), targets).item<double>()));
}

TEST(Methods, UnknownNamesAndAClassifierWithoutClassesAreRefused) {
  EXPECT_THROW(make_method(options_of("moco"), make_encoder({})), Error);
  MethodOptions options = options_of("supervised");
  options.classes = 0;
  EXPECT_THROW(make_method(options, make_encoder({})), Error);
  EXPECT_THROW(make_method({}, nullptr), Error);
}

/// The rows of slices [first, last) of a tensor of two views.
Tensor piece(const Tensor& rows, std::int64_t first, std::int64_t last) {
  const std::int64_t n = rows.size(0) / 2;
  return torch::cat({rows.slice(0, first, last), rows.slice(0, n + first, n + last)});
}

std::vector<Tensor> gradients_of(const Method& method) {
  std::vector<Tensor> gradients;
  for (const Tensor& parameter : method.parameters())
    if (parameter.requires_grad()) gradients.push_back(parameter.grad().clone());
  return gradients;
}

void clear_gradients(const Method& method) {
  for (Tensor parameter : method.parameters()) parameter.mutable_grad() = Tensor();
}

/// The gradient of the whole batch, embedded in pieces of `m` slices.
std::vector<Tensor> gradient_in_pieces(Method& method, const Tensor& views, const Targets& targets,
                                       std::int64_t m) {
  clear_gradients(method);
  const std::int64_t n = views.size(0) / 2;
  std::vector<std::vector<Tensor>> first, second;  // [output][piece], of view 1 and view 2
  for (std::int64_t at = 0; at < n; at += m) {
    const torch::NoGradGuard no_grad;
    const auto outputs = method.forward(piece(views, at, std::min(n, at + m)));
    first.resize(outputs.size());
    second.resize(outputs.size());
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      const std::int64_t half = outputs[i].size(0) / 2;
      first[i].push_back(outputs[i].slice(0, 0, half));
      second[i].push_back(outputs[i].slice(0, half));
    }
  }
  std::vector<Tensor> joined;
  for (std::size_t i = 0; i < first.size(); ++i)
    joined.push_back(
        torch::cat({torch::cat(first[i]), torch::cat(second[i])}).requires_grad_(true));
  method.loss(joined, targets).backward();
  for (std::int64_t at = 0; at < n; at += m) {
    const std::int64_t last = std::min(n, at + m);
    const auto outputs = method.forward(piece(views, at, last));
    for (std::size_t i = 0; i < outputs.size(); ++i)
      if (outputs[i].requires_grad() && joined[i].grad().defined())
        outputs[i].backward(piece(joined[i].grad(), at, last), /*retain_graph=*/true);
  }
  return gradients_of(method);
}

TEST(Methods, PiecesGiveTheGradientOfTheWholeBatch) {
  for (const auto& [backbone, norm] :
       {std::pair{"tinynet", Norm::batch}, {"tinynet", Norm::group}, {"resnet18", Norm::group}})
    for (const std::string name :
         {"wsp", "yaware", "lexp", "rnc", "byol", "simsiam", "barlow-twins", "supervised"}) {
      // Without group normalisation the heads of these normalise over the batch.
      if (norm == Norm::batch && (name == "byol" || name == "simsiam" || name == "barlow-twins"))
        continue;
      SCOPED_TRACE(name + " " + backbone);
      torch::manual_seed(11);
      auto method = make_method(options_of(name), make_encoder({backbone, norm}));
      method->to(torch::kDouble);
      constexpr std::int64_t kSlices = 3;
      const std::int64_t side = image_side(method->encoder());
      const Tensor views = torch::rand({2 * kSlices, 1, side, side}, torch::kDouble);
      const Targets targets = some_targets(kSlices);
      method->loss(method->forward(views), targets).backward();
      const auto whole = gradients_of(*method);
      const auto pieces = gradient_in_pieces(*method, views, targets, 2);
      ASSERT_EQ(whole.size(), pieces.size());
      for (std::size_t i = 0; i < whole.size(); ++i)
        EXPECT_LT((whole[i] - pieces[i]).abs().max().item<double>(),
                  1e-10 * std::max(1.0, whole[i].abs().max().item<double>()));
    }
}

TEST(Byol, TheTargetFollowsWeightsAndBuffersByTheCosineSchedule) {
  auto method = make_method(options_of("byol"), make_encoder({"resnet18"}));
  const auto parameters = method->named_parameters();
  const auto buffers = method->named_buffers();
  const auto find = [&](const std::string& name) {
    const Tensor* found = parameters.find(name);
    return found != nullptr ? *found : buffers[name];
  };
  for (const auto& item : parameters)
    if (item.key().starts_with("target_")) {
      EXPECT_FALSE(item.value().requires_grad());
      EXPECT_TRUE(torch::equal(item.value(), find(item.key().substr(7)))) << item.key();
    }
  for (const double progress : {0.25, 0.9, 1.0}) {
    const torch::NoGradGuard no_grad;
    for (const char* name : {"encoder.layer1.0.conv1.weight", "encoder.bn1.running_mean",
                             "projector.0.weight", "projector.1.running_var"}) {
      find(name).add_(1);
      const Tensor target = find("target_" + std::string(name));
      const Tensor before = target.clone();
      method->after_step(progress);
      const double momentum = 1 - (1 - 0.996) * (std::cos(std::numbers::pi * progress) + 1) / 2;
      const Tensor expected = momentum * before + (1 - momentum) * find(name);
      EXPECT_TRUE(torch::allclose(target, expected, 1e-5, 1e-6)) << name;
      EXPECT_EQ(torch::equal(target, before), progress == 1.0) << name;
    }
  }
}

TEST(Siamese, WithDistinctLabelsTheKernelFormsAreThePlainOnes) {
  for (const char* name : {"byol", "simsiam"}) {
    Targets targets = some_targets(4);
    targets.label = torch::arange(4, torch::kLong);
    const auto loss = [&](const std::string& full) {
      torch::manual_seed(3);
      auto method = make_method(options_of(full), make_encoder({}));
      return method->loss(method->forward(torch::rand({8, 1, 156, 156})), targets).item<double>();
    };
    EXPECT_NEAR(loss(name), loss("kernel-" + std::string(name)), 1e-6);
  }
}

TEST(Supervised, IsTheCrossEntropyOfBothViewsOfLabelledSlices) {
  auto method = make_method(options_of("supervised"), make_encoder({}));
  const Tensor logits = torch::randn({8, 3}, torch::kDouble).requires_grad_(true);
  Targets targets = some_targets(4);
  targets.label = torch::tensor({2, -1, 0, -1}, torch::kLong);
  double expected = 0;
  for (const auto& [row, label] : {std::pair{0, 2}, {2, 0}, {4, 2}, {6, 0}})
    expected -= torch::log_softmax(logits[row], 0)[label].item<double>() / 4;
  EXPECT_NEAR(method->loss({logits}, targets).item<double>(), expected, 1e-12);
  targets.label.fill_(-1);
  const Tensor none = method->loss({logits}, targets);
  none.backward();
  EXPECT_EQ(none.item<double>(), 0);
  EXPECT_EQ(logits.grad().abs().sum().item<double>(), 0);
  targets.label[0] = 3;
  EXPECT_THROW(method->loss({logits}, targets), Error);
}

}  // namespace
}  // namespace wsp::train

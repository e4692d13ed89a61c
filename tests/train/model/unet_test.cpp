#include "train/model/unet.hpp"

#include <gtest/gtest.h>
#include <torch/script.h>

#include <cstdlib>
#include <sstream>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "support/test_data.hpp"
#include "train/model/safetensors.hpp"

namespace wsp::train {
namespace {

/// A network with running statistics that are not the initial ones, in evaluation mode.
std::shared_ptr<UNet> lived_network(const UNetOptions& options) {
  torch::manual_seed(3);
  auto net = std::make_shared<UNet>(options);
  const torch::NoGradGuard no_grad;
  for (int i = 0; i < 3; ++i) net->forward(torch::rand({4, options.channels(), 32, 32}));
  for (const auto& item : net->named_parameters())
    if (item.value().dim() == 1) item.value().add_(0.1 * torch::randn_like(item.value()));
  net->eval();
  return net;
}

/// Run unet_reference.py; false where Python's Torch is absent.
bool reference(const std::string& arguments) {
  const char* python = std::getenv("WSP_PYTHON");
  const std::string command = std::string(python != nullptr ? python : "python3") + " " +
                              WSP_SOURCE_DIR "/tests/train/model/unet_reference.py " + arguments;
  const int status = std::system(command.c_str());
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77) return false;
  EXPECT_EQ(status, 0) << command;
  return true;
}

// Nothing where this build has no protobuf.
std::string onnx_of(UNet& net, std::int64_t ratio, bool half = false) {
  try {
    return unet_onnx(net, ratio, half);
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("protobuf"), std::string::npos) << e.what();
    std::fprintf(stderr, "*** NO PROTOBUF: ONNX was not written ***\n");
    return {};
  }
}

const UNetOptions kKinds[] = {
    {1, 16, 2, Norm::batch}, {0, 8, 3, Norm::batch}, {2, 16, 1, Norm::group}};

TEST(UNet, EqualsPythonsTorchAndItsTorchScriptDoesToo) {
  const torch::NoGradGuard no_grad;
  const wsp::test::TemporaryDirectory work;
  std::string cases;
  for (const UNetOptions& options : kKinds)
    for (const std::int64_t ratio : {1, 2}) {
      const auto place = work.path() / (std::to_string(options.depth) + std::to_string(ratio));
      std::filesystem::create_directory(place);
      auto net = lived_network(options);
      const torch::Tensor x = torch::rand({3, options.channels(), 32 * ratio, 48 * ratio});
      const torch::Tensor logits = stored_logits(*net, x, ratio);
      ASSERT_EQ(logits.sizes(), (std::vector<std::int64_t>{3, 1, 32 * ratio, 48 * ratio}));
      EXPECT_GT(logits.std().item<double>(), 0.02) << "a flat picture proves nothing";
      save_unet_weights(*net, place / "unet.safetensors", {});
      write_tensor_file(place / "case.safetensors",
                        {{{"x", x}, {"logits", logits.contiguous()}}, {}});
      write_file_atomic(place / "unet.ts", unet_torchscript(*net, ratio));
      if (const std::string onnx = onnx_of(*net, ratio); !onnx.empty())
        write_file_atomic(place / "unet.onnx", onnx);
      cases +=
          " " + place.string() + " " + std::to_string(options.depth) + " " + std::to_string(ratio);
    }
  if (!reference(cases)) GTEST_SKIP() << "python3-torch is absent";
}

// Half the bytes, and the network of the rounded kernels to float32's own rounding.
TEST(UNet, TorchScriptInHalfPrecisionIsTheRoundedNetwork) {
  const torch::NoGradGuard no_grad;
  for (const UNetOptions& options : kKinds) {
    auto net = lived_network(options);
    const std::string whole = unet_torchscript(*net, 1), bytes = unet_torchscript(*net, 1, true);
    EXPECT_LT(bytes.size(), 7 * whole.size() / 10);
    for (torch::Tensor& p : net->parameters())
      if (p.dim() > 1) p.copy_(p.to(torch::kHalf));
    std::istringstream stream(bytes);
    torch::jit::Module script = torch::jit::load(stream);
    const torch::Tensor x = torch::rand({2, options.channels(), 64, 32});
    const torch::Tensor found = script.forward({x}).toTensor();
    EXPECT_EQ(found.scalar_type(), torch::kFloat);
    EXPECT_LT((found - stored_logits(*net, x, 1)).abs().max().item<double>(), 1e-6 * 10);
  }
}

TEST(UNet, OnnxHasTheSameBytesAndHalfOfThemInHalfPrecision) {
  for (const UNetOptions& options : kKinds) {
    auto net = lived_network(options);
    const std::string bytes = onnx_of(*net, 2);
    if (bytes.empty()) GTEST_SKIP() << "no protobuf";
    EXPECT_EQ(bytes, onnx_of(*net, 2));
    EXPECT_LT(onnx_of(*net, 2, true).size(), 7 * bytes.size() / 10);
  }
}

TEST(UNet, TorchScriptEqualsTheNetworkAndHasTheSameBytes) {
  const torch::NoGradGuard no_grad;
  for (const UNetOptions& options : kKinds) {
    auto net = lived_network(options);
    const std::string bytes = unet_torchscript(*net, 2);
    EXPECT_EQ(bytes, unet_torchscript(*net, 2));
    std::istringstream stream(bytes);
    torch::jit::Module script = torch::jit::load(stream);
    for (const std::int64_t n : {1, 3}) {
      const torch::Tensor x = torch::rand({n, options.channels(), 64, 32});
      const torch::Tensor difference = script.forward({x}).toTensor() - stored_logits(*net, x, 2);
      EXPECT_LT(difference.abs().max().item<double>(), 1e-6 * 10);
    }
  }
}

// Members at their own ratios: a mean asks only for one input and one output.
TEST(UNet, MeanIsOfProbabilitiesAndBeginsWithTheFirst) {
  const torch::NoGradGuard no_grad;
  const UNetOptions options = kKinds[0];
  const auto a = lived_network(options), b = lived_network({1, 8, 1, Norm::group});
  const std::vector<std::string> parts = {unet_torchscript(*a, 2), unet_torchscript(*b, 1)};
  const std::string bytes = mean_torchscript(parts);
  EXPECT_EQ(bytes, mean_torchscript(parts));
  std::istringstream stream(bytes);
  torch::jit::Module script = torch::jit::load(stream);
  const torch::Tensor x = torch::rand({2, 3, 64, 32});
  const torch::Tensor of_a = torch::sigmoid(stored_logits(*a, x, 2)),
                      of_b = torch::sigmoid(stored_logits(*b, x, 1));
  EXPECT_GT((of_a - of_b).abs().max().item<double>(), 0.01) << "two alike prove nothing";
  const torch::Tensor difference = script.forward({x}).toTensor() - (of_a + of_b) / 2;
  EXPECT_LT(difference.abs().max().item<double>(), 1e-6);
  UNet back(options);
  load_unet_torchscript(back, bytes);
  back.eval();
  EXPECT_TRUE(torch::equal(stored_logits(back, x, 2), stored_logits(*a, x, 2)));
  EXPECT_THROW(mean_torchscript({parts[0], "no TorchScript"}), Error);
}

TEST(UNet, WeightsComeBackAndOthersAreRefused) {
  const torch::NoGradGuard no_grad;
  const wsp::test::TemporaryDirectory work;
  const auto path = work.path() / "unet.safetensors";
  auto net = lived_network(kKinds[0]);
  save_unet_weights(*net, path, {{"wsp.steps", "3"}});
  UNet back(kKinds[0]);
  const TensorFile file = read_tensor_file(path);
  load_unet_weights(back, file.tensors);
  back.eval();
  const torch::Tensor x = torch::rand({1, 3, 32, 32});
  EXPECT_TRUE(torch::equal(back.forward(x), net->forward(x)));
  EXPECT_EQ(file.metadata.at("wsp.model"), "unet");
  UNet other(kKinds[2]);
  EXPECT_THROW(load_unet_weights(other, file.tensors), Error);
}

TEST(UNet, WeightsComeBackFromItsTorchScriptAndOthersAreRefused) {
  const torch::NoGradGuard no_grad;
  for (const UNetOptions& options : kKinds)
    for (const bool half : {false, true}) {
      auto net = lived_network(options);
      const std::string bytes = unet_torchscript(*net, 2, half);
      UNet back(options);
      load_unet_torchscript(back, bytes);
      back.eval();
      if (half)
        for (torch::Tensor& p : net->parameters())
          if (p.dim() > 1) p.copy_(p.to(torch::kHalf));
      const torch::Tensor x = torch::rand({2, options.channels(), 32, 32});
      EXPECT_TRUE(torch::equal(back.forward(x), net->forward(x)));
      for (const UNetOptions& other : kKinds) {
        if (other.depth == options.depth) continue;
        UNet another(other);
        EXPECT_THROW(load_unet_torchscript(another, bytes), Error);
      }
      UNet wider({options.neighbours, options.width + 8, options.depth, options.norm});
      EXPECT_THROW(load_unet_torchscript(wider, bytes), Error);
      EXPECT_THROW(load_unet_torchscript(back, bytes.substr(0, bytes.size() / 2)), Error);
    }
}

TEST(UNet, RefusesOptionsAndImagesThatDoNotFit) {
  EXPECT_THROW(UNet({1, 12, 2, Norm::batch}), Error);
  EXPECT_THROW(UNet({17, 16, 2, Norm::batch}), Error);
  EXPECT_THROW(UNet({1, 16, 0, Norm::batch}), Error);
  UNet net({1, 8, 2, Norm::batch});
  EXPECT_THROW((void)net.forward(torch::rand({1, 3, 30, 32})), Error);
  EXPECT_THROW((void)net.forward(torch::rand({1, 1, 32, 32})), Error);
}

// The gradient of the whole network, against central differences in float64.
TEST(UNet, GradientEqualsFiniteDifferences) {
  torch::manual_seed(5);
  UNet net({0, 8, 1, Norm::group});
  net.to(torch::kDouble);
  const torch::Tensor x = torch::rand({2, 1, 8, 8}, torch::kDouble);
  const torch::Tensor weight = torch::rand({2, 1, 8, 8}, torch::kDouble);
  const auto value = [&] { return (net.forward(x) * weight).sum(); };
  value().backward();
  for (auto& item : net.named_parameters()) {
    const torch::NoGradGuard no_grad;
    torch::Tensor flat = item.value().detach().view(-1);
    const std::int64_t i = flat.numel() / 2;
    const double here = flat[i].item<double>(), step = 1e-6;
    flat[i] = here + step;
    const double above = value().item<double>();
    flat[i] = here - step;
    const double below = value().item<double>();
    flat[i] = here;
    const double gradient = item.value().grad().view(-1)[i].item<double>();
    EXPECT_NEAR(gradient, (above - below) / (2 * step), 1e-5 * (1 + std::abs(gradient)))
        << item.key();
  }
}

}  // namespace
}  // namespace wsp::train

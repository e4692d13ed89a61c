#include <gtest/gtest.h>

#include <cstdlib>

#include "io/core/error.hpp"
#include "support/test_data.hpp"
#include "train/model/encoder.hpp"
#include "train/model/safetensors.hpp"

namespace wsp::train {
namespace {

using test::TemporaryDirectory;
using torch::Tensor;

/// An encoder with running statistics that are not the initial ones, in evaluation mode.
std::shared_ptr<Encoder> lived_encoder(const EncoderOptions& options) {
  auto encoder = make_encoder(options);
  const torch::NoGradGuard no_grad;
  const std::int64_t side = encoder->smallest_image();
  for (int i = 0; i < 3; ++i) encoder->forward(torch::rand({4, 1, side, side}));
  for (const auto& item : encoder->named_parameters())
    if (item.value().dim() == 1) item.value().add_(0.1 * torch::randn_like(item.value()));
  encoder->eval();
  return encoder;
}

Tensor features(Encoder& encoder, const Tensor& x) {
  const torch::NoGradGuard no_grad;
  encoder.eval();
  return encoder.forward(x);
}

/// Run weights_reference.py; false where Python's Torch is absent.
bool reference(const std::string& arguments) {
  const char* python = std::getenv("WSP_PYTHON");
  const std::string command = std::string(python != nullptr ? python : "python3") + " " +
                              WSP_SOURCE_DIR "/tests/train/model/weights_reference.py " + arguments;
  const int status = std::system(command.c_str());
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77) return false;
  EXPECT_EQ(status, 0) << command;
  return true;
}

TEST(Weights, ComeBackWithTheEncoderThatTheyBelongTo) {
  const TemporaryDirectory work;
  const auto path = work.path() / "encoder.safetensors";
  for (const EncoderOptions& options : {EncoderOptions{}, EncoderOptions{"resnet18", Norm::batch},
                                        EncoderOptions{"resnet18", Norm::group}}) {
    auto encoder = lived_encoder(options);
    save_encoder_weights(*encoder, path, {{"wsp.method", "wsp"}});
    auto back = load_encoder(path);
    EXPECT_EQ(back->options().name, options.name);
    EXPECT_EQ(back->options().norm, options.norm);
    const Tensor x = torch::rand({2, 1, 160, 160});
    EXPECT_TRUE(torch::equal(features(*back, x), features(*encoder, x)));
    const auto metadata = read_tensor_file(path).metadata;
    EXPECT_EQ(metadata.at("wsp.encoder"), options.name);
    EXPECT_EQ(metadata.at("wsp.input"), "(hu+100)/500");
    EXPECT_EQ(metadata.at("wsp.method"), "wsp");
    auto other = make_encoder(options);
    load_encoder_weights(*other, path);
    EXPECT_TRUE(torch::equal(features(*other, x), features(*encoder, x)));
  }
}

TEST(Weights, WhatDoesNotFitIsNamedAndChangesNothing) {
  const TemporaryDirectory work;
  const auto path = work.path() / "encoder.safetensors";
  auto encoder = make_encoder({"resnet18"});
  save_encoder_weights(*encoder, path, {});
  const TensorFile good = read_tensor_file(path);
  const Tensor before = encoder->named_parameters()["conv1.weight"].clone();

  const auto refused = [&](const TensorFile& file, const std::string& word) {
    write_tensor_file(path, file);
    try {
      load_encoder_weights(*encoder, path);
      ADD_FAILURE() << "accepted a file that should name " << word;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::usage);
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
    }
    EXPECT_TRUE(torch::equal(encoder->named_parameters()["conv1.weight"], before));
  };
  TensorFile file = good;
  file.tensors["conv1.weight"] = torch::ones({64, 1, 7, 7});
  file.tensors.erase("layer4.1.bn2.weight");
  refused(file, "missing: layer4.1.bn2.weight");
  file = good;
  file.tensors["layer5.0.conv1.weight"] = torch::ones({1});
  refused(file, "unexpected: layer5.0.conv1.weight");
  file = good;
  file.tensors["bn1.bias"] = torch::ones({63});
  refused(file, "bn1.bias is [63], expected [64]");
  file = good;
  file.tensors["bn1.bias"] = torch::ones({64}, torch::kLong);
  refused(file, "bn1.bias");

  write_tensor_file(path, good);
  EXPECT_THROW(load_encoder_weights(*make_encoder({"tinynet"}), path), Error);
  EXPECT_THROW(load_encoder_weights(*make_encoder({"resnet18", Norm::group}), path), Error);
  EXPECT_THROW(load_encoder_weights(*make_encoder({"resnet34"}), path), Error);

  // Counters are of no use to an encoder, and old files lack them.
  file = good;
  for (const auto& [name, tensor] : good.tensors)
    if (name.ends_with("num_batches_tracked")) file.tensors.erase(name);
  write_tensor_file(path, file);
  load_encoder_weights(*encoder, path);
  file.metadata.clear();
  write_tensor_file(path, file);
  EXPECT_THROW(load_encoder(path), Error);
}

TEST(Weights, PythonComputesTheSameFeaturesUnderTorchvisionsNames) {
  const TemporaryDirectory work;
  const std::string directory = work.path().string();
  for (const char* name : {"tinynet", "resnet18", "resnet50"}) {
    auto encoder = lived_encoder({name});
    save_encoder_weights(*encoder, work.path() / "encoder.safetensors", {});
    const Tensor x = torch::rand({2, 1, 160, 160});
    write_tensor_file(work.path() / "case.safetensors",
                      {{{"x", x}, {"features", features(*encoder, x)}}, {}});
    if (!reference("compare " + directory)) GTEST_SKIP() << "Python without torch: not compared";
  }
}

TEST(Weights, OfTorchvisionSeeWhatItsOwnPreprocessingShowsThem) {
  const TemporaryDirectory work;
  if (!reference("make " + work.path().string()))
    GTEST_SKIP() << "Python without torch: not compared";
  auto encoder = make_encoder({"resnet18"});
  load_encoder_weights(*encoder, work.path() / "torchvision.safetensors");
  const auto expected = read_tensor_file(work.path() / "case.safetensors").tensors;
  EXPECT_TRUE(
      torch::allclose(features(*encoder, expected.at("x")), expected.at("features"), 1e-4, 1e-5));
}

}  // namespace
}  // namespace wsp::train

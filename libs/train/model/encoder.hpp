#pragma once
#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "train/model/catalogue.hpp"

namespace wsp::train {

/// How ResNet normalises: batch statistics, or groups of 32 channels (no dependence between
/// samples, so that micro-batches and ranks give the gradient of the whole batch).
enum class Norm { batch, group };

struct EncoderOptions {
  std::string name = "tinynet";  ///< one of encoder_names()
  Norm norm = Norm::batch;
  bool cuda_kernels = false;  ///< on a card: TinyNet's bias, ReLU and pooling by our kernel
};

/// An encoder of single-channel slices in [0, 1].
class Encoder : public torch::nn::Module {
 public:
  /// All stages() one after another and the mean over the image. x: [n, 1, h, w] float, in either
  /// memory format. Returns [n, representation()]. Throws Error(usage) for an image below
  /// smallest_image() or with more than one channel.
  torch::Tensor forward(const torch::Tensor& x);
  /// TinyNet: "conv1" to "conv5", each with pooling and ReLU. ResNet: "conv1" with normalisation,
  /// pooling and ReLU, then "layer1" to "layer4".
  [[nodiscard]] virtual const std::vector<std::string>& stages() const = 0;
  /// One of stages(), by its place, on what the one before returned. Changes x in no way.
  virtual torch::Tensor run_stage(std::size_t stage, const torch::Tensor& x) = 0;
  [[nodiscard]] virtual std::int64_t representation() const = 0;
  [[nodiscard]] virtual std::int64_t latent() const = 0;  ///< output of its projection head
  [[nodiscard]] virtual std::int64_t smallest_image() const = 0;
  [[nodiscard]] const EncoderOptions& options() const { return options_; }

 protected:
  explicit Encoder(EncoderOptions options) : options_(std::move(options)) {}

 private:
  EncoderOptions options_;
};

/// Build a randomly initialised encoder (from Torch's global generator). Throws Error(usage) for an
/// unknown name. Parameter names are torchvision's for ResNet ("layer1.0.conv1.weight"; without fc)
/// and "features.N.weight", N = 0, 3, ... 12, for TinyNet, as in a Python nn.Sequential of
/// (Conv2d, MaxPool2d, ReLU) five times. Initialised as torchvision and PyTorch do.
std::shared_ptr<Encoder> make_encoder(const EncoderOptions& options);

/// Perceptron of linear layers with ReLU (and batch normalisation by option) between; sizes = {in,
/// hidden, ..., out}. A layer before batch normalisation has no bias.
torch::nn::Sequential make_mlp(const std::vector<std::int64_t>& sizes, bool batch_norm);

/// Load weights into an encoder. The names must fit; from a torchvision file the fully connected
/// layer is ignored and a three-channel first convolution is summed over RGB. Throws Error(usage)
/// naming what is missing, unexpected or of another shape, and then changes nothing.
/// num_batches_tracked may be absent.
void load_encoder_weights(Encoder& encoder, const std::filesystem::path& safetensors);
/// Write the encoder's weights and a `__metadata__` that says which encoder it is, e.g.
/// {"format": "pt", "wsp.encoder": "resnet18", "wsp.norm": "batch", "wsp.input": "(hu+100)/500",
/// ...extra}.
void save_encoder_weights(Encoder& encoder, const std::filesystem::path& safetensors,
                          const std::vector<std::pair<std::string, std::string>>& metadata);
/// Build the encoder that a file written by save_encoder_weights() describes, with its weights.
std::shared_ptr<Encoder> load_encoder(const std::filesystem::path& safetensors);

}  // namespace wsp::train

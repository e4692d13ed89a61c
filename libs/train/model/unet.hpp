#pragma once
#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "train/model/encoder.hpp"
#include "train/model/norm_layer.hpp"

namespace wsp::train {

struct UNetOptions {
  std::int64_t neighbours = 1;  ///< k: the input is a slice and k on either side, 2k+1 channels
  std::int64_t width = 16;      ///< channels of the first level, a multiple of 8; doubles downwards
  std::int64_t depth = 4;       ///< times that the image is halved
  Norm norm = Norm::batch;      ///< group: groups of 8 channels
  [[nodiscard]] std::int64_t channels() const { return 2 * neighbours + 1; }
  /// Channels of level 0 ... depth.
  [[nodiscard]] std::int64_t width_of(std::int64_t level) const { return width << level; }
};

/// Two 3x3 convolutions with padding, each with normalisation and ReLU: "conv1", "norm1", "conv2",
/// "norm2".
class DoubleConvolutionImpl final : public torch::nn::Module {
 public:
  DoubleConvolutionImpl(std::int64_t in, std::int64_t out, Norm norm);
  torch::Tensor forward(const torch::Tensor& x);

 private:
  torch::nn::Conv2d conv1_{nullptr}, conv2_{nullptr};
  NormLayer norm1_, norm2_;
};
TORCH_MODULE(DoubleConvolution);

/// Ronneberger et al. 2015, U-Net, with padded convolutions and normalisation, for one foreground
/// class. Submodules: "down0" ... "downD" (DoubleConvolution, 2x2 max pooling between), then from
/// level D-1 to 0 "upL" (2x2 transposed convolution) and "joinL" (DoubleConvolution over the skip's
/// and the upper channels, in this order), "head" (1x1 convolution).
class UNet final : public torch::nn::Module {
 public:
  /// Randomly initialised from Torch's global generator. Throws Error(usage) for options out of
  /// range.
  explicit UNet(UNetOptions options);
  /// x: [n, 2k+1, h, w] in [0, 1], h and w multiples of 2^depth. Returns logits [n, 1, h, w].
  /// Throws Error(usage) for another shape.
  torch::Tensor forward(const torch::Tensor& x);
  [[nodiscard]] const UNetOptions& options() const { return options_; }

 private:
  UNetOptions options_;
  std::vector<DoubleConvolution> down_, join_;  ///< [level]
  std::vector<torch::nn::ConvTranspose2d> up_;  ///< [level]
  torch::nn::Conv2d head_{nullptr};
};

/// Logits at the size of stored slices: average over ratio x ratio pixels, network, bilinear
/// enlargement. x: [n, 2k+1, ratio * h, ratio * w] in [0, 1]; the result [n, 1, ratio * h, ratio *
/// w].
torch::Tensor stored_logits(UNet& net, const torch::Tensor& x, std::int64_t ratio);

/// Write the weights (safetensors) with a `__metadata__` that holds `metadata` beside {"format":
/// "pt", "wsp.model": "unet", "wsp.input": "(hu+100)/500"}.
void save_unet_weights(UNet& net, const std::filesystem::path& path,
                       const std::map<std::string, std::string>& metadata);
/// Load weights into a network of the same options. Throws Error(usage) naming what does not fit.
void load_unet_weights(UNet& net, const std::map<std::string, torch::Tensor>& weights);

/// stored_logits() of a network in evaluation mode as a TorchScript file's bytes: the same weights
/// give the same bytes. It holds plain operations, no code of ours, and loads in any LibTorch or
/// PyTorch not older than this one. `half`: kernels are kept in half precision, and computed with
/// in single.
std::string unet_torchscript(UNet& net, std::int64_t ratio, bool half = false);
/// stored_logits() of a network in evaluation mode as an ONNX file's bytes (operator set 13),
/// likewise. Throws Error(usage) where this build has no protobuf.
std::string unet_onnx(UNet& net, std::int64_t ratio, bool half = false);
/// A TorchScript file's bytes: the mean of the probabilities (not logits) of several of them, which
/// take the same input. Throws Error(usage) for bytes that are no TorchScript.
std::string mean_torchscript(const std::vector<std::string>& networks);
/// Load the weights of what unet_torchscript() wrote, at any ratio, into a network of the same
/// options, or those of the first network of mean_torchscript(); half precision is widened. Throws
/// Error(usage) for other bytes and naming what does not fit.
void load_unet_torchscript(UNet& net, const std::string& bytes);

}  // namespace wsp::train

#include "train/model/encoder.hpp"

#include <algorithm>
#include <array>

#include "io/core/error.hpp"
#include "train/model/encoder_parts.hpp"
#include "train/model/fused_pooling.hpp"
#include "train/model/pooled_convolution.hpp"

namespace wsp::train {
namespace {

namespace nn = torch::nn;

constexpr std::int64_t kKernel = 5;
constexpr std::array<std::int64_t, 6> kChannels = {1, 16, 32, 64, 128, 256};

/// He et al. 2015: without batch normalisation, PyTorch's own initialisation shrinks the signal
/// threefold per layer, until five layers' biases outweigh it and all images look alike.
template <typename Layer>
void initialise_for_relu(Layer& layer) {
  nn::init::kaiming_normal_(layer.weight, 0.0, torch::kFanIn, torch::kReLU);
  if (layer.bias.defined()) nn::init::zeros_(layer.bias);
}

/// TinyNet: five unpadded 5x5 convolutions, each with ReLU and 2x2 max pooling, then the mean over
/// the image. In Python: nn.Sequential(Conv2d, MaxPool2d, ReLU, Conv2d, ...) named "features".
class TinyNet final : public Encoder {
 public:
  explicit TinyNet(const EncoderOptions& options) : Encoder(options) {
    for (std::size_t i = 0; i + 1 < kChannels.size(); ++i) {
      convolutions_.emplace_back(nn::Conv2dOptions(kChannels[i], kChannels[i + 1], kKernel));
      initialise_for_relu(*convolutions_.back());
      // forward() takes the three as one layer; the places of the other two are in the names.
      features_->push_back(convolutions_.back());
      features_->push_back(nn::MaxPool2d(nn::MaxPool2dOptions(2)));
      features_->push_back(nn::ReLU(nn::ReLUOptions(true)));
    }
    register_module("features", features_);
  }

  [[nodiscard]] const std::vector<std::string>& stages() const override {
    static const std::vector<std::string> names = {"conv1", "conv2", "conv3", "conv4", "conv5"};
    return names;
  }
  torch::Tensor run_stage(std::size_t stage, const torch::Tensor& x) override {
    const auto& layer = convolutions_.at(stage);
    const bool fused = options().cuda_kernels && x.is_cuda();
    return (fused ? fused_pooled_convolution : pooled_convolution)(x, layer->weight, layer->bias);
  }
  [[nodiscard]] std::int64_t representation() const override { return kChannels.back(); }
  [[nodiscard]] std::int64_t latent() const override { return 64; }
  // 156 -> 76 -> 36 -> 16 -> 6 -> 1
  [[nodiscard]] std::int64_t smallest_image() const override { return 156; }

 private:
  nn::Sequential features_;
  std::vector<nn::Conv2d> convolutions_;
};

// Unless x is [n, 1, h, w] with h, w >= encoder.smallest_image().
void require_image(const Encoder& encoder, const torch::Tensor& x) {
  const std::int64_t least = encoder.smallest_image();
  if (x.dim() == 4 && x.size(1) == 1 && x.size(2) >= least && x.size(3) >= least) return;
  const auto side = std::to_string(least);
  std::string found;
  for (const std::int64_t size : x.sizes())
    found += (found.empty() ? "" : ", ") + std::to_string(size);
  throw Error(ErrorCode::usage, encoder.options().name +
                                    " takes [n, 1, h, w] with images of at least " + side + "x" +
                                    side + ", found [" + found + "]: choose a larger image size");
}

}  // namespace

torch::Tensor Encoder::forward(const torch::Tensor& x) {
  require_image(*this, x);
  torch::Tensor y = x;
  for (std::size_t stage = 0; stage < stages().size(); ++stage) y = run_stage(stage, y);
  return y.mean({2, 3});
}

std::shared_ptr<Encoder> make_encoder(const EncoderOptions& options) {
  if (options.name == "tinynet") return std::make_shared<TinyNet>(options);
  const auto names = encoder_names();
  if (std::find(names.begin(), names.end(), options.name) != names.end())
    return make_resnet(options);
  std::string known;
  for (const auto& name : names) known += (known.empty() ? "" : ", ") + name;
  throw Error(ErrorCode::usage, "unknown encoder '" + options.name + "': expected one of " + known);
}

nn::Sequential make_mlp(const std::vector<std::int64_t>& sizes, bool batch_norm) {
  if (sizes.size() < 2 || *std::min_element(sizes.begin(), sizes.end()) < 1)
    throw Error(ErrorCode::failure, "a perceptron needs two or more positive sizes");
  nn::Sequential mlp;
  for (std::size_t i = 0; i + 1 < sizes.size(); ++i) {
    const bool last = i + 2 == sizes.size();
    // Batch normalisation subtracts any bias before it.
    nn::Linear linear(nn::LinearOptions(sizes[i], sizes[i + 1]).bias(last || !batch_norm));
    initialise_for_relu(*linear);
    mlp->push_back(linear);
    if (last) break;
    if (batch_norm) mlp->push_back(nn::BatchNorm1d(sizes[i + 1]));
    mlp->push_back(nn::ReLU(nn::ReLUOptions(true)));
  }
  return mlp;
}

}  // namespace wsp::train

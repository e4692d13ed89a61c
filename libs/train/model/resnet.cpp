#include <array>

#include "train/model/encoder_parts.hpp"
#include "train/model/fast_convolution.hpp"
#include "train/model/norm_layer.hpp"

namespace wsp::train {
namespace {

namespace nn = torch::nn;

constexpr std::int64_t kGroups = 32;

nn::Conv2d convolution(std::int64_t in, std::int64_t out, std::int64_t kernel,
                       std::int64_t stride) {
  nn::Conv2d layer(
      nn::Conv2dOptions(in, out, kernel).stride(stride).padding(kernel / 2).bias(false));
  nn::init::kaiming_normal_(layer->weight, 0.0, torch::kFanOut, torch::kReLU);
  return layer;
}

torch::Tensor convolve(nn::Conv2d& layer, const torch::Tensor& x) {
  const auto& options = layer->options;
  const bool fast = (*options.kernel_size())[0] == 3 && (*options.stride())[0] == 1;
  return fast ? fast_convolution(x, layer->weight) : layer(x);
}

/// Match the identity path to a block that changes stride or width.
nn::Sequential make_downsample(std::int64_t in, std::int64_t out, std::int64_t stride, Norm norm) {
  nn::Sequential layers;
  layers->push_back(convolution(in, out, 1, stride));
  if (norm == Norm::batch)
    layers->push_back(nn::BatchNorm2d(out));
  else
    layers->push_back(FloatGroupNorm(kGroups, out));
  return layers;
}

/// A residual block: `basic` is 3x3, 3x3; a bottleneck is 1x1, 3x3 (with the stride), 1x1.
class Block final : public nn::Module {
 public:
  static constexpr std::int64_t expansion(bool bottleneck) { return bottleneck ? 4 : 1; }

  Block(std::int64_t in, std::int64_t width, std::int64_t stride, bool bottleneck, Norm norm) {
    const std::int64_t out = width * expansion(bottleneck);
    if (bottleneck) {
      add(in, width, 1, 1, norm);
      add(width, width, 3, stride, norm);
      add(width, out, 1, 1, norm);
    } else {
      add(in, width, 3, stride, norm);
      add(width, out, 3, 1, norm);
    }
    if (stride != 1 || in != out)
      downsample_ = register_module("downsample", make_downsample(in, out, stride, norm));
  }

  torch::Tensor forward(const torch::Tensor& x) {
    torch::Tensor y = x;
    for (std::size_t i = 0; i < convolutions_.size(); ++i) {
      y = norms_[i](convolve(convolutions_[i], y));
      if (i + 1 < convolutions_.size()) y.relu_();
    }
    return y.add_(downsample_.is_empty() ? x : downsample_->forward(x)).relu_();
  }

 private:
  void add(std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride, Norm norm) {
    const auto number = std::to_string(convolutions_.size() + 1);
    convolutions_.push_back(register_module("conv" + number, convolution(in, out, kernel, stride)));
    norms_.emplace_back(*this, "bn" + number, norm, kGroups, out);
  }

  std::vector<nn::Conv2d> convolutions_;
  std::vector<NormLayer> norms_;
  nn::Sequential downsample_{nullptr};
};

struct Plan {
  std::array<std::int64_t, 4> blocks;
  bool bottleneck;
};

Plan plan_of(const std::string& name) {
  if (name == "resnet18") return {{2, 2, 2, 2}, false};
  return {{3, 4, 6, 3}, name == "resnet50"};
}

/// He et al., Deep residual learning for image recognition, with torchvision's names and
/// initialisation, for one channel and without the classifier.
class ResNet final : public Encoder {
 public:
  explicit ResNet(const EncoderOptions& options) : Encoder(options) {
    const Plan plan = plan_of(options.name);
    nn::Conv2d first = convolution(1, 64, 7, 2);
    conv1_ = register_module("conv1", first);
    bn1_ = NormLayer(*this, "bn1", options.norm, kGroups, 64);
    std::int64_t channels = 64;
    for (std::size_t stage = 0; stage < layers_.size(); ++stage) {
      const std::int64_t width = std::int64_t{64} << stage;
      nn::Sequential& layer = layers_[stage];
      for (std::int64_t i = 0; i < plan.blocks[stage]; ++i) {
        const std::int64_t stride = i == 0 && stage > 0 ? 2 : 1;
        layer->push_back(
            std::make_shared<Block>(channels, width, stride, plan.bottleneck, options.norm));
        channels = width * Block::expansion(plan.bottleneck);
      }
      register_module("layer" + std::to_string(stage + 1), layer);
    }
    representation_ = channels;
  }

  [[nodiscard]] const std::vector<std::string>& stages() const override {
    static const std::vector<std::string> names = {"conv1", "layer1", "layer2", "layer3", "layer4"};
    return names;
  }
  torch::Tensor run_stage(std::size_t stage, const torch::Tensor& x) override {
    if (stage > 0) return layers_.at(stage - 1)->forward(x);
    // As in TinyNet, ReLU after the pooling; the padding of the pooling is minus infinity, and no
    // window holds nothing else.
    // On the CPU channels-last throughout: what fast_convolution() works on, and four times faster
    // to pool.
    const torch::Tensor image =
        x.is_cpu() ? conv1_(x).contiguous(torch::MemoryFormat::ChannelsLast) : conv1_(x);
    return torch::max_pool2d(bn1_(image), 3, 2, 1).relu_();
  }
  [[nodiscard]] std::int64_t representation() const override { return representation_; }
  [[nodiscard]] std::int64_t latent() const override { return 128; }
  // Less than 32 leaves a last map of nothing but padding around one pixel.
  [[nodiscard]] std::int64_t smallest_image() const override { return 32; }

 private:
  nn::Conv2d conv1_{nullptr};
  NormLayer bn1_;
  std::array<nn::Sequential, 4> layers_;
  std::int64_t representation_ = 0;
};

}  // namespace

std::shared_ptr<Encoder> make_resnet(const EncoderOptions& options) {
  return std::make_shared<ResNet>(options);
}

}  // namespace wsp::train

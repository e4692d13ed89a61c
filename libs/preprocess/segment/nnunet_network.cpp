#include "preprocess/segment/nnunet_network.hpp"

#include <ATen/Functions.h>

#include <cstring>
#include <map>
#include <memory>
#include <string_view>
#include <utility>

#include "io/core/error.hpp"
#include "io/core/tensor_header.hpp"

namespace wsp {
namespace {

using Sizes = std::vector<std::int64_t>;

std::map<std::string, at::Tensor> read_tensors(const std::string& bytes,
                                               const std::filesystem::path& path) {
  constexpr std::size_t kLength = 8;
  std::uint64_t length = 0;
  if (bytes.size() >= kLength) std::memcpy(&length, bytes.data(), kLength);
  if (bytes.size() < kLength || length > std::min(kLargestHeader, bytes.size() - kLength))
    throw Error(ErrorCode::corrupt, path.string() + " is no safetensors file");
  const auto text = std::string_view(bytes).substr(kLength, length);
  const auto data = std::string_view(bytes).substr(kLength + length);
  std::map<std::string, at::Tensor> tensors;
  for (const TensorEntry& entry : parse_tensor_header(text, data.size()).entries) {
    if (entry.dtype != "F32")
      throw Error(ErrorCode::usage, path.string() + ": '" + entry.name + "' is " + entry.dtype +
                                        "; expected F32, as nnunet-to-wsp.py writes it");
    at::Tensor tensor = at::empty(entry.shape, at::kFloat);
    std::memcpy(tensor.data_ptr(), data.data() + entry.begin, entry.end - entry.begin);
    tensors.emplace(entry.name, std::move(tensor));
  }
  return tensors;
}

// Hands out each tensor once.
class Weights {
 public:
  Weights(std::map<std::string, at::Tensor> tensors, std::filesystem::path path,
          const c10::Device& device)
      : tensors_(std::move(tensors)), path_(std::move(path)), device_(device) {}

  at::Tensor take(const std::string& name, const Sizes& shape) {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) fail("lacks '" + name + "'");
    if (found->second.sizes() != c10::IntArrayRef(shape))
      fail("has '" + name + "' with the shape " + c10::str(found->second.sizes()) + ", expected " +
           c10::str(c10::IntArrayRef(shape)));
    at::Tensor tensor = found->second.to(device_);
    tensors_.erase(found);
    taken_.push_back(tensor);
    return tensor;
  }

  std::vector<at::Tensor> all_taken() {
    if (!tensors_.empty())
      fail("holds " + std::to_string(tensors_.size()) +
           " more tensors than this network has, such as '" + tensors_.begin()->first + "'");
    return std::move(taken_);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorCode::usage, path_.string() + " " + what +
                                      ": these are not the weights of the network that the "
                                      "descriptor describes (see docs/MODELS.md)");
  }

  std::map<std::string, at::Tensor> tensors_;
  std::filesystem::path path_;
  c10::Device device_;
  std::vector<at::Tensor> taken_;
};

Sizes joined(Sizes first, const Sizes& then) {
  first.insert(first.end(), then.begin(), then.end());
  return first;
}

struct Convolution {
  at::Tensor weight, bias;
  Sizes stride, padding;
  bool transposed = false;

  [[nodiscard]] at::Tensor operator()(const at::Tensor& x) const {
    const Sizes ones(stride.size(), 1), zeros(stride.size(), 0);
    return at::convolution(x, weight, bias, stride, padding, ones, transposed, zeros, 1);
  }
};

// Convolution, instance norm and, where `slope` says so, LeakyReLU.
struct Layer {
  Convolution convolution;
  at::Tensor gamma, beta;
  double eps = 0;
  std::optional<double> slope;

  [[nodiscard]] at::Tensor operator()(const at::Tensor& x) const {
    at::Tensor y = at::instance_norm(convolution(x), gamma, beta, {}, {}, true, 0.1, eps, true);
    return slope ? at::leaky_relu_(y, *slope) : y;
  }
};

// BasicBlockD: two layers beside average pooling and a 1x1 projection, each where it is needed.
struct ResidualBlock {
  Layer first, second;
  Sizes pool;  // empty: none
  std::optional<Layer> projection;
  double slope = 0;

  [[nodiscard]] at::Tensor operator()(const at::Tensor& x) const {
    at::Tensor beside = x;
    if (pool.size() == 2) beside = at::avg_pool2d(beside, pool, pool);
    if (pool.size() == 3) beside = at::avg_pool3d(beside, pool, pool);
    if (projection) beside = (*projection)(beside);
    at::Tensor y = second(first(x));
    y.add_(beside);
    return at::leaky_relu_(y, slope);
  }
};

class UNet {
 public:
  UNet(const NnunetArchitecture& a, std::int64_t heads, Weights& weights) : a_(a) {
    const std::size_t stages = a.features.size();
    std::int64_t channels = 1;
    if (a.residual) {
      stem_ = layer(weights, "encoder.stem.convs.0", channels, a.stem_channels, a.kernels[0],
                    ones(), true);
      channels = a.stem_channels;
    }
    for (std::size_t s = 0; s < stages; ++s) {
      encode(weights, s, channels);
      channels = a.features[s];
    }
    for (std::size_t s = 1; s < stages; ++s) {
      const std::size_t to = stages - 1 - s;
      const std::string name = std::to_string(s - 1);
      const std::int64_t width = a.features[to];
      const Sizes& stride = a.strides[to + 1];
      up_.push_back(convolution(weights, "decoder.transpconvs." + name,
                                joined({a.features[to + 1], width}, stride), width, a.bias,
                                stride));
      up_.back().transposed = true;
      up_.back().padding.assign(stride.size(), 0);
      joins_.emplace_back();
      for (std::int64_t i = 0; i < a.decoder_convolutions[s - 1]; ++i)
        joins_.back().push_back(
            layer(weights, "decoder.stages." + name + ".convs." + std::to_string(i),
                  i == 0 ? 2 * width : width, width, a.kernels[to], ones(), true));
    }
    head_ = convolution(weights, "decoder.seg_layers." + std::to_string(stages - 2),
                        joined({heads, a.features[0]}, ones()), heads, true, ones());
  }

  [[nodiscard]] at::Tensor operator()(at::Tensor x) const {
    if (stem_) x = (*stem_)(x);
    std::vector<at::Tensor> skips;
    for (std::size_t s = 0; s < a_.features.size(); ++s) {
      if (a_.residual)
        for (const ResidualBlock& block : residual_[s]) x = block(x);
      else
        for (const Layer& layer : plain_[s]) x = layer(x);
      skips.push_back(x);
    }
    skips.pop_back();
    for (std::size_t s = 0; s < up_.size(); ++s) {
      x = at::cat({up_[s](x), skips.back()}, 1);
      skips.pop_back();
      for (const Layer& layer : joins_[s]) x = layer(x);
    }
    return head_(x);
  }

 private:
  [[nodiscard]] Sizes ones() const { return Sizes(a_.kernels[0].size(), 1); }

  static Convolution convolution(Weights& weights, const std::string& name, const Sizes& shape,
                                 std::int64_t out, bool bias, const Sizes& stride) {
    Convolution c{weights.take(name + ".weight", shape), {}, stride, {}};
    if (bias) c.bias = weights.take(name + ".bias", {out});
    for (std::size_t i = 2; i < shape.size(); ++i) c.padding.push_back((shape[i] - 1) / 2);
    return c;
  }

  [[nodiscard]] Layer layer(Weights& weights, const std::string& name, std::int64_t in,
                            std::int64_t out, const Sizes& kernel, const Sizes& stride,
                            bool activated, bool projection = false) const {
    return {convolution(weights, name + ".conv", joined({out, in}, kernel), out,
                        a_.bias && !projection, stride),
            weights.take(name + ".norm.weight", {out}), weights.take(name + ".norm.bias", {out}),
            a_.norm_eps, activated ? std::optional(a_.negative_slope) : std::nullopt};
  }

  void encode(Weights& weights, std::size_t s, std::int64_t in) {
    const std::int64_t width = a_.features[s];
    const std::string stage = "encoder.stages." + std::to_string(s);
    plain_.emplace_back();
    residual_.emplace_back();
    for (std::int64_t i = 0; i < a_.encoder_blocks[s]; ++i, in = width) {
      const Sizes stride = i == 0 ? a_.strides[s] : ones();
      if (!a_.residual) {
        plain_[s].push_back(layer(weights, stage + ".0.convs." + std::to_string(i), in, width,
                                  a_.kernels[s], stride, true));
        continue;
      }
      const std::string block = stage + ".blocks." + std::to_string(i);
      ResidualBlock b{layer(weights, block + ".conv1", in, width, a_.kernels[s], stride, true),
                      layer(weights, block + ".conv2", width, width, a_.kernels[s], ones(), false),
                      stride == ones() ? Sizes{} : stride, std::nullopt, a_.negative_slope};
      if (in != width)
        b.projection = layer(weights, block + (b.pool.empty() ? ".skip.0" : ".skip.1"), in, width,
                             ones(), ones(), false, true);
      residual_[s].push_back(std::move(b));
    }
  }

  NnunetArchitecture a_;
  std::optional<Layer> stem_;
  std::vector<std::vector<Layer>> plain_;             // [stage]
  std::vector<std::vector<ResidualBlock>> residual_;  // [stage]
  std::vector<Convolution> up_;                       // from the lowest resolution up
  std::vector<std::vector<Layer>> joins_;
  Convolution head_;
};

// The mean over all mirrorings along the axes.
at::Tensor mirrored(const UNet& net, const at::Tensor& x, const Sizes& axes) {
  at::Tensor sum = net(x);
  const std::size_t combinations = std::size_t{1} << axes.size();
  for (std::size_t c = 1; c < combinations; ++c) {
    Sizes flipped;
    for (std::size_t a = 0; a < axes.size(); ++a)
      if ((c >> a & 1U) != 0) flipped.push_back(axes[a] + 2);
    sum.add_(at::flip(net(at::flip(x, flipped)), flipped));
  }
  return combinations > 1 ? sum.div_(static_cast<double>(combinations)) : sum;
}

}  // namespace

ForwardPass nnunet_forward(const ModelDescriptor& model, const std::string& bytes,
                           const c10::Device& device) {
  Weights weights(read_tensors(bytes, model.file), model.file, device);
  const NnunetModel& nnunet = *model.nnunet;
  auto net = std::make_shared<const UNet>(nnunet.architecture, nnunet.heads(), weights);
  return {
      [net, axes = nnunet.mirrored_axes](const at::Tensor& x) { return mirrored(*net, x, axes); },
      weights.all_taken()};
}

}  // namespace wsp

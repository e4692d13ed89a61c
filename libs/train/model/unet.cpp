#include "train/model/unet.hpp"

#include "io/core/error.hpp"
#include "train/model/cpu_path.hpp"
#include "train/model/fast_convolution.hpp"
#include "train/model/module_state.hpp"
#include "train/model/safetensors.hpp"

namespace wsp::train {
namespace {

namespace nn = torch::nn;

constexpr std::int64_t kGroupSize = 8;

nn::Conv2d convolution(std::int64_t in, std::int64_t out) {
  nn::Conv2d layer(nn::Conv2dOptions(in, out, 3).padding(1).bias(false));
  nn::init::kaiming_normal_(layer->weight, 0.0, torch::kFanIn, torch::kReLU);
  return layer;
}

/// The 2x2 transposed convolution with stride 2, whose output blocks do not overlap: on the CPU one
/// product of pixels and weights (docs/ARCHITECTURE.md, decisions), elsewhere LibTorch's.
torch::Tensor up_convolution(nn::ConvTranspose2d& layer, const torch::Tensor& x) {
  if (!x.is_cpu() || cpu_autocast()) return layer(x);
  const std::int64_t n = x.size(0), h = x.size(2), w = x.size(3), out = layer->weight.size(1);
  const torch::Tensor pixels = x.permute({0, 2, 3, 1}).reshape({n * h * w, x.size(1)});
  const torch::Tensor weight = layer->weight.permute({0, 2, 3, 1}).reshape({x.size(1), 4 * out});
  const torch::Tensor bias = layer->bias.repeat({4});
  return torch::addmm(bias, pixels, weight)
      .view({n, h, w, 2, 2, out})
      .permute({0, 1, 3, 2, 4, 5})
      .reshape({n, 2 * h, 2 * w, out})
      .permute({0, 3, 1, 2});
}

void need(bool good, const char* option, std::int64_t found, const std::string& expected) {
  if (!good)
    throw Error(ErrorCode::usage, std::string("--") + option + " is " + std::to_string(found) +
                                      ": expected " + expected);
}

void check(const UNetOptions& o) {
  need(o.neighbours >= 0 && o.neighbours <= 16, "neighbours", o.neighbours, "0 to 16");
  need(o.width >= kGroupSize && o.width <= 512 && o.width % kGroupSize == 0, "width", o.width,
       "a multiple of 8, up to 512");
  need(o.depth >= 1 && o.depth <= 7, "depth", o.depth, "1 to 7");
}

}  // namespace

DoubleConvolutionImpl::DoubleConvolutionImpl(std::int64_t in, std::int64_t out, Norm norm) {
  conv1_ = register_module("conv1", convolution(in, out));
  norm1_ = NormLayer(*this, "norm1", norm, out / kGroupSize, out);
  conv2_ = register_module("conv2", convolution(out, out));
  norm2_ = NormLayer(*this, "norm2", norm, out / kGroupSize, out);
}

torch::Tensor DoubleConvolutionImpl::forward(const torch::Tensor& x) {
  const torch::Tensor y = norm1_(fast_convolution(x, conv1_->weight)).relu_();
  return norm2_(fast_convolution(y, conv2_->weight)).relu_();
}

UNet::UNet(UNetOptions options) : options_(options) {
  check(options_);
  const auto depth = static_cast<std::size_t>(options_.depth);
  for (std::size_t level = 0; level <= depth; ++level) {
    const auto l = static_cast<std::int64_t>(level);
    const std::int64_t in = level == 0 ? options_.channels() : options_.width_of(l - 1);
    down_.push_back(register_module("down" + std::to_string(level),
                                    DoubleConvolution(in, options_.width_of(l), options_.norm)));
  }
  up_.resize(depth, nullptr);
  join_.resize(depth, nullptr);
  for (std::size_t level = depth; level-- > 0;) {
    const auto l = static_cast<std::int64_t>(level);
    const std::int64_t below = options_.width_of(l + 1), here = options_.width_of(l);
    up_[level] =
        register_module("up" + std::to_string(level),
                        nn::ConvTranspose2d(nn::ConvTranspose2dOptions(below, here, 2).stride(2)));
    join_[level] = register_module("join" + std::to_string(level),
                                   DoubleConvolution(2 * here, here, options_.norm));
  }
  head_ = register_module("head", nn::Conv2d(nn::Conv2dOptions(options_.width, 1, 1)));
}

torch::Tensor UNet::forward(const torch::Tensor& x) {
  const std::int64_t multiple = std::int64_t{1} << options_.depth;
  if (x.dim() != 4 || x.size(1) != options_.channels() || x.size(2) % multiple != 0 ||
      x.size(3) % multiple != 0)
    throw Error(ErrorCode::usage,
                "the U-Net takes [n, " + std::to_string(options_.channels()) +
                    ", h, w] with h and w multiples of " + std::to_string(multiple) +
                    ", found another shape: choose another --image-size or --depth");
  // On the CPU channels-last throughout: what fast_convolution() works on.
  torch::Tensor y = x.is_cpu() ? x.contiguous(torch::MemoryFormat::ChannelsLast) : x;
  std::vector<torch::Tensor> skips;
  for (std::size_t level = 0; level < down_.size(); ++level) {
    if (level > 0) y = torch::max_pool2d(y, 2);
    y = down_[level](y);
    skips.push_back(y);
  }
  for (std::size_t level = up_.size(); level-- > 0;)
    y = join_[level](torch::cat({skips[level], up_convolution(up_[level], y)}, 1));
  return head_(y);
}

torch::Tensor stored_logits(UNet& net, const torch::Tensor& x, std::int64_t ratio) {
  if (ratio == 1) return net.forward(x);
  const torch::Tensor y = net.forward(torch::avg_pool2d(x, ratio));
  return torch::upsample_bilinear2d(y, {y.size(2) * ratio, y.size(3) * ratio},
                                    /*align_corners=*/false);
}

void save_unet_weights(UNet& net, const std::filesystem::path& path,
                       const std::map<std::string, std::string>& metadata) {
  TensorFile file;
  for (const auto& [name, tensor] : state_of(net))
    file.tensors[name] = tensor.detach().to(torch::kCPU).contiguous();
  file.metadata = {{"format", "pt"}, {"wsp.model", "unet"}, {"wsp.input", "(hu+100)/500"}};
  for (const auto& [key, value] : metadata) file.metadata[key] = value;
  write_tensor_file(path, file);
}

void load_unet_weights(UNet& net, const std::map<std::string, torch::Tensor>& weights) {
  copy_state(net, weights, "this U-Net");
}

}  // namespace wsp::train

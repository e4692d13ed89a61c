#include "train/model/fused_pooling.hpp"

#include "io/core/error.hpp"
#include "train/kernels/pool_relu.hpp"
#include "train/model/cuda_kernels.hpp"

namespace wsp::train {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

bool is_channels_last(const Tensor& map) {
  return !map.is_contiguous() && map.is_contiguous(torch::MemoryFormat::ChannelsLast);
}

Tensor in_layout(const Tensor& map, bool channels_last) {
  return map.contiguous(channels_last ? torch::MemoryFormat::ChannelsLast
                                      : torch::MemoryFormat::Contiguous);
}

PoolShape shape_of(c10::IntArrayRef sizes, bool channels_last) {
  return {sizes[0], sizes[1], sizes[2], sizes[3], channels_last};
}

void require_map(const Tensor& conv, const Tensor& bias) {
  const bool typed = conv.scalar_type() == torch::kFloat ||
                     (conv.is_cuda() && (conv.scalar_type() == torch::kHalf ||
                                         conv.scalar_type() == torch::kBFloat16));
  if (conv.dim() != 4 || conv.size(2) < 2 || conv.size(3) < 2 || !typed || bias.dim() != 1 ||
      bias.size(0) != conv.size(1) || bias.scalar_type() != torch::kFloat ||
      bias.device() != conv.device())
    throw Error(ErrorCode::failure,
                "bias_relu_pool: expected a map [n, c, h, w] of at least 2x2 in float32 (on a card "
                "half or bfloat16 too) "
                "and a float32 bias [c] on its device");
}

class BiasReluPool : public torch::autograd::Function<BiasReluPool> {
 public:
  static Tensor forward(AutogradContext* context, const Tensor& given, const Tensor& bias) {
    const bool channels_last = is_channels_last(given);
    const Tensor conv = in_layout(given, channels_last);
    const PoolShape shape = shape_of(conv.sizes(), channels_last);
    const auto format =
        channels_last ? torch::MemoryFormat::ChannelsLast : torch::MemoryFormat::Contiguous;
    Tensor out = torch::empty({shape.n, shape.c, shape.out_h(), shape.out_w()},
                              conv.options().memory_format(format));
    Tensor winner =
        torch::empty(out.sizes(), conv.options().dtype(torch::kByte).memory_format(format));
    if (conv.is_cuda())
      bias_relu_pool_on_card(shape, conv, bias.contiguous(), out, winner);
    else
      bias_relu_pool_cpu(shape, conv.data_ptr<float>(), bias.contiguous().data_ptr<float>(),
                         out.data_ptr<float>(), winner.data_ptr<std::uint8_t>());
    context->save_for_backward({winner});
    context->saved_data["sizes"] = conv.sizes().vec();
    context->saved_data["channels_last"] = channels_last;
    return out;
  }

  static variable_list backward(AutogradContext* context, const variable_list& outer) {
    const Tensor winner = context->get_saved_variables()[0];
    const auto sizes = context->saved_data["sizes"].toIntVector();
    const bool channels_last = context->saved_data["channels_last"].toBool();
    const PoolShape shape = shape_of(sizes, channels_last);
    const Tensor gradient = in_layout(outer[0], channels_last);
    Tensor conv_gradient, bias_gradient;
    if (context->needs_input_grad(0)) {
      const auto format =
          channels_last ? torch::MemoryFormat::ChannelsLast : torch::MemoryFormat::Contiguous;
      conv_gradient = torch::empty(sizes, gradient.options().memory_format(format));
      if (gradient.is_cuda())
        bias_relu_pool_backward_on_card(shape, gradient, winner, conv_gradient);
      else
        bias_relu_pool_backward_cpu(shape, gradient.data_ptr<float>(),
                                    winner.data_ptr<std::uint8_t>(),
                                    conv_gradient.data_ptr<float>());
    }
    if (context->needs_input_grad(1))  // over a quarter of the map's values
      bias_gradient =
          gradient.masked_fill(winner.eq(kNothingPositive), 0).sum({0, 2, 3}, false, torch::kFloat);
    return {conv_gradient, bias_gradient};
  }
};

}  // namespace

Tensor bias_relu_pool(const Tensor& conv, const Tensor& bias) {
  require_map(conv, bias);
  return BiasReluPool::apply(conv, bias);
}

Tensor fused_pooled_convolution(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  return bias_relu_pool(torch::conv2d(x, weight), bias);
}

}  // namespace wsp::train

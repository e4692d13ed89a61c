#include "train/model/pooled_convolution.hpp"

#include "train/kernels/pooled_conv.hpp"
#include "train/model/cpu_path.hpp"
#include "train/model/parallel.hpp"

namespace wsp::train {
namespace {

using torch::Tensor;

PooledConv shape_of(const Tensor& x, const Tensor& weight) {
  PooledConv s;
  s.n = x.size(0);
  s.in_c = x.size(1);
  s.in_h = x.size(2);
  s.in_w = x.size(3);
  s.out_c = weight.size(0);
  return s;
}

bool served(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  return is_plain_float(x) && is_plain_float(weight) && is_plain_float(bias) && x.dim() == 4 &&
         weight.dim() == 4 && weight.size(1) == x.size(1) &&
         weight.size(2) == PooledConv::kKernel && weight.size(3) == PooledConv::kKernel &&
         !cpu_autocast() && pooled_conv_served(shape_of(x, weight));
}

class PooledConvolution : public torch::autograd::Function<PooledConvolution> {
 public:
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& x_given,
                        const Tensor& weight, const Tensor& bias) {
    const PooledConv s = shape_of(x_given, weight);
    // With one channel the two formats are the same bytes, but strides may say either.
    const Tensor x = s.in_c == 1 ? x_given.contiguous() : channels_last(x_given);
    Tensor out = torch::empty({s.n, s.out_c, s.out_h(), s.out_w()},
                              x.options().memory_format(torch::MemoryFormat::ChannelsLast));
    Tensor winner =
        torch::empty({s.n, s.out_h(), s.out_w(), s.out_c}, x.options().dtype(torch::kByte));
    auto* to = out.data_ptr<float>();
    auto* who = winner.data_ptr<std::uint8_t>();
    if (s.in_c == 1) {
      const Tensor w = weight.contiguous(), b = bias.contiguous();
      at::parallel_for(0, s.n, 1, [&](std::int64_t first, std::int64_t last) {
        first_conv_pool_relu(s, first, last, x.data_ptr<float>(), w.data_ptr<float>(),
                             b.data_ptr<float>(), to, who);
      });
    } else {
      const Tensor conv = channels_last(torch::conv2d(x, weight, bias));
      const auto* from = conv.data_ptr<float>();
      const std::int64_t image = s.conv_h() * s.conv_w() * s.out_c;
      at::parallel_for(0, s.n, 1, [&](std::int64_t first, std::int64_t last) {
        pool_relu(s, first, last, from + first * image, to, who);
      });
    }
    context->save_for_backward({x, weight, bias, winner});
    return out;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const Tensor &x = saved[0], &weight = saved[1], &bias = saved[2], &winner = saved[3];
    const PooledConv s = shape_of(x, weight);
    const Tensor gradient = channels_last(gradients[0]);
    const auto* g = gradient.data_ptr<float>();
    const auto* who = winner.data_ptr<std::uint8_t>();

    Tensor x_gradient, weight_gradient, bias_gradient;
    if (context->needs_input_grad(1) || context->needs_input_grad(2)) {
      weight_gradient = torch::empty(weight.sizes(), x.options());
      bias_gradient = torch::empty({s.out_c}, x.options());
      at::parallel_for(0, s.out_c, 1, [&](std::int64_t first, std::int64_t last) {
        pooled_conv_backward_weight(s, first, last, x.data_ptr<float>(), g, who,
                                    weight_gradient.data_ptr<float>(),
                                    bias_gradient.data_ptr<float>());
      });
    }
    if (context->needs_input_grad(0) && s.in_c == 1) {
      // Nobody trains through an image; whoever asks for its gradient gets it the plain way.
      const torch::AutoGradMode graph(true);
      const Tensor leaf = x.detach().requires_grad_(true);
      const Tensor y = pooled_convolution_plain(leaf, weight.detach(), bias.detach());
      x_gradient = torch::autograd::grad({y}, {leaf}, {gradient})[0];
    } else if (context->needs_input_grad(0)) {
      x_gradient =
          torch::empty(x.sizes(), x.options().memory_format(torch::MemoryFormat::ChannelsLast));
      const Tensor packed = torch::empty({weight.numel()}, x.options());
      pack_weight(s, weight.contiguous().data_ptr<float>(), packed.data_ptr<float>());
      at::parallel_for(0, s.groups(), 1, [&](std::int64_t first, std::int64_t last) {
        pooled_conv_backward_input(s, first, last, packed.data_ptr<float>(), g, who,
                                   x_gradient.data_ptr<float>());
      });
    }
    return {x_gradient, weight_gradient, bias_gradient};
  }
};

}  // namespace

Tensor pooled_convolution_plain(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  // The maximum commutes with ReLU, which then touches a quarter of the pixels, in place.
  return torch::max_pool2d(torch::conv2d(x, weight, bias), 2).relu_();
}

Tensor pooled_convolution(const Tensor& x, const Tensor& weight, const Tensor& bias) {
  if (!served(x, weight, bias)) return pooled_convolution_plain(x, weight, bias);
  return PooledConvolution::apply(x, weight, bias);
}

}  // namespace wsp::train

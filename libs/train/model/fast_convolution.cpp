#include "train/model/fast_convolution.hpp"

#include "train/kernels/winograd.hpp"
#include "train/model/cpu_path.hpp"
#include "train/model/parallel.hpp"

namespace wsp::train {
namespace {

using torch::Tensor;

constexpr std::int64_t kLine = 16;  // channels of a block of transformed weights

Winograd winograd_of(const Tensor& x, const Tensor& weight) {
  return {x.size(0), x.size(2), x.size(3), x.size(1), weight.size(0)};
}

bool winograd_serves(const Tensor& x, const Tensor& weight) {
  return is_plain_float(x) && is_plain_float(weight) && x.dim() == 4 && weight.dim() == 4 &&
         weight.size(1) == x.size(1) && weight.size(2) == 3 && weight.size(3) == 3 &&
         !cpu_autocast() && winograd_served(winograd_of(x, weight));
}

Tensor image(const Winograd& s, std::int64_t channels, const Tensor& like) {
  return torch::empty({s.n, channels, s.h, s.w},
                      like.options().memory_format(torch::MemoryFormat::ChannelsLast));
}

Tensor weight_gradient_of(const Winograd& s, const Tensor& x, const Tensor& gradient) {
  const Tensor transforms = torch::empty({winograd_gradient_size(s)}, x.options());
  const Tensor sums = torch::zeros({winograd_weight_size(s)}, x.options());
  Tensor result = torch::empty({s.out_c, s.in_c, 3, 3}, x.options());
  auto* t = transforms.data_ptr<float>();
  const std::int64_t block = winograd_gradient_block(s);
  for (std::int64_t begin = 0; begin < s.tiles(); begin += block) {
    const std::int64_t count = std::min(block, s.tiles() - begin);
    at::parallel_for(0, count, 1, [&](std::int64_t first, std::int64_t last) {
      winograd_gradient_tiles(s, begin, first, last, x.data_ptr<float>(),
                              gradient.data_ptr<float>(), t);
    });
    at::parallel_for(0, Winograd::kPoints, 1, [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t point = first; point < last; ++point)
        winograd_gradient_point(s, point, count, t, sums.data_ptr<float>());
    });
  }
  at::parallel_for(0, s.out_c / kLine, 1, [&](std::int64_t first, std::int64_t last) {
    winograd_weight_gradient(s, first, last, sums.data_ptr<float>(), result.data_ptr<float>());
  });
  return result;
}

class FastConvolution : public torch::autograd::Function<FastConvolution> {
 public:
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& x_given,
                        const Tensor& weight_given) {
    const Tensor x = channels_last(x_given), weight = weight_given.contiguous();
    const Winograd s = winograd_of(x, weight);
    const Tensor u = torch::empty({winograd_weight_size(s)}, x.options());
    at::parallel_for(0, s.out_c / kLine, 1, [&](std::int64_t first, std::int64_t last) {
      winograd_weight(s, first, last, weight.data_ptr<float>(), u.data_ptr<float>());
    });
    Tensor out = image(s, s.out_c, x);
    at::parallel_for(0, s.tiles(), 1, [&](std::int64_t first, std::int64_t last) {
      winograd_forward(s, first, last, x.data_ptr<float>(), u.data_ptr<float>(),
                       out.data_ptr<float>());
    });
    context->save_for_backward({x, weight_given});
    return out;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const Tensor &x = saved[0], weight = saved[1].contiguous();
    const Winograd s = winograd_of(x, weight);
    const Tensor gradient = channels_last(gradients[0]);
    Tensor x_gradient, weight_gradient;
    if (context->needs_input_grad(1)) weight_gradient = weight_gradient_of(s, x, gradient);
    if (context->needs_input_grad(0)) {
      const Tensor u = torch::empty({winograd_weight_size(s)}, x.options());
      at::parallel_for(0, s.in_c / kLine, 1, [&](std::int64_t first, std::int64_t last) {
        winograd_weight_backward(s, first, last, weight.data_ptr<float>(), u.data_ptr<float>());
      });
      x_gradient = image(s, s.in_c, x);
      at::parallel_for(0, s.tiles(), 1, [&](std::int64_t first, std::int64_t last) {
        winograd_forward(s.backward(), first, last, gradient.data_ptr<float>(), u.data_ptr<float>(),
                         x_gradient.data_ptr<float>());
      });
    }
    return {x_gradient, weight_gradient};
  }
};

}  // namespace

Tensor fast_convolution(const Tensor& x, const Tensor& weight) {
  if (!winograd_serves(x, weight)) return torch::conv2d(x, weight, {}, 1, 1);
  return FastConvolution::apply(x, weight);
}

}  // namespace wsp::train

#include "train/model/cuda_kernels.hpp"

#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>

#include <cstring>

#include "io/core/error.hpp"
#include "train/kernels/augment_cuda.hpp"
#include "train/kernels/pool_relu_cuda.hpp"
#include "train/model/contrastive_problem.hpp"
#include "train/model/kernel_rows.hpp"

/// Compiled wherever nvcc is found, linked where LibTorch has CUDA.
namespace wsp::train {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

void check_launch(const char* what, int code) {
  if (code != 0)
    throw Error(ErrorCode::failure, std::string(what) + " could not be started: " +
                                        cuda_error_text(code) + "; run without --cuda-kernels on");
}

cudaStream_t stream_of(const Tensor& tensor) {
  return c10::cuda::getCurrentCUDAStream(tensor.device().index()).stream();
}

PixelType pixel_type(torch::ScalarType type) {
  switch (type) {
    case torch::kFloat:
      return PixelType::f32;
    case torch::kBFloat16:
      return PixelType::bf16;
    case torch::kHalf:
      return PixelType::f16;
    default:
      throw Error(
          ErrorCode::failure,
          std::string("our kernels write float, bfloat16 or half, not ") + c10::toString(type));
  }
}

struct CudaContrastive : torch::autograd::Function<CudaContrastive> {
  /// z: [2n, dim] float32 and contiguous.
  static Variable forward(AutogradContext* context, const Variable& z,
                          const ContrastiveProblem<void>* problem, ContrastivePrecision precision,
                          bool with_gradient) {
    Tensor gradient;
    if (with_gradient) gradient = torch::empty_like(z);
    const Tensor loss = torch::empty({}, z.options().dtype(torch::kDouble));
    const auto bytes = static_cast<std::int64_t>(contrastive_cuda_workspace(*problem, precision));
    // LibTorch's allocator aligns to 512 bytes.
    const Tensor workspace = torch::empty({bytes}, z.options().dtype(torch::kByte));
    check_launch("the contrastive loss on CUDA",
                 contrastive_cuda(*problem, EmbeddingType::f32, precision, loss.data_ptr<double>(),
                                  with_gradient ? gradient.data_ptr<float>() : nullptr,
                                  workspace.data_ptr(), stream_of(z)));
    if (with_gradient) context->save_for_backward({gradient});
    return loss.to(torch::kFloat);
  }

  static variable_list backward(AutogradContext* context, const variable_list& outer) {
    return {context->get_saved_variables()[0] * outer[0], Variable(), Variable(), Variable()};
  }
};

}  // namespace

bool cuda_kernels_built() { return true; }

Tensor draw_views_cuda(const Tensor& hu, std::span<const Affine> affine, torch::ScalarType type) {
  require_cuda_kernels(hu.device());
  const c10::cuda::CUDAGuard guard(hu.device());
  const PixelType pixels = pixel_type(type);
  const Tensor source = hu.contiguous();
  const std::int64_t n = source.size(0);
  const std::int64_t size = source.size(1);
  const auto count = static_cast<std::int64_t>(affine.size());
  // Pinned, so that the copy does not wait; LibTorch keeps it until the copy is done.
  const Tensor host = torch::empty({count, 6}, torch::TensorOptions().pinned_memory(true));
  std::memcpy(host.data_ptr<float>(), affine.data(), affine.size_bytes());
  const Tensor maps = host.to(hu.device(), /*non_blocking=*/true);
  Tensor out = torch::empty({count, 1, size, size}, source.options().dtype(type));
  check_launch("the augmentation on CUDA",
               augment_cuda(source.data_ptr<std::int16_t>(), maps.data_ptr<float>(), n, count / n,
                            size, pixels, out.data_ptr(), stream_of(hu)));
  return out;
}

Tensor contrastive_loss_cuda(const Tensor& z, const Targets& targets, const KernelOptions& kernel,
                             double temperature, ContrastivePrecision precision) {
  require_cuda_kernels(z.device());
  check_contrastive(z, targets, kernel, temperature);
  const c10::cuda::CUDAGuard guard(z.device());
  const NoAutocast no_autocast;
  const Tensor rows = z.to(torch::kFloat).contiguous();
  const ProblemOfTensors tensors(rows, targets, kernel, temperature);
  if (tensors.coordinates() > kMostCoordinates)
    throw Error(ErrorCode::usage,
                "--cuda-kernels on takes at most " + std::to_string(kMostCoordinates) +
                    " of depth and continuous --kernel-column, found " +
                    std::to_string(tensors.coordinates()) + ": use --cuda-kernels off");
  return CudaContrastive::apply(rows, &tensors.problem, precision,
                                torch::GradMode::is_enabled() && rows.requires_grad());
}

void bias_relu_pool_on_card(const PoolShape& shape, const Tensor& conv, const Tensor& bias,
                            Tensor& out, Tensor& winner) {
  require_cuda_kernels(conv.device());
  const c10::cuda::CUDAGuard guard(conv.device());
  check_launch("bias, ReLU and pooling on CUDA",
               bias_relu_pool_cuda(shape, pixel_type(conv.scalar_type()), conv.data_ptr(),
                                   bias.data_ptr<float>(), out.data_ptr(),
                                   winner.data_ptr<std::uint8_t>(), stream_of(conv)));
}

void bias_relu_pool_backward_on_card(const PoolShape& shape, const Tensor& gradient,
                                     const Tensor& winner, Tensor& conv_gradient) {
  require_cuda_kernels(gradient.device());
  const c10::cuda::CUDAGuard guard(gradient.device());
  check_launch("the gradient of bias, ReLU and pooling on CUDA",
               bias_relu_pool_backward_cuda(shape, pixel_type(gradient.scalar_type()),
                                            gradient.data_ptr(), winner.data_ptr<std::uint8_t>(),
                                            conv_gradient.data_ptr(), stream_of(gradient)));
}

}  // namespace wsp::train

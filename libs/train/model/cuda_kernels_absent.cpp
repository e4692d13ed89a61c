#include "train/model/cuda_kernels.hpp"

/// In place of cuda_kernels.cpp where nvcc or LibTorch's CUDA is absent.
namespace wsp::train {

bool cuda_kernels_built() { return false; }

torch::Tensor draw_views_cuda(const torch::Tensor& hu, std::span<const Affine>, torch::ScalarType) {
  require_cuda_kernels(hu.device());
  return {};
}

torch::Tensor contrastive_loss_cuda(const torch::Tensor& z, const Targets&, const KernelOptions&,
                                    double, ContrastivePrecision) {
  require_cuda_kernels(z.device());
  return {};
}

void bias_relu_pool_on_card(const PoolShape&, const torch::Tensor& conv, const torch::Tensor&,
                            torch::Tensor&, torch::Tensor&) {
  require_cuda_kernels(conv.device());
}

void bias_relu_pool_backward_on_card(const PoolShape&, const torch::Tensor& gradient,
                                     const torch::Tensor&, torch::Tensor&) {
  require_cuda_kernels(gradient.device());
}

}  // namespace wsp::train

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

}  // namespace wsp::train

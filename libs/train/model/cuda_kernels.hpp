#pragma once
#include <torch/torch.h>

#include <span>

#include "train/kernels/augment.hpp"
#include "train/kernels/contrastive_cuda.hpp"
#include "train/kernels/pool_relu.hpp"
#include "train/model/losses.hpp"

/// Our CUDA kernels as functions of tensors, on the current stream of the tensors' card. They have
/// not run on a card yet: nothing calls them unless --cuda-kernels on is asked for.
namespace wsp::train {

/// True where this program holds them: nvcc compiled them, and its LibTorch has CUDA. Where false,
/// the others throw Error(usage).
[[nodiscard]] bool cuda_kernels_built();

/// Throw Error(usage) unless the kernels can be used on `device`, saying why.
void require_cuda_kernels(const torch::Device& device);

/// What augment_cpu draws. hu: [n, s, s] int16 on a card; affine: [views * n], view 1 of all slices
/// first; type: kFloat, kBFloat16 or kHalf. Returns [views * n, 1, s, s] of `type`. Throws
/// Error(failure) where CUDA refuses the launch.
[[nodiscard]] torch::Tensor draw_views_cuda(const torch::Tensor& hu, std::span<const Affine> affine,
                                            torch::ScalarType type);

/// What contrastive_loss computes, for z [2n, dim] and targets on one card, in float32 whatever the
/// type of z. Neither loss nor gradient waits for the card. Differentiable once in z. Throws as
/// contrastive_loss does, Error(usage) for more than kMostCoordinates of depth and continuous
/// columns, and Error(failure) where CUDA refuses a launch.
[[nodiscard]] torch::Tensor contrastive_loss_cuda(const torch::Tensor& z, const Targets& targets,
                                                  const KernelOptions& kernel, double temperature,
                                                  ContrastivePrecision precision);

/// bias_relu_pool_cpu() and its way back for contiguous tensors of a card in the layout of `shape`:
/// maps of kFloat, kBFloat16 or kHalf, bias kFloat [c], winner kByte. Throw Error(failure) where
/// CUDA refuses a launch.
void bias_relu_pool_on_card(const PoolShape& shape, const torch::Tensor& conv,
                            const torch::Tensor& bias, torch::Tensor& out, torch::Tensor& winner);
void bias_relu_pool_backward_on_card(const PoolShape& shape, const torch::Tensor& gradient,
                                     const torch::Tensor& winner, torch::Tensor& conv_gradient);

}  // namespace wsp::train

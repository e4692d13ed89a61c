#pragma once
#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "train/kernels/contrastive.hpp"

namespace wsp::train {

/// What the losses know of the n slices of a batch, on the device of the embeddings.
struct Targets {
  torch::Tensor label;       ///< [n] int64, -1 unknown
  torch::Tensor depth;       ///< [n] float64
  torch::Tensor discrete;    ///< [columns, n] int64 or undefined
  torch::Tensor continuous;  ///< [columns, n] float64 or undefined
  std::vector<double> continuous_sigma;
  torch::Tensor value;  ///< [n] float64 or undefined: the number that Rank-N-Contrast learns from;
                        ///< NaN unknown
};

/// Which pairs are candidates and how they are weighted.
struct KernelOptions {
  KernelShape shape = KernelShape::rbf;
  double sigma = 0.1;
  bool use_label = true;       ///< delta(y)
  bool use_depth = true;       ///< w_sigma(d)
  bool own_view_only = false;  ///< SimCLR
  Normalisation normalisation = Normalisation::paper;
};

/// Composite kernel over the n slices, [n, n] float64 (not normalised, diagonal 1): delta(y) * w(d)
/// * extra columns. A slice with y = -1 matches only itself, where the label counts; so does one
/// with -1 or NaN in an extra column. The kernel of continuous columns is Gaussian.
torch::Tensor composite_kernel(const Targets& targets, const KernelOptions& kernel);

/// L_WSP and its limits (SupCon, depth-Aware, SimCLR) for z [2n, dim]: view 1 of all slices, then
/// view 2. Differentiable in z. Embeddings are normalised here. tile 0: one [2n, 2n] matrix in
/// plain Torch; otherwise tiles of that many anchors, with an exact gradient and no matrix beyond
/// [tile, 2n]. In float32, also under autocast and for half precision; float64 stays. The reference
/// normalisation divides by 2n for SupCon (label only, no extra columns), as the published code
/// does. Sarfati et al., equation 4. Throws Error(failure) for targets of other shapes.
torch::Tensor contrastive_loss(const torch::Tensor& z, const Targets& targets,
                               const KernelOptions& kernel, double temperature,
                               std::int64_t tile = 0);

/// L^exp for z as in contrastive_loss(): a view repels the less the more it weighs, see
/// contrastive_loss_cpu(). On the CPU by that, in tiles (0: of 64) and in double; elsewhere as
/// whole matrices in Torch, whatever the tile. The normalisation is always the paper's.
torch::Tensor weighted_repulsion_loss(const torch::Tensor& z, const Targets& targets,
                                      const KernelOptions& kernel, double temperature,
                                      std::int64_t tile = 0);

/// Rank-N-Contrast of targets.value for z [2n, dim], which is not normalised: see
/// rank_contrast_loss_cpu(). On the CPU by that, in tiles (0: of 64 anchors) and in double;
/// elsewhere as whole matrices in Torch, whatever the tile.
torch::Tensor rank_contrast_loss(const torch::Tensor& z, const Targets& targets, double temperature,
                                 std::int64_t tile = 0);

/// Kernel-weighted BYOL/SimSiam of one direction: mean over t of sum_i W_ti (2 - 2 cos(p_t, z_i)),
/// W the row-normalised composite kernel of the n slices. p, target: [n, dim]; no gradient is
/// stopped here. Without kernel (own_view_only): plain BYOL.
torch::Tensor kernel_regression_loss(const torch::Tensor& p, const torch::Tensor& target,
                                     const Targets& targets, const KernelOptions& kernel);

/// Kernel-weighted Barlow Twins: cross-correlation of std(z1) with std(W std(z2)), averaged with
/// the roles exchanged; sum (1 - c_ii)^2 + lambda * sum_{i != j} c_ij^2. Biased variance, eps 1e-5.
/// z1, z2: [n, dim].
torch::Tensor kernel_barlow_loss(const torch::Tensor& z1, const torch::Tensor& z2,
                                 const Targets& targets, const KernelOptions& kernel,
                                 double lambda);

}  // namespace wsp::train

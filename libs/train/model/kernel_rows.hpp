#pragma once
#include "train/model/losses.hpp"

/// What the dense and the tiled loss share; not for users of the library.
namespace wsp::train {

/// Leave autocast in this scope, so that Gram matrices and their sums keep the precision of the
/// embeddings' float32.
class NoAutocast {
 public:
  NoAutocast() : guard_(c10::autocast_dispatch_keyset) {}

 private:
  c10::impl::ExcludeDispatchKeyGuard guard_;
};

/// Throw Error(failure) with "loss: " and what is wrong.
void require_of_loss(bool ok, const std::string& what);

/// Throw Error(failure) unless the targets describe n slices in the shapes of losses.hpp with all
/// that the kernel needs, and every sigma is positive.
void check_targets(const Targets& targets, const KernelOptions& kernel, std::int64_t n);

/// Throw Error(failure) unless contrastive_loss() has a meaning for these.
void check_contrastive(const torch::Tensor& z, const Targets& targets, const KernelOptions& kernel,
                       double temperature);

/// Rows [first, last) of composite_kernel(): [last - first, n] float64.
torch::Tensor kernel_rows(const Targets& targets, const KernelOptions& kernel, std::int64_t first,
                          std::int64_t last);

/// True where the sum over the 2n anchors is divided by 2n, not by n: `paper`, and in `reference`
/// SupCon, which the published code takes from a module of its own.
bool mean_over_anchors(const Targets& targets, const KernelOptions& kernel);

/// half and bfloat16 become float32; float32 and float64 stay.
torch::Tensor at_least_float(const torch::Tensor& x);
/// Unit rows; a row shorter than 1e-12 is divided by that.
torch::Tensor unit_rows(const torch::Tensor& x);

/// What weighted_repulsion_loss() and rank_contrast_loss() are off the CPU: whole matrices in
/// Torch. z: float32 or float64; value: [n] float64 on its device.
torch::Tensor dense_weighted_repulsion_loss(const torch::Tensor& z, const Targets& targets,
                                            const KernelOptions& kernel, double temperature);
torch::Tensor dense_rank_contrast_loss(const torch::Tensor& z, const torch::Tensor& value,
                                       double temperature);

/// The tiled form of contrastive_loss() for unit rows u [2n, dim].
torch::Tensor tiled_contrastive_loss(const torch::Tensor& u, const Targets& targets,
                                     const KernelOptions& kernel, double temperature,
                                     std::int64_t tile);

}  // namespace wsp::train

#pragma once
#include <torch/torch.h>

namespace wsp::train {

/// Soft Dice loss over a whole batch, 1 - (2 sum(p t) + 1) / (sum(p) + sum(t) + 1), p the sigmoid
/// of the logits (Milletari et al. 2016, V-Net, without squares). A batch's sums keep slices
/// without liver from being all or nothing. Computed in float32. logits, masks (0 or 1): the same
/// shape.
torch::Tensor dice_loss(const torch::Tensor& logits, const torch::Tensor& masks);

/// Binary cross-entropy, mean over pixels, plus `dice_weight` times dice_loss().
torch::Tensor segmentation_loss(const torch::Tensor& logits, const torch::Tensor& masks,
                                double dice_weight);

}  // namespace wsp::train

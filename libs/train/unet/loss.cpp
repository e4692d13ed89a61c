#include "train/unet/loss.hpp"

namespace wsp::train {

torch::Tensor dice_loss(const torch::Tensor& logits, const torch::Tensor& masks) {
  constexpr double kSmooth = 1;
  const torch::Tensor p = torch::sigmoid(logits.to(torch::kFloat));
  return 1 - (2 * (p * masks).sum() + kSmooth) / (p.sum() + masks.sum() + kSmooth);
}

torch::Tensor segmentation_loss(const torch::Tensor& logits, const torch::Tensor& masks,
                                double dice_weight) {
  const torch::Tensor entropy =
      torch::binary_cross_entropy_with_logits(logits.to(torch::kFloat), masks);
  return dice_weight == 0 ? entropy : entropy + dice_weight * dice_loss(logits, masks);
}

}  // namespace wsp::train

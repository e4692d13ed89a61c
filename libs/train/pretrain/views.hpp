#pragma once
#include <torch/torch.h>

#include <cstdint>
#include <span>
#include <vector>

#include "train/kernels/augment.hpp"

namespace wsp::train {

/// How views are drawn on a card.
struct ViewDrawing {
  bool cuda_kernel = false;                ///< by augment_cuda, not by LibTorch's sampler
  torch::ScalarType type = torch::kFloat;  ///< that the kernel writes: kFloat, kBFloat16 or kHalf
};

/// Draw two views of each slice on the device of `hu`, in one resampling. hu: [n, s, s] int16.
/// parameters: [2n], view 1 of all slices, then view 2. Returns [2n, 1, s, s] in [0, 1],
/// float32 unless `drawing` says otherwise.
torch::Tensor draw_views(const torch::Tensor& hu, std::span<const ViewParameters> parameters,
                         const ViewDrawing& drawing = {});

/// Slices as they are, [n, 1, s, s] float32 in [0, 1].
torch::Tensor plain_views(const torch::Tensor& hu);

}  // namespace wsp::train

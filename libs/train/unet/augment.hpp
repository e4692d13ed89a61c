#pragma once
#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "train/kernels/augment.hpp"
#include "train/unet/config.hpp"

namespace wsp::train {

/// What was drawn for one training slice.
struct PairParameters {
  ViewParameters affine;            ///< flips, rotation, translation, crop
  std::vector<float> displacement;  ///< [2][grid][grid] x then y, part of the side; empty: none
  double gain = 1, offset = 0, gamma = 1, noise = 0;
  std::uint64_t noise_seed = 0;
};

/// Draw for a slice: a function of (seed, epoch, sample) alone, where `sample` counts draws within
/// the epoch.
PairParameters draw_pair(const UNetConfig& config, std::uint64_t epoch, std::uint64_t sample);

/// The offsets of what the network sees about a slice of a scan that may, with
/// config.cut_context, end within them: beyond that the last slice is repeated. Drawn like
/// draw_pair().
std::vector<std::int64_t> draw_context(std::vector<std::int64_t> offsets, const UNetConfig& config,
                                       std::uint64_t epoch, std::uint64_t sample);

/// A slice with its neighbours and its mask, moved alike.
struct AugmentedPair {
  torch::Tensor images;  ///< [m, 2k+1, s, s] float in [0, 1]
  torch::Tensor masks;   ///< [m, 1, s, s] float, 0 or 1
};

/// Move images and masks by one map of affine and elastic displacement (bicubic between control
/// points), images bilinearly, masks to the nearest, outside -100 HU and no liver; then change the
/// images' intensities x^gamma * gain + offset + noise, clipped to [0, 1]. images: [m, 2k+1, s, s]
/// float in [0, 1]; masks: [m, 1, s, s] float. Sample i does not depend on the others.
AugmentedPair augment_pairs(const torch::Tensor& images, const torch::Tensor& masks,
                            const std::vector<PairParameters>& parameters,
                            std::int64_t elastic_grid);

}  // namespace wsp::train

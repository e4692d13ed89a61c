#pragma once
#include <cstdint>
#include <vector>

#include "preprocess/segment/model_grid.hpp"
#include "preprocess/segment/model_segmenter.hpp"

namespace wsp {

/// Probabilities of liver on a network's grid: [z] a plane [y][x] in 1/65535, or empty where the
/// network was not asked, or found nothing.
using Probabilities = std::vector<std::vector<std::uint16_t>>;

/// A probability in 1/65535.
std::uint16_t quantised(float probability);

/// The least probability that makes a place worth a closer look in the coarse pass.
inline double coarse_threshold(const ModelDescriptor& model) { return model.threshold / 2; }

/// 2d and 2.5d: every slice, or those about the finds of a coarse pass.
Probabilities run_slices(const ModelGrid& grid, const ModelDescriptor& model, Network& network,
                         const SegmentationPlan& plan);

/// 3d: Gaussian-weighted sliding window. Beside the result it holds the planes and sums of one
/// layer of windows, whatever the volume's length.
Probabilities run_windows(const ModelGrid& grid, const ModelDescriptor& model, Network& network,
                          const SegmentationPlan& plan);

}  // namespace wsp

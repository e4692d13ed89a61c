#pragma once
#include <cstdint>
#include <map>
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

/// Planes of a grid as the network takes them, each made once for as long as it is wanted.
class HeldPlanes {
 public:
  explicit HeldPlanes(const ModelGrid& grid) : grid_(grid) {}
  /// Make what is missing of the planes `wanted` (any order, repeats allowed) on oneTBB's threads,
  /// and let go of all others.
  void hold(std::vector<std::int64_t> wanted);
  /// A held plane [y][x].
  [[nodiscard]] const std::vector<float>& at(std::int64_t z) const { return planes_.at(z); }

 private:
  const ModelGrid& grid_;
  std::map<std::int64_t, std::vector<float>> planes_;
};

/// 2d and 2.5d: every slice, or those about the finds of a coarse pass.
Probabilities run_slices(const ModelGrid& grid, const ModelDescriptor& model, Network& network,
                         const SegmentationPlan& plan);

/// 3d: Gaussian-weighted sliding window. Beside the result it holds the planes of one layer of
/// windows, or of up to 16 windows, and the sums of one layer, whatever the volume's length.
Probabilities run_windows(const ModelGrid& grid, const ModelDescriptor& model, Network& network,
                          const SegmentationPlan& plan);

/// The same for an nnU-Net, 2d or 3d, whose logits are averaged, brought to the volume's grid and
/// judged there, head by head. A 2d model runs on every slice. It holds the logits of one layer of
/// windows.
Segmentation run_nnunet(const Volume& volume, const ModelGrid& grid, const ModelDescriptor& model,
                        Network& network, const SegmentationPlan& plan);

}  // namespace wsp

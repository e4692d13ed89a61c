#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "preprocess/ops/surface_distance.hpp"

namespace wsp::train {

/// How a predicted mask agrees with the true one.
struct OverlapScores {
  double dice = 0, iou = 0;  ///< 1 where both masks are empty
  double truth_ml = 0, predicted_ml = 0;
  /// (predicted - true) / true volume; NaN where the true mask is empty.
  [[nodiscard]] double volume_error() const { return (predicted_ml - truth_ml) / truth_ml; }
};

/// Slices weigh by half the distance to their neighbours, as the ingest's liver volumes do; Dice
/// and IoU count voxels. truth, predicted: [z][y][x], 0 or not. Throws Error(failure) where sizes
/// differ.
OverlapScores overlap_scores(std::span<const std::uint8_t> truth,
                             std::span<const std::uint8_t> predicted, const VoxelGrid& grid);

/// A mean and the 95 % interval of its bootstrap.
struct BootstrapMean {
  double mean = 0, low = 0, high = 0;
  std::int64_t values = 0;  ///< finite ones, over which the mean is
};

/// Percentile bootstrap (Efron 1979) of the mean: whole groups (subjects) are drawn with
/// replacement, since the volumes of one person are not independent. Values that are not finite are
/// left out. A function of its arguments alone. Throws Error(failure) where the lists differ in
/// length.
BootstrapMean bootstrap_mean(std::span<const double> values, const std::vector<std::string>& groups,
                             std::int64_t resamples, std::uint64_t seed);

}  // namespace wsp::train

#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "io/core/volume.hpp"
#include "preprocess/segment/descriptor.hpp"

namespace wsp {

/// The weights with which one sample of a grid reads an axis of another; none: it lies outside.
struct AxisTaps {
  std::int64_t first = 0;
  std::vector<float> weight;
};

/// One axis of the volume beside the same axis of the network's grid.
struct AxisMap {
  std::int64_t native = 0, model = 0;  ///< samples of the volume, of the network's grid
  bool identity = false;               ///< the two are one
  std::vector<AxisTaps> to_model;      ///< [model sample] into the volume
  std::vector<AxisTaps> to_native;     ///< [volume sample] into the network's grid
};

/// The network's grid over a volume, in the volume's own axis order and directions (z, y, x): only
/// size and spacing differ. Orientation is a matter of reading it (fill_tensor(), read_tensor()).
/// HU are averaged over what a coarser sample covers and interpolated linearly where the network's
/// grid is finer; probabilities come back by linear interpolation. Uneven slice positions count
/// where slices are resampled.
class ModelGrid {
 public:
  ModelGrid(const Volume& volume, const ModelDescriptor& model);

  /// Samples along z, y, x.
  [[nodiscard]] std::array<std::int64_t, 3> size() const {
    return {axis_[2].model, axis_[1].model, axis_[0].model};
  }
  [[nodiscard]] std::int64_t plane_size() const { return axis_[1].model * axis_[0].model; }
  /// mm between samples along z, y, x (median where slices stay as acquired).
  [[nodiscard]] std::array<double, 3> spacing_mm() const { return spacing_mm_; }

  /// One plane [y][x] as the network takes it: resampled, clipped to the window, scaled. What lies
  /// beyond the volume has the window's lower value. Thread-safe.
  [[nodiscard]] std::vector<float> plane(std::int64_t z) const;

  /// Bring probabilities in 1/65535 back: `planes[z]` is a plane of the network's grid or empty (no
  /// liver there). Returns the volume's slice z [y][x] in [0, 1]; empty where all is. Thread-safe.
  [[nodiscard]] std::vector<float> native_slice(
      std::int64_t z, std::span<const std::vector<std::uint16_t>> planes) const;

 private:
  const Volume& volume_;
  const ModelDescriptor& model_;
  std::array<AxisMap, 3> axis_;  // x, y, z
  std::array<double, 3> spacing_mm_{};
};

/// An axis of samples at `positions_mm` (ascending) beside a grid of `spacing_mm` centred on it:
/// `content` samples cover the axis; they stand, centred, in `size` samples (padded or cropped).
AxisMap map_axis(std::span<const double> positions_mm, double spacing_mm, std::int64_t content,
                 std::int64_t size);

}  // namespace wsp

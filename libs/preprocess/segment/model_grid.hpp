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
/// where slices are resampled. For an nnU-Net all is as nnU-Net has it: the grid covers the box of
/// what is not 0 HU, HU are clipped before a spline resamples them, slices count as evenly spaced,
/// and what lies beyond has the value 0.
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
  /// beyond the volume has the window's lower value (nnU-Net: 0). Thread-safe.
  [[nodiscard]] std::vector<float> plane(std::int64_t z) const;

  /// Bring probabilities in 1/65535 back: `planes[z]` is a plane of the network's grid or empty (no
  /// liver there). Returns the volume's slice z [y][x] in [0, 1]; empty where all is. Thread-safe.
  [[nodiscard]] std::vector<float> native_slice(
      std::int64_t z, std::span<const std::vector<std::uint16_t>> planes) const;

  /// The planes of the network's grid that the volume's slice z is made of, from the first to the
  /// one after the last; none: it lies outside the grid.
  [[nodiscard]] std::array<std::int64_t, 2> planes_of(std::int64_t z) const;
  /// Slice z of `channels` maps, [channel][y][x]; planes[i] is plane planes_of(z)[0] + i of them.
  /// NaN outside the grid, and where a plane that counts has it. Thread-safe.
  [[nodiscard]] std::vector<float> native_maps(std::int64_t z, std::int64_t channels,
                                               std::span<const float* const> planes) const;

 private:
  void lay_out_nnunet();
  [[nodiscard]] std::vector<float> nnunet_plane(std::int64_t z) const;

  const Volume& volume_;
  const ModelDescriptor& model_;
  std::array<AxisMap, 3> axis_;  // x, y, z
  std::array<double, 3> spacing_mm_{};
  // nnU-Net: x, y, z of the box of what is not 0; the range of the clipped HU in it, of each slice
  // where slices are resampled apart; what makes them the network's values.
  std::array<std::int64_t, 3> crop_first_{}, crop_size_{};
  std::vector<std::array<float, 2>> hu_range_;  // [slice of the volume]
  bool slices_apart_ = false;
  float low_ = 0, high_ = 0;
  double factor_ = 1, offset_ = 0;
};

/// The weights with which each of `to` samples reads `from` samples that cover the same length, by
/// a spline of degree 0, 1 or 3 through them, the end samples repeated beyond the ends: what
/// scipy.ndimage.zoom(mode="nearest", grid_mode=True) does. The cubic spline's weights are cut off
/// where they are below 1e-7.
std::vector<AxisTaps> spline_taps(std::int64_t from, std::int64_t to, int order);

/// An axis of samples at `positions_mm` (ascending) beside a grid of `spacing_mm` centred on it:
/// `content` samples cover the axis; they stand, centred, in `size` samples (padded or cropped).
AxisMap map_axis(std::span<const double> positions_mm, double spacing_mm, std::int64_t content,
                 std::int64_t size);

}  // namespace wsp

#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "io/core/codes.hpp"
#include "io/core/geometry.hpp"

namespace wsp {

/// A canonical CT volume: x to patient left, y to posterior, z from feet to head; int16 HU,
/// [z][y][x] with x fastest. Padding is -1024. Not windowed.
struct Volume {
  Geometry geometry;                  ///< spacing_mm[2] is the median slice distance
  std::vector<double> z_mm;           ///< [z] position of each slice along the normal, ascending
  std::vector<Vec3> slice_origin_mm;  ///< [z] centre of voxel (0, 0) of each slice, LPS
  std::vector<std::int32_t>
      source_index;  ///< [z] index of the source slice in acquired order, feet to head
  std::vector<std::int16_t> hu;
  std::vector<Code> flags;

  [[nodiscard]] std::span<const std::int16_t> slice(std::int64_t z) const {
    return {hu.data() + z * geometry.slice_voxels(),
            static_cast<std::size_t>(geometry.slice_voxels())};
  }
};

/// A liver mask on the grid of its volume: 0 or 1, same order as Volume::hu.
struct LiverMask {
  Geometry geometry;
  std::vector<std::uint8_t> voxels;
  std::vector<Code> flags;

  [[nodiscard]] std::span<const std::uint8_t> slice(std::int64_t z) const {
    return {voxels.data() + z * geometry.slice_voxels(),
            static_cast<std::size_t>(geometry.slice_voxels())};
  }
};

}  // namespace wsp

#pragma once
#include <cstdint>
#include <vector>

#include "io/core/volume.hpp"

namespace wsp {

/// Of a slice, [y][x], one byte a pixel: 1 in a set, 0 outside.
using SlicePixels = std::vector<std::uint8_t>;

/// A rectangle of a slice's pixels.
struct SliceBox {
  std::int64_t x0 = 0, y0 = 0, nx = 0, ny = 0;
};

/// The smallest box of a set with `margin_mm` about it, within the slice; empty for an empty set.
SliceBox box_about(const SlicePixels& set, double margin_mm, const Geometry& geometry);

/// Squared distances of the box's pixels, [y][x], from those of `set` in the box, mm2; infinite
/// where it has none.
std::vector<float> distances_in_slice(const SlicePixels& set, const SliceBox& box,
                                      const Geometry& geometry);

}  // namespace wsp

#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "io/core/volume.hpp"
#include "preprocess/ops/liver.hpp"
#include "preprocess/ops/runs.hpp"
#include "preprocess/ops/slices.hpp"

namespace wsp {

/// A small PNG: a coronal (left) and a sagittal (right) view of the windowed volume, head up,
/// averaged over the liver's extent, with the mask's outline (red) and the first and last kept
/// slice (yellow). Its slices are added one by one, while each is in the cache.
class Preview {
 public:
  Preview(const MaskRuns& mask, WindowHu window);
  /// Of slice z, [y][x]. Each once, in any order and from any thread.
  void add_slice(std::int64_t z, std::span<const std::int16_t> hu);
  /// When all slices of `volume` were added.
  [[nodiscard]] std::vector<std::uint8_t> png(const Volume& volume, const SliceRange& kept) const;

  /// A projection along y (coronal) or x (sagittal), [slices][across].
  struct Projection {
    std::int64_t across = 0;
    std::int64_t first = 0, last = -1;  ///< the liver's range along it
    std::vector<float> mean;            ///< HU, over that range
    std::vector<std::uint8_t> hit;      ///< 1 where there is liver
  };

 private:
  std::int64_t nx_, ny_;
  WindowHu window_;
  Projection coronal_, sagittal_;
};

}  // namespace wsp

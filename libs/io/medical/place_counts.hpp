#pragma once
#include <cstdint>
#include <span>

#include "io/core/value_counts.hpp"
#include "io/core/volume.hpp"

namespace wsp {

/// How often each HU occurs in a volume, by the voxels' place in their slices: in a ring along the
/// edge (a sixteenth of the shorter side wide), in the middle half of both axes, between the two.
struct PlaceCounts {
  ValueCounts ring, core, rest;
  void add_slice(std::span<const std::int16_t> hu, std::int64_t nx, std::int64_t ny);
  void add(const PlaceCounts& other);
  [[nodiscard]] ValueCounts all() const;
};

/// Of all slices, in parallel.
[[nodiscard]] PlaceCounts count_places(const Volume& volume);

}  // namespace wsp

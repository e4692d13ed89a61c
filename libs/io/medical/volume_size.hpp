#pragma once
#include <cstdint>

#include "io/medical/study.hpp"

namespace wsp {

/// Voxels of the volume that read_series() makes of a series: a tilted stack needs a wider grid.
[[nodiscard]] std::uint64_t volume_voxels(const Series& series);

}  // namespace wsp

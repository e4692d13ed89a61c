#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace wsp {

/// Squared distance of every voxel centre to the nearest source, in place and exact (Felzenszwalb
/// and Huttenlocher 2012, along each axis with its own positions). `field` is [z][y][x]: 0 at the
/// sources, infinity elsewhere, and left infinite where there is no source. `position_mm` by axis
/// x, y, z, ascending; its lengths are the field's size. Parallel; the result does not depend on
/// the threads.
template <class Real>
void squared_distances(std::span<Real> field,
                       const std::array<std::vector<double>, 3>& position_mm);
extern template void squared_distances(std::span<float>, const std::array<std::vector<double>, 3>&);
extern template void squared_distances(std::span<double>,
                                       const std::array<std::vector<double>, 3>&);

}  // namespace wsp

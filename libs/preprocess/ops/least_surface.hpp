#pragma once
#include <array>
#include <cstdint>
#include <vector>

namespace wsp {

/// A grid [z][y][x], x fastest; `position_mm` by axis x, y, z, ascending.
struct SurfaceGrid {
  std::array<std::int64_t, 3> size{};
  std::array<std::vector<double>, 3> position_mm;
};

/// The region u in [0, 1] that weighs best the evidence of its voxels against its surface: it
/// minimises sum(-evidence * u) + sum(weight * |gradient of u|), a convex problem (Chan, Esedoglu
/// and Nikolova 2006), by `steps` primal-dual steps (Chambolle and Pock 2011). `evidence`: log-odds
/// of belonging to the region, -infinity where it may not be, which costs nearly no time; `weight`:
/// what its border costs there, in mm, finite and not negative; both of the grid's size. The region
/// is where the result is over 0.5. On one thread: the steps are too short to share. Memory: 20
/// bytes a voxel beside the arguments.
std::vector<float> least_surface(const std::vector<float>& evidence,
                                 const std::vector<float>& weight, const SurfaceGrid& grid,
                                 int steps);

}  // namespace wsp

#include "preprocess/ops/surface_distance.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "io/core/error.hpp"
#include "preprocess/ops/distance.hpp"

namespace wsp {
namespace {

constexpr double kNowhere = std::numeric_limits<double>::infinity();

using Index = std::array<std::int64_t, 3>;

/// Part of a grid, all axes from first to last inclusive.
struct Box {
  Index first{0, 0, 0}, last{-1, -1, -1};
  [[nodiscard]] std::int64_t size(std::size_t k) const { return last[k] - first[k] + 1; }
  [[nodiscard]] std::int64_t voxels() const { return size(0) * size(1) * size(2); }
};

Box bounds_of(std::span<const std::uint8_t> a, std::span<const std::uint8_t> b,
              const VoxelGrid& g) {
  Box box{g.size, {-1, -1, -1}};
  std::size_t i = 0;
  for (std::int64_t z = 0; z < g.size[2]; ++z)
    for (std::int64_t y = 0; y < g.size[1]; ++y)
      for (std::int64_t x = 0; x < g.size[0]; ++x, ++i) {
        if (a[i] == 0 && b[i] == 0) continue;
        const Index at{x, y, z};
        for (std::size_t k = 0; k < 3; ++k) {
          box.first[k] = std::min(box.first[k], at[k]);
          box.last[k] = std::max(box.last[k], at[k]);
        }
      }
  return box;
}

/// Surface voxels as positions in the box.
std::vector<std::int64_t> surface_of(std::span<const std::uint8_t> mask, const VoxelGrid& g,
                                     const Box& box) {
  const std::int64_t nx = g.size[0], plane = nx * g.size[1];
  const auto inside = [&](std::int64_t x, std::int64_t y, std::int64_t z) {
    return x >= 0 && y >= 0 && z >= 0 && x < nx && y < g.size[1] && z < g.size[2] &&
           mask[static_cast<std::size_t>(z * plane + y * nx + x)] != 0;
  };
  std::vector<std::int64_t> surface;
  std::int64_t place = 0;
  for (std::int64_t z = box.first[2]; z <= box.last[2]; ++z)
    for (std::int64_t y = box.first[1]; y <= box.last[1]; ++y)
      for (std::int64_t x = box.first[0]; x <= box.last[0]; ++x, ++place)
        if (inside(x, y, z) &&
            !(inside(x - 1, y, z) && inside(x + 1, y, z) && inside(x, y - 1, z) &&
              inside(x, y + 1, z) && inside(x, y, z - 1) && inside(x, y, z + 1)))
          surface.push_back(place);
  return surface;
}

/// Squared distance of every voxel of the box to the nearest of `sources`.
std::vector<double> distance_field(const std::vector<std::int64_t>& sources, const Box& box,
                                   const std::array<std::vector<double>, 3>& position) {
  std::vector<double> field(static_cast<std::size_t>(box.voxels()), kNowhere);
  for (const std::int64_t at : sources) field[static_cast<std::size_t>(at)] = 0;
  squared_distances(std::span(field), position);
  return field;
}

void append_distances(const std::vector<std::int64_t>& from, const std::vector<double>& field,
                      std::vector<double>& distances) {
  for (const std::int64_t at : from)
    distances.push_back(std::sqrt(field[static_cast<std::size_t>(at)]));
}

double percentile(std::vector<double>& values, double part) {
  std::sort(values.begin(), values.end());
  const double at = part * static_cast<double>(values.size() - 1);
  const auto low = static_cast<std::size_t>(at);
  const std::size_t high = std::min(low + 1, values.size() - 1);
  return values[low] + (at - static_cast<double>(low)) * (values[high] - values[low]);
}

void check(std::span<const std::uint8_t> a, std::span<const std::uint8_t> b, const VoxelGrid& g) {
  const auto voxels = static_cast<std::size_t>(g.size[0] * g.size[1] * g.size[2]);
  if (a.size() != voxels || b.size() != voxels ||
      g.z_mm.size() != static_cast<std::size_t>(g.size[2]))
    throw Error(ErrorCode::failure, "two masks and their slice positions are not of one grid");
  if (std::adjacent_find(g.z_mm.begin(), g.z_mm.end(), std::greater_equal<>()) != g.z_mm.end())
    throw Error(ErrorCode::failure, "the positions of slices do not ascend");
}

}  // namespace

SurfaceDistances surface_distances(std::span<const std::uint8_t> a, std::span<const std::uint8_t> b,
                                   const VoxelGrid& grid) {
  check(a, b, grid);
  const Box box = bounds_of(a, b, grid);
  if (box.last[0] < 0) return {};
  const auto surface_a = surface_of(a, grid, box), surface_b = surface_of(b, grid, box);
  if (surface_a.empty() || surface_b.empty()) return {std::nan(""), std::nan("")};
  // Both surfaces lie in the box, so distances within it are those of the whole grid.
  std::array<std::vector<double>, 3> position;
  for (std::size_t k = 0; k < 3; ++k)
    for (std::int64_t i = box.first[k]; i <= box.last[k]; ++i)
      position[k].push_back(k == 2 ? grid.z_mm[static_cast<std::size_t>(i)]
                                   : static_cast<double>(i) * grid.spacing_mm[k]);
  std::vector<double> distances;
  distances.reserve(surface_a.size() + surface_b.size());
  append_distances(surface_a, distance_field(surface_b, box, position), distances);
  append_distances(surface_b, distance_field(surface_a, box, position), distances);
  const double sum = std::accumulate(distances.begin(), distances.end(), 0.0);
  const double mean = sum / static_cast<double>(distances.size());
  return {percentile(distances, 0.95), mean};
}

}  // namespace wsp

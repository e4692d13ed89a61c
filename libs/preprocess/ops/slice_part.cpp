#include "preprocess/ops/slice_part.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <span>

#include "preprocess/ops/distance.hpp"

namespace wsp {

SliceBox box_about(const SlicePixels& set, double margin_mm, const Geometry& geometry) {
  const auto [nx, ny, nz] = geometry.size;
  std::int64_t x0 = nx, x1 = 0, y0 = ny, y1 = 0;
  for (std::int64_t y = 0; y < ny; ++y)
    for (std::int64_t x = 0; x < nx; ++x) {
      if (set[static_cast<std::size_t>(y * nx + x)] == 0) continue;
      x0 = std::min(x0, x);
      x1 = std::max(x1, x + 1);
      y0 = std::min(y0, y);
      y1 = y + 1;
    }
  if (x0 >= x1) return {};
  const auto px = static_cast<std::int64_t>(std::ceil(margin_mm / geometry.spacing_mm[0]));
  const auto py = static_cast<std::int64_t>(std::ceil(margin_mm / geometry.spacing_mm[1]));
  x0 = std::max<std::int64_t>(0, x0 - px);
  y0 = std::max<std::int64_t>(0, y0 - py);
  return {x0, y0, std::min(nx, x1 + px) - x0, std::min(ny, y1 + py) - y0};
}

std::vector<float> distances_in_slice(const SlicePixels& set, const SliceBox& box,
                                      const Geometry& geometry) {
  std::vector<float> field(static_cast<std::size_t>(box.nx * box.ny));
  for (std::int64_t y = 0; y < box.ny; ++y)
    for (std::int64_t x = 0; x < box.nx; ++x)
      field[static_cast<std::size_t>(y * box.nx + x)] =
          set[static_cast<std::size_t>((box.y0 + y) * geometry.size[0] + box.x0 + x)] != 0
              ? 0.0F
              : std::numeric_limits<float>::infinity();
  std::array<std::vector<double>, 3> positions{{{}, {}, {0.0}}};
  for (std::int64_t x = 0; x < box.nx; ++x)
    positions[0].push_back(static_cast<double>(x) * geometry.spacing_mm[0]);
  for (std::int64_t y = 0; y < box.ny; ++y)
    positions[1].push_back(static_cast<double>(y) * geometry.spacing_mm[1]);
  squared_distances(std::span(field), positions);
  return field;
}

}  // namespace wsp

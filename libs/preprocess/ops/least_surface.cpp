#include "preprocess/ops/least_surface.hpp"

#include <algorithm>
#include <cmath>

#include "io/core/parallel.hpp"

namespace wsp {
namespace {

// One over the distance to the next voxel along an axis; 0 at the last.
std::vector<float> inverse_steps(const std::vector<double>& position) {
  std::vector<float> inverse(position.size(), 0.0F);
  for (std::size_t i = 0; i + 1 < position.size(); ++i)
    inverse[i] = static_cast<float>(1 / (position[i + 1] - position[i]));
  return inverse;
}

}  // namespace

std::vector<float> least_surface(const std::vector<float>& evidence,
                                 const std::vector<float>& weight, const SurfaceGrid& grid,
                                 int steps) {
  const auto nx = static_cast<std::size_t>(grid.size[0]),
             ny = static_cast<std::size_t>(grid.size[1]),
             nz = static_cast<std::size_t>(grid.size[2]), plane = nx * ny;
  std::array<std::vector<float>, 3> inverse;
  double norm = 0;  // of the gradient, squared, at most
  for (std::size_t k = 0; k < 3; ++k) {
    inverse[k] = inverse_steps(grid.position_mm[k]);
    const double most = *std::max_element(inverse[k].begin(), inverse[k].end());
    norm += 4 * most * most;
  }
  std::vector<float> region(evidence.size());
  std::transform(evidence.begin(), evidence.end(), region.begin(),
                 [](float e) { return e > 0 ? 1.0F : 0.0F; });
  if (norm == 0) return region;
  const auto up = static_cast<float>(1.98 / std::sqrt(norm)),
             down = static_cast<float>(0.495 / std::sqrt(norm));
  std::vector<float> ahead = region, px(region.size()), py(region.size()), pz(region.size());
  for (int step = 0; step < steps; ++step) {
    wsp::parallel_loop(std::size_t{0}, nz, [&](std::size_t z) {
      for (std::size_t y = 0; y < ny; ++y)
        for (std::size_t x = 0, i = z * plane + y * nx; x < nx; ++x, ++i) {
          const float here = ahead[i];
          if (x + 1 < nx) px[i] += up * inverse[0][x] * (ahead[i + 1] - here);
          if (y + 1 < ny) py[i] += up * inverse[1][y] * (ahead[i + nx] - here);
          if (z + 1 < nz) pz[i] += up * inverse[2][z] * (ahead[i + plane] - here);
          const float length = std::sqrt(px[i] * px[i] + py[i] * py[i] + pz[i] * pz[i]);
          if (length <= weight[i]) continue;
          const float scale = weight[i] / length;
          px[i] *= scale;
          py[i] *= scale;
          pz[i] *= scale;
        }
    });
    wsp::parallel_loop(std::size_t{0}, nz, [&](std::size_t z) {
      for (std::size_t y = 0; y < ny; ++y)
        for (std::size_t x = 0, i = z * plane + y * nx; x < nx; ++x, ++i) {
          float flow = px[i] * inverse[0][x] + py[i] * inverse[1][y] + pz[i] * inverse[2][z];
          if (x > 0) flow -= px[i - 1] * inverse[0][x - 1];
          if (y > 0) flow -= py[i - nx] * inverse[1][y - 1];
          if (z > 0) flow -= pz[i - plane] * inverse[2][z - 1];
          const float next = std::clamp(region[i] + down * (flow + evidence[i]), 0.0F, 1.0F);
          ahead[i] = 2 * next - region[i];
          region[i] = next;
        }
    });
  }
  return region;
}

}  // namespace wsp

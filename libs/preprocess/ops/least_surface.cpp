#include "preprocess/ops/least_surface.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace wsp {
namespace {

// One over the distance to the voxel before along an axis; 0 at the first and behind the last.
std::vector<float> inverse_steps(const std::vector<double>& position) {
  std::vector<float> inverse(position.size() + 1, 0.0F);
  for (std::size_t i = 1; i < position.size(); ++i)
    inverse[i] = static_cast<float>(1 / (position[i] - position[i - 1]));
  return inverse;
}

struct Row {
  std::size_t y, z, first, end;  // voxels [first, end) of the row
};

// The rows' parts in which the region may be, and the voxels next to them: elsewhere nothing moves.
std::vector<Row> rows_of(const std::vector<float>& evidence, std::size_t nx, std::size_t ny,
                         std::size_t nz) {
  constexpr float kNever = -std::numeric_limits<float>::infinity();
  std::vector<Row> spans, rows;
  for (std::size_t z = 0; z < nz; ++z)
    for (std::size_t y = 0; y < ny; ++y) {
      const float* row = evidence.data() + (z * ny + y) * nx;
      std::size_t first = 0, end = nx;
      while (first < nx && row[first] == kNever) ++first;
      while (end > first && row[end - 1] == kNever) --end;
      spans.push_back({y, z, first, end});
    }
  for (const Row& own : spans) {
    Row row{own.y, own.z, nx, 0};
    const auto cover = [&](const Row& span) {
      if (span.first == span.end) return;
      row.first = std::min(row.first, span.first);
      row.end = std::max(row.end, span.end);
    };
    const Row* at = spans.data() + own.z * ny + own.y;
    cover(own);
    if (own.y > 0) cover(*(at - 1));
    if (own.y + 1 < ny) cover(*(at + 1));
    if (own.z > 0) cover(*(at - ny));
    if (own.z + 1 < nz) cover(*(at + ny));
    if (row.first >= row.end) continue;
    row.first -= row.first > 0 ? 1 : 0;
    row.end += row.end < nx ? 1 : 0;
    rows.push_back(row);
  }
  return rows;
}

// A part of a row of the fields; the others lie `row` and `plane` voxels on, and back.
struct Strip {
  std::size_t voxels, row, plane;
  const float* inverse_x;  // to the voxel before, as all; [voxels] is the last's to the next
  std::array<float, 2> inverse_y, inverse_z;  // to the voxel before, to the next
};

// The flow through the surface: up the gradient, at most as long as the surface's cost.
void push(const Strip& s, float step, const float* __restrict ahead, const float* __restrict weight,
          float* __restrict px, float* __restrict py, float* __restrict pz) {
  constexpr float kTiny = 1e-30F;
  const float* __restrict inverse_x = s.inverse_x + 1;
  const float *next_y = ahead + s.row, *next_z = ahead + s.plane;
  for (std::size_t i = 0; i < s.voxels; ++i) {
    const float x = px[i] + step * inverse_x[i] * (ahead[i + 1] - ahead[i]),
                y = py[i] + step * s.inverse_y[1] * (next_y[i] - ahead[i]),
                z = pz[i] + step * s.inverse_z[1] * (next_z[i] - ahead[i]);
    const float length = std::sqrt(x * x + y * y + z * z);
    const float scale = weight[i] / std::max(std::max(weight[i], length), kTiny);
    px[i] = x * scale;
    py[i] = y * scale;
    pz[i] = z * scale;
  }
}

// The region: up the evidence and what flows in.
void pull(const Strip& s, float step, const float* __restrict evidence, const float* __restrict px,
          const float* __restrict py, const float* __restrict pz, float* __restrict region,
          float* __restrict ahead) {
  const float *left = px - 1, *before = py - s.row, *below = pz - s.plane;
  for (std::size_t i = 0; i < s.voxels; ++i) {
    const float flow = px[i] * s.inverse_x[i + 1] - left[i] * s.inverse_x[i] +
                       py[i] * s.inverse_y[1] - before[i] * s.inverse_y[0] +
                       pz[i] * s.inverse_z[1] - below[i] * s.inverse_z[0];
    const float next = std::clamp(region[i] + step * (flow + evidence[i]), 0.0F, 1.0F);
    ahead[i] = 2 * next - region[i];
    region[i] = next;
  }
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
  // Any two steps whose product stays below 1 / norm converge, the fastest those in the ratio in
  // which the flow (up to the weight, tens) and the region (up to 1) have to move.
  constexpr double kRatio = 16, kBelow = 0.99;
  const auto up = static_cast<float>(kBelow * kRatio / std::sqrt(norm)),
             down = static_cast<float>(kBelow / kRatio / std::sqrt(norm));
  // Before the first voxel and behind the last there is room for the neighbours that are none.
  const std::size_t room = plane + nx + 1, size = region.size() + 2 * room;
  std::vector<float> ahead(size), px(size), py(size), pz(size);
  std::copy(region.begin(), region.end(), ahead.begin() + static_cast<std::ptrdiff_t>(room));
  const auto rows = rows_of(evidence, nx, ny, nz);
  for (int step = 0; step < steps; ++step)
    for (const Row& row : rows) {
      const Strip strip{row.end - row.first,
                        nx,
                        plane,
                        inverse[0].data() + row.first,
                        {inverse[1][row.y], inverse[1][row.y + 1]},
                        {inverse[2][row.z], inverse[2][row.z + 1]}};
      const std::size_t at = (row.z * ny + row.y) * nx + row.first, in = at + room;
      // No row after this one needs what `ahead` was here.
      push(strip, up, &ahead[in], &weight[at], &px[in], &py[in], &pz[in]);
      pull(strip, down, &evidence[at], &px[in], &py[in], &pz[in], &region[at], &ahead[in]);
    }
  return region;
}

}  // namespace wsp

#include "io/medical/place_counts.hpp"

#include <tbb/enumerable_thread_specific.h>
#include <tbb/task_arena.h>

#include <algorithm>

#include "io/core/parallel.hpp"

namespace wsp {

void PlaceCounts::add_slice(std::span<const std::int16_t> hu, std::int64_t nx, std::int64_t ny) {
  const std::int64_t edge = std::max<std::int64_t>(1, std::min(nx, ny) / 16);
  if (2 * edge >= std::min(nx, ny)) return ring.add(hu);
  ring.cover(hu);
  core.cover(ring);
  rest.cover(ring);
  const auto quarter = [](std::int64_t n, std::int64_t k) { return (k * n + 3) / 4; };
  for (std::int64_t y = 0; y < ny; ++y) {
    const auto part = [&](std::int64_t begin, std::int64_t end) {
      return hu.subspan(static_cast<std::size_t>(y * nx + begin),
                        static_cast<std::size_t>(end - begin));
    };
    if (std::min(y, ny - 1 - y) < edge) {
      ring.add_covered(part(0, nx));
      continue;
    }
    const bool middle = 4 * y >= ny && 4 * y < 3 * ny;
    const std::int64_t begin = std::max(edge, quarter(nx, 1));
    const std::int64_t end = middle ? std::min(nx - edge, quarter(nx, 3)) : begin;
    ring.add_covered(part(0, edge));
    rest.add_covered(part(edge, begin));
    core.add_covered(part(begin, end));
    rest.add_covered(part(end, nx - edge));
    ring.add_covered(part(nx - edge, nx));
  }
}

void PlaceCounts::add(const PlaceCounts& other) {
  ring.add(other.ring);
  core.add(other.core);
  rest.add(other.rest);
}

ValueCounts PlaceCounts::all() const {
  ValueCounts sum = ring;
  sum.add(core);
  sum.add(rest);
  return sum;
}

PlaceCounts count_places(const Volume& volume) {
  tbb::enumerable_thread_specific<PlaceCounts> parts;
  tbb::this_task_arena::isolate([&] {
    wsp::parallel_loop(std::int64_t{0}, volume.geometry.size[2], [&](std::int64_t z) {
      parts.local().add_slice(volume.slice(z), volume.geometry.size[0], volume.geometry.size[1]);
    });
  });
  PlaceCounts counts;
  for (const PlaceCounts& part : parts) counts.add(part);
  return counts;
}

}  // namespace wsp

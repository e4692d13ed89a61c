#include "preprocess/ops/slice_context.hpp"

#include <algorithm>
#include <cmath>

namespace wsp {

std::vector<std::int64_t> context_offsets(std::int64_t neighbours,
                                          std::span<const double> context_mm, double spacing_mm) {
  const auto k = context_mm.empty() ? neighbours : std::ssize(context_mm);
  std::vector<std::int64_t> offsets(static_cast<std::size_t>(2 * k + 1), 0);
  for (std::int64_t i = 1; i <= k; ++i) {
    std::int64_t away = i;
    if (!context_mm.empty() && spacing_mm > 0)
      away = std::llround(context_mm[static_cast<std::size_t>(i - 1)] / spacing_mm);
    offsets[static_cast<std::size_t>(k - i)] = -away;
    offsets[static_cast<std::size_t>(k + i)] = away;
  }
  return offsets;
}

SliceContext slice_context(std::int64_t first, std::int64_t last, std::int64_t depth,
                           std::span<const std::int64_t> offsets) {
  SliceContext context;
  for (std::int64_t z = first; z < last; ++z)
    for (const std::int64_t away : offsets)
      context.channel.push_back(std::clamp<std::int64_t>(z + away, 0, depth - 1));
  context.slices = context.channel;
  std::sort(context.slices.begin(), context.slices.end());
  context.slices.erase(std::unique(context.slices.begin(), context.slices.end()),
                       context.slices.end());
  for (std::int64_t& z : context.channel)
    z = std::lower_bound(context.slices.begin(), context.slices.end(), z) - context.slices.begin();
  return context;
}

}  // namespace wsp

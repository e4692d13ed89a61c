#include <algorithm>

#include "io/core/parallel.hpp"
#include "preprocess/segment/model_passes.hpp"

namespace wsp {

void HeldPlanes::hold(std::vector<std::int64_t> wanted) {
  std::sort(wanted.begin(), wanted.end());
  std::erase_if(planes_, [&](const auto& plane) {
    return !std::binary_search(wanted.begin(), wanted.end(), plane.first);
  });
  std::vector<std::int64_t> missing;
  for (const std::int64_t z : wanted)
    if (planes_.try_emplace(z).second) missing.push_back(z);
  wsp::parallel_loop(std::size_t{0}, missing.size(),
                     [&](std::size_t i) { planes_.at(missing[i]) = grid_.plane(missing[i]); });
}

}  // namespace wsp

#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

#include "preprocess/segment/model_grid.hpp"

namespace wsp {

/// out[y][x] = sum of weights * in[source y][source x], rows first; what no tap reaches is
/// `outside`.
template <class Source>
std::vector<float> resample_plane(const Source* source, std::int64_t source_width,
                                  const std::vector<AxisTaps>& x_taps,
                                  const std::vector<AxisTaps>& y_taps, float outside) {
  const std::size_t width = x_taps.size();
  std::vector<float> result(width * y_taps.size(), outside);
  std::vector<float> row(static_cast<std::size_t>(source_width));
  for (std::size_t y = 0; y < y_taps.size(); ++y) {
    const AxisTaps& ty = y_taps[y];
    if (ty.weight.empty()) continue;
    std::fill(row.begin(), row.end(), 0.0F);
    for (std::size_t k = 0; k < ty.weight.size(); ++k) {
      const Source* line = source + (ty.first + static_cast<std::int64_t>(k)) * source_width;
      const float w = ty.weight[k];
      for (std::size_t x = 0; x < row.size(); ++x) row[x] += w * static_cast<float>(line[x]);
    }
    float* out = result.data() + y * width;
    for (std::size_t x = 0; x < width; ++x) {
      const AxisTaps& tx = x_taps[x];
      if (tx.weight.empty()) continue;
      float sum = 0;
      for (std::size_t k = 0; k < tx.weight.size(); ++k)
        sum += tx.weight[k] * row[static_cast<std::size_t>(tx.first) + k];
      out[x] = sum;
    }
  }
  return result;
}

}  // namespace wsp

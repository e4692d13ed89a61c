#include "preprocess/segment/sliding_window.hpp"

#include <algorithm>
#include <cmath>

namespace wsp {

std::vector<std::int64_t> window_starts(std::int64_t size, std::int64_t patch, double overlap) {
  const auto step = std::max<std::int64_t>(
      1, static_cast<std::int64_t>(std::floor(static_cast<double>(patch) * (1 - overlap) + 1e-9)));
  const std::int64_t gaps = (size - patch + step - 1) / step;
  std::vector<std::int64_t> starts{0};
  for (std::int64_t i = 1; i <= gaps; ++i) starts.push_back((size - patch) * i / gaps);
  return starts;
}

std::vector<float> gaussian_weights(const std::array<std::int64_t, 3>& patch) {
  std::array<std::vector<double>, 3> axis;
  for (std::size_t a = 0; a < 3; ++a) {
    const double middle = static_cast<double>(patch[a] - 1) / 2;
    const double sigma = static_cast<double>(patch[a]) / 8;
    for (std::int64_t i = 0; i < patch[a]; ++i) {
      const double t = (static_cast<double>(i) - middle) / sigma;
      axis[a].push_back(std::exp(-0.5 * t * t));
    }
  }
  constexpr double kLeast = 1e-3;
  std::vector<float> weights;
  weights.reserve(static_cast<std::size_t>(patch[0] * patch[1] * patch[2]));
  for (const double z : axis[0])
    for (const double y : axis[1])
      for (const double x : axis[2])
        weights.push_back(static_cast<float>(std::max(kLeast, z * y * x)));
  return weights;
}

}  // namespace wsp

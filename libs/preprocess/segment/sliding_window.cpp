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

namespace {

// A product of three Gaussians, nowhere below `least`; middles[a] is the largest one's place.
std::vector<float> weights_about(const std::array<double, 3>& middles,
                                 const std::array<std::int64_t, 3>& patch, double least) {
  std::array<std::vector<double>, 3> axis;
  for (std::size_t a = 0; a < 3; ++a) {
    const double middle = middles[a];
    const double sigma = static_cast<double>(patch[a]) / 8;
    for (std::int64_t i = 0; i < patch[a]; ++i) {
      const double t = (static_cast<double>(i) - middle) / sigma;
      axis[a].push_back(std::exp(-0.5 * t * t));
    }
  }
  std::vector<float> weights;
  weights.reserve(static_cast<std::size_t>(patch[0] * patch[1] * patch[2]));
  for (const double z : axis[0])
    for (const double y : axis[1])
      for (const double x : axis[2])
        weights.push_back(static_cast<float>(std::max(least, z * y * x)));
  return weights;
}

}  // namespace

std::vector<float> gaussian_weights(const std::array<std::int64_t, 3>& patch) {
  std::array<double, 3> middles{};
  for (std::size_t a = 0; a < 3; ++a) middles[a] = static_cast<double>(patch[a] - 1) / 2;
  return weights_about(middles, patch, 1e-3);
}

std::vector<std::int64_t> nnunet_window_starts(std::int64_t size, std::int64_t patch) {
  const double step = patch == 1 ? 1 : static_cast<double>(patch) / 2;
  const double last = static_cast<double>(size - patch);
  const auto gaps = static_cast<std::int64_t>(std::ceil(last / step));
  std::vector<std::int64_t> starts{0};
  for (std::int64_t i = 1; i <= gaps; ++i)
    starts.push_back(static_cast<std::int64_t>(
        std::nearbyint(last / static_cast<double>(gaps) * static_cast<double>(i))));
  return starts;
}

std::vector<float> nnunet_gaussian_weights(const std::array<std::int64_t, 3>& patch) {
  constexpr double kSmallestHalf = 5.9604644775390625e-8, kScale = 10;  // nnU-Net's largest weight
  std::array<double, 3> middles{};
  for (std::size_t a = 0; a < 3; ++a) middles[a] = static_cast<double>(patch[a] / 2);
  return weights_about(middles, patch, kSmallestHalf / kScale);
}

}  // namespace wsp

#include "train/stats/pca.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "io/core/error.hpp"
#include "train/stats/dense.hpp"

namespace wsp::train {

Pca fit_pca(std::span<const double> x, std::int64_t d, std::int64_t k) {
  const auto width = static_cast<std::size_t>(d);
  const std::size_t n = x.size() / width;
  if (n < 2 || k < 1 || k > d)
    throw Error(ErrorCode::failure,
                "principal components need two slices or more and no more "
                "components than features");
  Pca pca;
  pca.dimensions = d;
  pca.mean.assign(width, 0);
  for (std::size_t i = 0; i < x.size(); ++i) pca.mean[i % width] += x[i];
  for (double& m : pca.mean) m /= static_cast<double>(n);
  std::vector<double> centred(x.begin(), x.end());
  for (std::size_t i = 0; i < centred.size(); ++i) centred[i] -= pca.mean[i % width];
  std::vector<double> covariance = dense::gram(centred, static_cast<std::int64_t>(n), d);
  double total = 0;
  for (double& v : covariance) v /= static_cast<double>(n - 1);
  for (std::size_t j = 0; j < width; ++j) total += covariance[j * width + j];
  if (!(total > 0) || !std::isfinite(total))
    throw Error(ErrorCode::failure,
                "the features do not vary or are not finite: there is no principal "
                "component; look at the encoder");
  dense::Eigenpairs eigen = dense::largest_eigenvectors(covariance, d, k);
  pca.components = std::move(eigen.vectors);
  for (const double v : eigen.values) pca.explained_variance_ratio.push_back(v / total);
  return pca;
}

std::vector<double> Pca::project(std::span<const double> x) const {
  const auto d = static_cast<std::size_t>(dimensions);
  const std::size_t k = components.size() / d;
  std::vector<double> result;
  std::vector<double> centred(d);
  for (std::size_t r = 0; r < x.size() / d; ++r) {
    for (std::size_t j = 0; j < d; ++j) centred[j] = x[r * d + j] - mean[j];
    for (std::size_t c = 0; c < k; ++c)
      result.push_back(dense::dot(centred, std::span(components).subspan(c * d, d)));
  }
  return result;
}

double silhouette(std::span<const double> points, std::int64_t k, std::span<const int> group) {
  const std::size_t n = group.size(), width = static_cast<std::size_t>(k);
  const int groups = n == 0 ? 0 : *std::max_element(group.begin(), group.end()) + 1;
  std::vector<double> size(static_cast<std::size_t>(groups));
  for (const int g : group) size[static_cast<std::size_t>(g)] += 1;
  if (std::count_if(size.begin(), size.end(), [](double s) { return s > 0; }) < 2)
    return std::numeric_limits<double>::quiet_NaN();
  double sum = 0;
  std::vector<double> distance(size.size());
  for (std::size_t i = 0; i < n; ++i) {
    std::fill(distance.begin(), distance.end(), 0.0);
    for (std::size_t j = 0; j < n; ++j) {
      double square = 0;
      for (std::size_t c = 0; c < width; ++c) {
        const double difference = points[i * width + c] - points[j * width + c];
        square += difference * difference;
      }
      distance[static_cast<std::size_t>(group[j])] += std::sqrt(square);
    }
    const auto own = static_cast<std::size_t>(group[i]);
    if (size[own] < 2) continue;  // a group of one has silhouette 0
    const double inside = distance[own] / (size[own] - 1);
    double other = std::numeric_limits<double>::infinity();
    for (std::size_t g = 0; g < size.size(); ++g)
      if (g != own && size[g] > 0) other = std::min(other, distance[g] / size[g]);
    const double larger = std::max(inside, other);
    sum += larger > 0 ? (other - inside) / larger : 0;
  }
  return sum / static_cast<double>(n);
}

}  // namespace wsp::train

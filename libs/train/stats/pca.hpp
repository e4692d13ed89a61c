#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace wsp::train {

/// Principal components of centred features, as scikit-learn's PCA: no scaling, covariance with n
/// - 1.
struct Pca {
  std::int64_t dimensions = 0;
  std::vector<double> mean;                      ///< [d]
  std::vector<double> components;                ///< [k][d], unit length, largest element positive
  std::vector<double> explained_variance_ratio;  ///< [k]
  /// Coordinates [n][k] of x [n][d].
  [[nodiscard]] std::vector<double> project(std::span<const double> x) const;
};
/// x: [n][d], n >= 2, 1 <= k <= d. Throws Error(failure) for features that do not vary.
Pca fit_pca(std::span<const double> x, std::int64_t d, std::int64_t k);

/// Mean silhouette (Rousseeuw 1987, Euclidean) of points [n][k] in groups 0, 1, ...; not a number
/// below two groups. Compares all pairs.
double silhouette(std::span<const double> points, std::int64_t k, std::span<const int> group);

}  // namespace wsp::train

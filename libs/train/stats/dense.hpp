#pragma once
#include <cstdint>
#include <span>
#include <vector>

/// The little dense linear algebra that evaluation needs, by Eigen: float64, row-major,
/// deterministic at any number of threads.
namespace wsp::train::dense {

/// sum of a[i] * b[i]; equal lengths.
double dot(std::span<const double> a, std::span<const double> b);

/// sum of (a[i] - centre[i]) * b[i]; equal lengths. Keeps the digits of features far from 0 that
/// hardly vary.
double centred_dot(std::span<const double> a, std::span<const double> centre,
                   std::span<const double> b);

/// x^T x of x [n][d], as [d][d], summed in float64. Parallel over columns.
std::vector<double> gram(std::span<const double> x, std::int64_t n, std::int64_t d);

/// The same of float32 rows, summed in float32 over 256 rows at a time and beyond in float64: half
/// the time, for what need not be exact.
std::vector<double> gram(std::span<const float> x, std::int64_t n, std::int64_t d);

/// A Cholesky factor of a symmetric positive definite matrix.
class Cholesky {
 public:
  /// a: [d][d], of which the lower triangle is read. Throws Error(failure) where it is not positive
  /// definite.
  Cholesky(std::vector<double> a, std::int64_t d);
  /// Solve a x = b in place; b: [d]. Thread-safe.
  void solve(std::span<double> b) const;

 private:
  std::int64_t d_;
  std::vector<double> lower_;  ///< [d][d]
};

/// The largest eigenvalues of a symmetric matrix, descending, and their unit eigenvectors [k][d],
/// each with its largest element positive. a: [d][d], positive semidefinite; 1 <= k <= d. Throws
/// Error(failure) where the iteration does not settle.
struct Eigenpairs {
  std::vector<double> values;   ///< [k]
  std::vector<double> vectors;  ///< [k][d]
};
Eigenpairs largest_eigenvectors(std::span<const double> a, std::int64_t d, std::int64_t k);

}  // namespace wsp::train::dense

#pragma once
#include <cstdint>

/// Eigen behind plain pointers, in two builds of one source: for AVX2 with fused multiply-adds, and
/// for any processor. Row-major throughout; one thread a call.
namespace wsp::train::dense {

struct EigenBuild {
  /// out [columns][d - first] = x^T x, of columns [first, first + columns) with [first, d) of
  /// x [n][d].
  void (*gram_double)(const double* x, std::int64_t n, std::int64_t d, std::int64_t first,
                      std::int64_t columns, double* out);
  /// The same of float32, summed in float32 over 256 rows at a time and beyond in float64.
  void (*gram_float)(const float* x, std::int64_t n, std::int64_t d, std::int64_t first,
                     std::int64_t columns, double* out);
  /// a [d][d], lower triangle, becomes its Cholesky factor; false where it is not positive
  /// definite.
  bool (*factorise)(double* a, std::int64_t d);
  /// Solve lower lower^T x = b in place.
  void (*solve)(const double* lower, std::int64_t d, double* b);
  /// Eigenvalues of a [d][d], ascending, and unit eigenvectors in the rows of vectors [d][d]; false
  /// where they do not settle.
  bool (*eigenpairs)(const double* a, std::int64_t d, double* values, double* vectors);
};

/// The build for this processor.
const EigenBuild& eigen_build();

namespace portable {
extern const EigenBuild kBuild;
}
namespace avx2 {
extern const EigenBuild kBuild;
}

}  // namespace wsp::train::dense

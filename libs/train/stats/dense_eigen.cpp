// Compiled twice (CMakeLists.txt): WSP_EIGEN_BUILD is portable or avx2. Eigen is renamed with it,
// or the linker would merge the inline functions of the two into one; the standard library's inline
// functions are kept out for the same reason.
#define WSP_EIGEN_JOIN_(a, b) a##_##b
#define WSP_EIGEN_JOIN(a, b) WSP_EIGEN_JOIN_(a, b)
#define Eigen WSP_EIGEN_JOIN(Eigen, WSP_EIGEN_BUILD)
#define EIGEN_DONT_PARALLELIZE
#include "train/stats/dense_eigen.hpp"

#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <Eigen/Eigenvalues>

namespace wsp::train::dense::WSP_EIGEN_BUILD {
namespace {

template <class T>
using Matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
template <class T>
using View = Eigen::Map<const Matrix<T>>;

void gram_double(const double* x, std::int64_t n, std::int64_t d, std::int64_t first,
                 std::int64_t columns, double* out) {
  const View<double> all(x, n, d);
  Eigen::Map<Matrix<double>>(out, columns, d - first).noalias() =
      all.middleCols(first, columns).transpose() * all.rightCols(d - first);
}

void gram_float(const float* x, std::int64_t n, std::int64_t d, std::int64_t first,
                std::int64_t columns, double* out) {
  constexpr std::int64_t kRows = 256;
  Eigen::Map<Matrix<double>> sum(out, columns, d - first);
  sum.setZero();
  Matrix<float> part(columns, d - first);
  for (std::int64_t r = 0; r < n; r += kRows) {
    const View<float> rows(x + r * d, n - r < kRows ? n - r : kRows, d);
    part.noalias() = rows.middleCols(first, columns).transpose() * rows.rightCols(d - first);
    sum += part.cast<double>();
  }
}

bool factorise(double* a, std::int64_t d) {
  Eigen::Ref<Matrix<double>> matrix = Eigen::Map<Matrix<double>>(a, d, d);
  const Eigen::LLT<Eigen::Ref<Matrix<double>>, Eigen::Lower> factor(matrix);
  return factor.info() == Eigen::Success;
}

void solve(const double* lower, std::int64_t d, double* b) {
  const View<double> factor(lower, d, d);
  Eigen::Map<Eigen::VectorXd> x(b, d);
  factor.triangularView<Eigen::Lower>().solveInPlace(x);
  factor.transpose().triangularView<Eigen::Upper>().solveInPlace(x);
}

bool eigenpairs(const double* a, std::int64_t d, double* values, double* vectors) {
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(View<double>(a, d, d));
  if (solver.info() != Eigen::Success) return false;
  Eigen::Map<Eigen::VectorXd>(values, d) = solver.eigenvalues();
  Eigen::Map<Matrix<double>>(vectors, d, d) = solver.eigenvectors().transpose();
  return true;
}

}  // namespace

const EigenBuild kBuild{gram_double, gram_float, factorise, solve, eigenpairs};

}  // namespace wsp::train::dense::WSP_EIGEN_BUILD

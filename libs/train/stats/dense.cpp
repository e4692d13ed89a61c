#include "train/stats/dense.hpp"

#include <tbb/task_arena.h>

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "io/core/error.hpp"
#include "io/core/parallel.hpp"
#include "io/core/vector_clones.hpp"
#include "train/kernels/vector_four.hpp"
#include "train/stats/dense_eigen.hpp"

namespace wsp::train::dense {
namespace {

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

WSP_VECTOR_CLONES("fma", "default")
double dot_of(const double* a, const double* b, std::int64_t n) {
  Four sums[4] = {}, x, y;
  std::int64_t i = 0;
  for (; i + 16 <= n; i += 16)
#pragma GCC unroll 4
    for (std::int64_t l = 0; l < 4; ++l) {
      load_four(a + i + 4 * l, x);
      load_four(b + i + 4 * l, y);
      sums[l] += x * y;
    }
  double rest = 0;
  for (; i < n; ++i) rest += a[i] * b[i];
  return sum_four((sums[0] + sums[1]) + (sums[2] + sums[3])) + rest;
}

WSP_VECTOR_CLONES("fma", "default")
double centred_dot_of(const double* a, const double* centre, const double* b, std::int64_t n) {
  Four sums[2] = {}, x, c, y;
  std::int64_t i = 0;
  for (; i + 8 <= n; i += 8)
#pragma GCC unroll 2
    for (std::int64_t l = 0; l < 2; ++l) {
      load_four(a + i + 4 * l, x);
      load_four(centre + i + 4 * l, c);
      load_four(b + i + 4 * l, y);
      sums[l] += (x - c) * y;
    }
  double rest = 0;
  for (; i < n; ++i) rest += (a[i] - centre[i]) * b[i];
  return sum_four(sums[0] + sums[1]) + rest;
}

// By blocks of rows of the result, each by one thread: the same bits whatever their number.
template <class T>
std::vector<double> gram_of(std::span<const T> x, std::int64_t n, std::int64_t d) {
  constexpr std::int64_t kBlock = 64;
  std::vector<double> result(at(d * d));
  const std::int64_t blocks = (d + kBlock - 1) / kBlock;
  tbb::this_task_arena::isolate([&] {
    wsp::parallel_loop(std::int64_t{0}, blocks, [&](std::int64_t block) {
      const std::int64_t first = block * kBlock, columns = std::min(kBlock, d - first);
      std::vector<double> part(at(columns * (d - first)));
      if constexpr (std::is_same_v<T, float>)
        eigen_build().gram_float(x.data(), n, d, first, columns, part.data());
      else
        eigen_build().gram_double(x.data(), n, d, first, columns, part.data());
      for (std::int64_t a = 0; a < columns; ++a)
        for (std::int64_t b = a; b < d - first; ++b)
          result[at((first + a) * d + first + b)] = result[at((first + b) * d + first + a)] =
              part[at(a * (d - first) + b)];
    });
  });
  return result;
}

}  // namespace

const EigenBuild& eigen_build() {
#if defined(WSP_EIGEN_AVX2)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return avx2::kBuild;
#endif
  return portable::kBuild;
}

double dot(std::span<const double> a, std::span<const double> b) {
  return dot_of(a.data(), b.data(), static_cast<std::int64_t>(a.size()));
}

double centred_dot(std::span<const double> a, std::span<const double> centre,
                   std::span<const double> b) {
  return centred_dot_of(a.data(), centre.data(), b.data(), static_cast<std::int64_t>(a.size()));
}

std::vector<double> gram(std::span<const double> x, std::int64_t n, std::int64_t d) {
  return gram_of(x, n, d);
}
std::vector<double> gram(std::span<const float> x, std::int64_t n, std::int64_t d) {
  return gram_of(x, n, d);
}

Cholesky::Cholesky(std::vector<double> a, std::int64_t d) : d_(d), lower_(std::move(a)) {
  if (!eigen_build().factorise(lower_.data(), d))
    throw Error(ErrorCode::failure, "a matrix is not positive definite");
}

void Cholesky::solve(std::span<double> b) const {
  eigen_build().solve(lower_.data(), d_, b.data());
}

Eigenpairs largest_eigenvectors(std::span<const double> a, std::int64_t d, std::int64_t k) {
  std::vector<double> values(at(d)), vectors(at(d * d));
  if (!eigen_build().eigenpairs(a.data(), d, values.data(), vectors.data()))
    throw Error(ErrorCode::failure,
                "the principal components did not settle: are there features "
                "that are not finite?");
  Eigenpairs result;
  for (std::int64_t i = d - 1; i >= d - k; --i) {
    result.values.push_back(values[at(i)]);
    const auto* v = vectors.data() + i * d;
    const auto largest =
        std::max_element(v, v + d, [](double x, double y) { return std::abs(x) < std::abs(y); });
    const double sign = *largest < 0 ? -1 : 1;
    for (std::int64_t j = 0; j < d; ++j) result.vectors.push_back(sign * v[j]);
  }
  return result;
}

}  // namespace wsp::train::dense

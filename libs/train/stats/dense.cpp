#include "train/stats/dense.hpp"

#include <fmt/format.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif
#include <tbb/task_arena.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "io/core/counter_rng.hpp"
#include "io/core/error.hpp"
#include "io/core/parallel.hpp"
#include "io/core/vector_clones.hpp"
#include "train/kernels/vector_four.hpp"

namespace wsp::train::dense {
namespace {

constexpr std::int64_t kTile = 4;  // rows of a tile of the Gram matrix
// Its columns: three vectors of 32 bytes, so that twelve sums, which hide an addition's latency,
// fill the registers.
template <class T>
constexpr std::int64_t kColumns = 96 / static_cast<std::int64_t>(sizeof(T));

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

// out[4][columns] += left^T right over n rows of packed columns, left [n][columns] (4 of them
// used), right [n][columns].
template <class T>
void gram_tile_plain(const T* left, const T* right, std::int64_t n, double* out) {
  T sum[kTile * kColumns<T>] = {};
  for (std::int64_t r = 0; r < n; ++r)
    for (std::int64_t a = 0; a < kTile; ++a)
      for (std::int64_t b = 0; b < kColumns<T>; ++b)
        sum[a * kColumns<T> + b] += left[r * kColumns<T> + a] * right[r * kColumns<T> + b];
  for (std::int64_t i = 0; i < kTile * kColumns<T>; ++i) out[i] += static_cast<double>(sum[i]);
}

#if defined(__x86_64__)
// The same in registers.
__attribute__((target("avx2,fma"))) void gram_tile_avx2(const double* left, const double* right,
                                                        std::int64_t n, double* out) {
  __m256d low[kTile], middle[kTile], high[kTile];
#pragma GCC unroll 4
  for (std::int64_t a = 0; a < kTile; ++a) low[a] = middle[a] = high[a] = _mm256_setzero_pd();
  for (std::int64_t r = 0; r < n; ++r) {
    const __m256d x = _mm256_loadu_pd(right + r * kColumns<double>);
    const __m256d y = _mm256_loadu_pd(right + r * kColumns<double> + 4);
    const __m256d z = _mm256_loadu_pd(right + r * kColumns<double> + 8);
#pragma GCC unroll 4
    for (std::int64_t a = 0; a < kTile; ++a) {
      const __m256d value = _mm256_broadcast_sd(left + r * kColumns<double> + a);
      low[a] = _mm256_fmadd_pd(value, x, low[a]);
      middle[a] = _mm256_fmadd_pd(value, y, middle[a]);
      high[a] = _mm256_fmadd_pd(value, z, high[a]);
    }
  }
  double sum[kTile * kColumns<double>];
#pragma GCC unroll 4
  for (std::int64_t a = 0; a < kTile; ++a) {
    _mm256_storeu_pd(sum + a * kColumns<double>, low[a]);
    _mm256_storeu_pd(sum + a * kColumns<double> + 4, middle[a]);
    _mm256_storeu_pd(sum + a * kColumns<double> + 8, high[a]);
  }
  for (std::int64_t i = 0; i < kTile * kColumns<double>; ++i) out[i] += sum[i];
}
__attribute__((target("avx2,fma"))) void gram_tile_avx2(const float* left, const float* right,
                                                        std::int64_t n, double* out) {
  __m256 low[kTile], middle[kTile], high[kTile];
#pragma GCC unroll 4
  for (std::int64_t a = 0; a < kTile; ++a) low[a] = middle[a] = high[a] = _mm256_setzero_ps();
  for (std::int64_t r = 0; r < n; ++r) {
    const __m256 x = _mm256_loadu_ps(right + r * kColumns<float>);
    const __m256 y = _mm256_loadu_ps(right + r * kColumns<float> + 8);
    const __m256 z = _mm256_loadu_ps(right + r * kColumns<float> + 16);
#pragma GCC unroll 4
    for (std::int64_t a = 0; a < kTile; ++a) {
      const __m256 value = _mm256_broadcast_ss(left + r * kColumns<float> + a);
      low[a] = _mm256_fmadd_ps(value, x, low[a]);
      middle[a] = _mm256_fmadd_ps(value, y, middle[a]);
      high[a] = _mm256_fmadd_ps(value, z, high[a]);
    }
  }
  float sum[kTile * kColumns<float>];
#pragma GCC unroll 4
  for (std::int64_t a = 0; a < kTile; ++a) {
    _mm256_storeu_ps(sum + a * kColumns<float>, low[a]);
    _mm256_storeu_ps(sum + a * kColumns<float> + 8, middle[a]);
    _mm256_storeu_ps(sum + a * kColumns<float> + 16, high[a]);
  }
  for (std::int64_t i = 0; i < kTile * kColumns<float>; ++i) out[i] += static_cast<double>(sum[i]);
}
#endif

template <class T>
using GramTile = void (*)(const T*, const T*, std::int64_t, double*);
template <class T>
GramTile<T> gram_tile() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return gram_tile_avx2;
#endif
  return gram_tile_plain<T>;
}

template <class T>
std::vector<double> gram_of(std::span<const T> x, std::int64_t n, std::int64_t d) {
  constexpr std::int64_t columns = kColumns<T>;
  // Packed into panels [panel][n][columns], so that tiles read memory in order; the last is padded.
  const std::int64_t panels = (d + columns - 1) / columns;
  std::vector<T> packed(at(panels * n * columns));
  for (std::int64_t r = 0; r < n; ++r)
    for (std::int64_t p = 0; p < panels; ++p)
      std::copy_n(x.data() + r * d + p * columns, std::min(columns, d - p * columns),
                  packed.data() + (p * n + r) * columns);
  constexpr std::int64_t kRows =
      128;  // of two panels, which stay in the cache while their tiles are done
  const GramTile<T> tile = gram_tile<T>();
  std::vector<double> result(at(d * d));
  wsp::parallel_loop(std::int64_t{0}, panels, [&](std::int64_t left) {
    constexpr std::int64_t size = columns * columns;  // of a product of two panels
    std::vector<double> sums(at((panels - left) * size));
    for (std::int64_t r = 0; r < n; r += kRows)
      for (std::int64_t right = left; right < panels; ++right)
        for (std::int64_t i = 0; i < columns; i += kTile)
          tile(packed.data() + (left * n + r) * columns + i,
               packed.data() + (right * n + r) * columns, std::min(kRows, n - r),
               sums.data() + (right - left) * size + i * columns);
    for (std::int64_t right = left; right < panels; ++right)
      for (std::int64_t a = 0; a < columns; ++a)
        for (std::int64_t b = 0; b < columns; ++b) {
          const std::int64_t row = left * columns + a, column = right * columns + b;
          if (row >= d || column >= d || column < row) continue;
          result[at(row * d + column)] = result[at(column * d + row)] =
              sums[at((right - left) * size + a * columns + b)];
        }
  });
  return result;
}

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

// sums[4 r + k] = (a + r * stride) . (b + k * stride) over n elements, a multiple of 4, for two
// rows and four.
WSP_VECTOR_CLONES("fma", "default")
void eight_dots(const double* a, const double* b, std::int64_t stride, std::int64_t n,
                double* sums) {
  Four sum[8] = {}, a0, a1, y;
  for (std::int64_t i = 0; i < n; i += 4) {
    load_four(a + i, a0);
    load_four(a + stride + i, a1);
#pragma GCC unroll 4
    for (std::int64_t k = 0; k < 4; ++k) {
      load_four(b + k * stride + i, y);
      sum[k] += a0 * y;
      sum[4 + k] += a1 * y;
    }
  }
  for (std::int64_t k = 0; k < 8; ++k) sums[k] = sum_four(sum[k]);
}

// All eigenvalues and eigenvectors of a small symmetric matrix by cyclic Jacobi rotations;
// eigenvectors in the rows of the result, unsorted.
void jacobi(std::vector<double>& a, std::vector<double>& vectors, std::int64_t d) {
  vectors.assign(at(d * d), 0);
  for (std::int64_t i = 0; i < d; ++i) vectors[at(i * d + i)] = 1;
  const double scale =
      std::accumulate(a.begin(), a.end(), 0.0, [](double s, double v) { return s + v * v; });
  for (int sweep = 0; sweep < 60; ++sweep) {
    double off = 0;
    for (std::int64_t p = 0; p < d; ++p)
      for (std::int64_t q = p + 1; q < d; ++q) off += a[at(p * d + q)] * a[at(p * d + q)];
    if (off <= 1e-32 * scale) return;
    for (std::int64_t p = 0; p < d; ++p)
      for (std::int64_t q = p + 1; q < d; ++q) {
        const double apq = a[at(p * d + q)];
        if (apq == 0) continue;
        const double theta = (a[at(q * d + q)] - a[at(p * d + p)]) / (2 * apq);
        const double t = (theta >= 0 ? 1 : -1) / (std::abs(theta) + std::hypot(theta, 1.0));
        const double c = 1 / std::hypot(t, 1.0), s = t * c;
        for (std::int64_t k = 0; k < d; ++k) {
          const double akp = a[at(k * d + p)], akq = a[at(k * d + q)];
          a[at(k * d + p)] = c * akp - s * akq;
          a[at(k * d + q)] = s * akp + c * akq;
        }
        for (std::int64_t k = 0; k < d; ++k) {
          const double apk = a[at(p * d + k)], aqk = a[at(q * d + k)];
          a[at(p * d + k)] = c * apk - s * aqk;
          a[at(q * d + k)] = s * apk + c * aqk;
          const double vp = vectors[at(p * d + k)], vq = vectors[at(q * d + k)];
          vectors[at(p * d + k)] = c * vp - s * vq;
          vectors[at(q * d + k)] = s * vp + c * vq;
        }
      }
  }
  throw Error(ErrorCode::failure, "the eigenvalues of a symmetric matrix did not settle");
}

// Modified Gram-Schmidt on the rows of q [b][d], twice for accuracy.
void orthonormalise(std::vector<double>& q, std::int64_t b, std::int64_t d) {
  const auto row = [&](std::int64_t i) { return std::span(q).subspan(at(i * d), at(d)); };
  for (int pass = 0; pass < 2; ++pass)
    for (std::int64_t i = 0; i < b; ++i) {
      for (std::int64_t j = 0; j < i; ++j) {
        const double overlap = dot(row(i), row(j));
        for (std::int64_t k = 0; k < d; ++k) row(i)[at(k)] -= overlap * row(j)[at(k)];
      }
      const double norm = std::sqrt(dot(row(i), row(i)));
      for (double& v : row(i)) v = norm > 1e-300 ? v / norm : 0;
    }
}

Eigen sorted(const std::vector<double>& values, const std::vector<double>& vectors, std::int64_t d,
             std::int64_t k) {
  std::vector<std::int64_t> order(values.size());
  std::iota(order.begin(), order.end(), std::int64_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::int64_t a, std::int64_t b) { return values[at(a)] > values[at(b)]; });
  Eigen result;
  for (std::int64_t i = 0; i < k; ++i) {
    const std::int64_t from = order[at(i)];
    result.values.push_back(values[at(from)]);
    const auto* v = vectors.data() + from * d;
    const auto largest =
        std::max_element(v, v + d, [](double a, double b) { return std::abs(a) < std::abs(b); });
    const double sign = *largest < 0 ? -1 : 1;
    for (std::int64_t j = 0; j < d; ++j) result.vectors.push_back(sign * v[j]);
  }
  return result;
}

}  // namespace

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

// By panels of columns: those of a panel are first freed of all columns before it, rows in
// parallel, then solved.
Cholesky::Cholesky(std::vector<double> a, std::int64_t d) : d_(d), lower_(std::move(a)) {
  constexpr std::int64_t kPanel = 32, kRows = 8;
  const auto row = [&](std::int64_t i) { return lower_.data() + i * d; };
  // Rows [i, end), columns [first, last): minus what the columns before `first` account for.
  const auto reduce = [&](std::int64_t i, std::int64_t end, std::int64_t first, std::int64_t last) {
    for (; i + 2 <= end && last - first == kPanel; i += 2)
      for (std::int64_t j = first; j < last; j += 4) {
        double sums[8];
        eight_dots(row(i), row(j), d, first, sums);
        for (std::int64_t k = 0; k < 8; ++k) row(i + k / 4)[j + k % 4] -= sums[k];
      }
    for (; i < end; ++i)
      for (std::int64_t j = first; j < last; ++j) row(i)[j] -= dot_of(row(i), row(j), first);
  };
  const auto solve = [&](std::int64_t i, std::int64_t first, std::int64_t last) {
    for (std::int64_t j = first; j < last; ++j) {
      double sum = 0;
      for (std::int64_t k = first; k < j; ++k) sum += row(i)[k] * row(j)[k];
      row(i)[j] = (row(i)[j] - sum) / row(j)[j];
    }
  };
  for (std::int64_t first = 0; first < d; first += kPanel) {
    const std::int64_t last = std::min(d, first + kPanel);
    for (std::int64_t i = first; i < last; ++i) {
      reduce(i, i + 1, first, i + 1);
      solve(i, first, i);
      const double pivot = row(i)[i] - dot_of(row(i) + first, row(i) + first, i - first);
      if (!(pivot > 0))
        throw Error(ErrorCode::failure,
                    fmt::format("a matrix is not positive definite at row {}", i));
      row(i)[i] = std::sqrt(pivot);
      std::fill(row(i) + i + 1, row(i) + d, 0.0);
    }
    tbb::this_task_arena::isolate([&] {
      wsp::parallel_loop(std::int64_t{0}, (d - last + kRows - 1) / kRows, [&](std::int64_t group) {
        const std::int64_t begin = last + group * kRows, end = std::min(d, begin + kRows);
        reduce(begin, end, first, last);
        for (std::int64_t i = begin; i < end; ++i) solve(i, first, last);
      });
    });
  }
  upper_.resize(lower_.size());
  for (std::int64_t i = 0; i < d; ++i)
    for (std::int64_t j = 0; j <= i; ++j) upper_[at(j * d + i)] = lower_[at(i * d + j)];
}

void Cholesky::solve(std::span<double> b) const {
  for (std::int64_t i = 0; i < d_; ++i)
    b[at(i)] = (b[at(i)] - dot_of(lower_.data() + i * d_, b.data(), i)) / lower_[at(i * d_ + i)];
  for (std::int64_t i = d_ - 1; i >= 0; --i)
    b[at(i)] = (b[at(i)] - dot_of(upper_.data() + i * d_ + i + 1, b.data() + i + 1, d_ - i - 1)) /
               upper_[at(i * d_ + i)];
}

Eigen largest_eigenvectors(std::span<const double> a, std::int64_t d, std::int64_t k) {
  constexpr std::int64_t kSmall = 64, kExtra = 14;
  constexpr int kMost = 1000;
  std::vector<double> small, rotation;
  if (d <= kSmall) {
    small.assign(a.begin(), a.end());
    jacobi(small, rotation, d);
    std::vector<double> values;
    for (std::int64_t i = 0; i < d; ++i) values.push_back(small[at(i * d + i)]);
    return sorted(values, rotation, d, k);
  }
  // Subspace iteration with Rayleigh-Ritz: q [b][d] spans the leading eigenvectors ever better.
  const std::int64_t b = std::min(d, k + kExtra);
  std::vector<double> q(at(b * d)), product(at(b * d)), turned(at(b * d)), values(at(b));
  CounterRng rng(0, {1});
  for (double& v : q) v = rng.normal();
  const auto row = [&](const std::vector<double>& m, std::int64_t i) {
    return std::span(m).subspan(at(i * d), at(d));
  };
  for (int iteration = 0; iteration < kMost; ++iteration) {
    orthonormalise(q, b, d);
    wsp::parallel_loop(std::int64_t{0}, d, [&](std::int64_t i) {
      for (std::int64_t j = 0; j < b; ++j)
        product[at(j * d + i)] = dot(a.subspan(at(i * d), at(d)), row(q, j));
    });
    small.assign(at(b * b), 0);
    for (std::int64_t i = 0; i < b; ++i)
      for (std::int64_t j = 0; j <= i; ++j)
        small[at(i * b + j)] = small[at(j * b + i)] =
            (dot(row(q, i), row(product, j)) + dot(row(q, j), row(product, i))) / 2;
    jacobi(small, rotation, b);
    for (std::int64_t i = 0; i < b; ++i) values[at(i)] = small[at(i * b + i)];
    // Ritz vectors and the products that go with them.
    const auto turn = [&](const std::vector<double>& from, std::vector<double>& to) {
      std::fill(to.begin(), to.end(), 0.0);
      for (std::int64_t i = 0; i < b; ++i)
        for (std::int64_t j = 0; j < b; ++j)
          for (std::int64_t c = 0; c < d; ++c)
            to[at(i * d + c)] += rotation[at(i * b + j)] * from[at(j * d + c)];
    };
    turn(q, turned);
    q = turned;
    turn(product, turned);
    product = turned;
    const Eigen ritz = sorted(values, q, d, k);
    const double largest = std::max(ritz.values.front(), 1e-300);
    double residual = 0;
    for (std::int64_t i = 0; i < b; ++i) {
      if (values[at(i)] < ritz.values.back()) continue;
      double sum = 0;
      for (std::int64_t c = 0; c < d; ++c) {
        const double r = product[at(i * d + c)] - values[at(i)] * q[at(i * d + c)];
        sum += r * r;
      }
      residual = std::max(residual, std::sqrt(sum));
    }
    if (residual <= 1e-11 * largest) return ritz;
    if (iteration + 1 == kMost && residual <= 1e-6 * largest) return ritz;
    q = product;
  }
  throw Error(ErrorCode::failure,
              "the principal components did not settle: are there features "
              "that are not finite?");
}

}  // namespace wsp::train::dense

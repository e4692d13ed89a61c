#include <algorithm>
#include <vector>

#include "train/kernels/winograd.hpp"

#if defined(__GNUC__) && defined(__x86_64__)
#define WSP_WINOGRAD 1
#include <immintrin.h>
#endif

namespace wsp::train {

#ifdef WSP_WINOGRAD

#define WSP_FMA __attribute__((target("avx2,fma")))
#define WSP_FMA_INLINE __attribute__((target("avx2,fma"), always_inline)) inline

namespace {

constexpr std::int64_t kPoints = Winograd::kPoints;
constexpr std::int64_t kLanes = 8;
constexpr std::int64_t kChannels = 16;  // a cache line: two vectors
constexpr std::int64_t kRows = 6;       // tiles that a block of registers holds
constexpr std::int64_t kColumns = 4;    // input channels that it holds in the weights' gradient

/// Two vectors: sixteen channels of one pixel or point.
struct Line {
  __m256 a, b;
};
WSP_FMA_INLINE Line load(const float* p) {
  return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + kLanes)};
}
WSP_FMA_INLINE void store(float* p, const Line& l) {
  _mm256_storeu_ps(p, l.a);
  _mm256_storeu_ps(p + kLanes, l.b);
}
WSP_FMA_INLINE Line plus(const Line& x, const Line& y) {
  return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)};
}
WSP_FMA_INLINE Line minus(const Line& x, const Line& y) {
  return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)};
}
WSP_FMA_INLINE Line none() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }

/// Where a tile stands.
struct Tile {
  std::int64_t image, y, x;  ///< y, x: of its first output pixel
};
Tile tile_of(const Winograd& s, std::int64_t t) {
  const std::int64_t per_image = s.tiles_y() * s.tiles_x();
  const std::int64_t rest = t % per_image;
  return {t / per_image, 2 * (rest / s.tiles_x()), 2 * (rest % s.tiles_x())};
}

/// A pixel's sixteen channels; zero outside the image.
WSP_FMA_INLINE Line pixel(const Winograd& s, std::int64_t channels, const float* x, const Tile& t,
                          std::int64_t dy, std::int64_t dx, std::int64_t channel) {
  const std::int64_t y = t.y + dy;
  const std::int64_t column = t.x + dx;
  if (y < 0 || y >= s.h || column < 0 || column >= s.w) return none();
  return load(x + ((t.image * s.h + y) * s.w + column) * channels + channel);
}

/// B^T d B of sixteen channels of a tile: 16 lines, `stride` floats apart.
WSP_FMA void transform_input(const Winograd& s, const float* x, const Tile& t, std::int64_t channel,
                             std::int64_t stride, float* out) {
  Line half[4][4];
  for (std::int64_t j = 0; j < 4; ++j) {
    const Line d0 = pixel(s, s.in_c, x, t, -1, j - 1, channel);
    const Line d1 = pixel(s, s.in_c, x, t, 0, j - 1, channel);
    const Line d2 = pixel(s, s.in_c, x, t, 1, j - 1, channel);
    const Line d3 = pixel(s, s.in_c, x, t, 2, j - 1, channel);
    half[0][j] = minus(d0, d2);
    half[1][j] = plus(d1, d2);
    half[2][j] = minus(d2, d1);
    half[3][j] = minus(d1, d3);
  }
  for (std::int64_t i = 0; i < 4; ++i) {
    store(out + (4 * i + 0) * stride, minus(half[i][0], half[i][2]));
    store(out + (4 * i + 1) * stride, plus(half[i][1], half[i][2]));
    store(out + (4 * i + 2) * stride, minus(half[i][2], half[i][1]));
    store(out + (4 * i + 3) * stride, minus(half[i][1], half[i][3]));
  }
}

/// A^T m A of sixteen channels of a tile, into the image.
WSP_FMA void transform_output(const Winograd& s, const float* m, std::int64_t stride, const Tile& t,
                              std::int64_t channel, float* out) {
  Line half[2][4];
  for (std::int64_t j = 0; j < 4; ++j) {
    const Line m0 = load(m + j * stride);
    const Line m1 = load(m + (4 + j) * stride);
    const Line m2 = load(m + (8 + j) * stride);
    const Line m3 = load(m + (12 + j) * stride);
    half[0][j] = plus(plus(m0, m1), m2);
    half[1][j] = minus(minus(m1, m2), m3);
  }
  for (std::int64_t i = 0; i < 2 && t.y + i < s.h; ++i) {
    float* to = out + ((t.image * s.h + t.y + i) * s.w + t.x) * s.out_c + channel;
    store(to, plus(plus(half[i][0], half[i][1]), half[i][2]));
    if (t.x + 1 < s.w) store(to + s.out_c, minus(minus(half[i][1], half[i][2]), half[i][3]));
  }
}

/// A g A^T of sixteen channels of a tile of the output's gradient: the transpose of the above.
WSP_FMA void transform_gradient(const Winograd& s, const float* gradient, const Tile& t,
                                std::int64_t channel, std::int64_t stride, float* out) {
  Line half[4][2];
  for (std::int64_t j = 0; j < 2; ++j) {
    const Line g0 = pixel(s, s.out_c, gradient, t, 0, j, channel);
    const Line g1 = pixel(s, s.out_c, gradient, t, 1, j, channel);
    half[0][j] = g0;
    half[1][j] = plus(g0, g1);
    half[2][j] = minus(g0, g1);
    half[3][j] = minus(none(), g1);
  }
  for (std::int64_t i = 0; i < 4; ++i) {
    store(out + (4 * i + 0) * stride, half[i][0]);
    store(out + (4 * i + 1) * stride, plus(half[i][0], half[i][1]));
    store(out + (4 * i + 2) * stride, minus(half[i][0], half[i][1]));
    store(out + (4 * i + 3) * stride, minus(none(), half[i][1]));
  }
}

// The sums stand in plain arrays that the compiler unrolls early: of structures it keeps a copy on
// the stack, and stores it in every turn.

/// m[6][16] = v[6][in_c] * u[in_c][16]; rows of v and m are in_c and out_c floats apart.
WSP_FMA void multiply(std::int64_t in_c, std::int64_t out_c, const float* v, const float* u,
                      float* m) {
  __m256 a[kRows], b[kRows];
#pragma GCC unroll 6
  for (std::int64_t r = 0; r < kRows; ++r) a[r] = b[r] = _mm256_setzero_ps();
  for (std::int64_t c = 0; c < in_c; ++c) {
    const __m256 w0 = _mm256_loadu_ps(u + c * kChannels);
    const __m256 w1 = _mm256_loadu_ps(u + c * kChannels + kLanes);
#pragma GCC unroll 6
    for (std::int64_t r = 0; r < kRows; ++r) {
      const __m256 value = _mm256_broadcast_ss(v + r * in_c + c);
      a[r] = _mm256_fmadd_ps(value, w0, a[r]);
      b[r] = _mm256_fmadd_ps(value, w1, b[r]);
    }
  }
#pragma GCC unroll 6
  for (std::int64_t r = 0; r < kRows; ++r) {
    _mm256_storeu_ps(m + r * out_c, a[r]);
    _mm256_storeu_ps(m + r * out_c + kLanes, b[r]);
  }
}

/// sums[4][16] += v[count][4]^T * d[count][16]; rows of v and d are 16 floats apart, rows of sums
/// out_c.
WSP_FMA void multiply_transposed(std::int64_t count, std::int64_t out_c, const float* v,
                                 const float* d, float* sums) {
  __m256 a[kColumns], b[kColumns];
#pragma GCC unroll 4
  for (std::int64_t r = 0; r < kColumns; ++r) {
    a[r] = b[r] = _mm256_setzero_ps();
  }
  for (std::int64_t t = 0; t < count; ++t) {
    const __m256 g0 = _mm256_loadu_ps(d + t * kChannels);
    const __m256 g1 = _mm256_loadu_ps(d + t * kChannels + kLanes);
#pragma GCC unroll 4
    for (std::int64_t r = 0; r < kColumns; ++r) {
      const __m256 value = _mm256_broadcast_ss(v + t * kChannels + r);
      a[r] = _mm256_fmadd_ps(value, g0, a[r]);
      b[r] = _mm256_fmadd_ps(value, g1, b[r]);
    }
  }
#pragma GCC unroll 4
  for (std::int64_t r = 0; r < kColumns; ++r) {
    float* to = sums + r * out_c;
    _mm256_storeu_ps(to, _mm256_add_ps(_mm256_loadu_ps(to), a[r]));
    _mm256_storeu_ps(to + kLanes, _mm256_add_ps(_mm256_loadu_ps(to + kLanes), b[r]));
  }
}

WSP_FMA_INLINE Line half_of(const Line& x) {
  const __m256 h = _mm256_set1_ps(0.5F);
  return {_mm256_mul_ps(h, x.a), _mm256_mul_ps(h, x.b)};
}

/// G g G^T of sixteen pairs of channels: g[9][16], lines of the result `stride` floats apart.
WSP_FMA void transform_weight(const float* g, std::int64_t stride, float* out) {
  const auto expand = [](const Line& a, const Line& b, const Line& c, Line(&to)[4])
      __attribute__((target("avx2,fma"), always_inline)) {
    const Line ends = plus(a, c);
    to[0] = a;
    to[1] = half_of(plus(ends, b));
    to[2] = half_of(minus(ends, b));
    to[3] = c;
  };
  Line half[3][4];
  for (std::int64_t j = 0; j < 3; ++j)
    expand(load(g + j * kChannels), load(g + (3 + j) * kChannels), load(g + (6 + j) * kChannels),
           half[j]);
  for (std::int64_t i = 0; i < 4; ++i) {
    Line row[4];
    expand(half[0][i], half[1][i], half[2][i], row);
    for (std::int64_t j = 0; j < 4; ++j) store(out + (4 * i + j) * stride, row[j]);
  }
}

/// G^T s G of sixteen pairs of channels, lines of s `stride` floats apart, into g[9][16].
WSP_FMA void transform_sums(const float* sums, std::int64_t stride, float* g) {
  const auto fold = [](const Line& a, const Line& b, const Line& c, const Line& d, Line(&to)[3])
      __attribute__((target("avx2,fma"), always_inline)) {
    const Line middle = half_of(plus(b, c));
    to[0] = plus(a, middle);
    to[1] = half_of(minus(b, c));
    to[2] = plus(middle, d);
  };
  Line half[4][3];
  for (std::int64_t j = 0; j < 4; ++j)
    fold(load(sums + j * stride), load(sums + (4 + j) * stride), load(sums + (8 + j) * stride),
         load(sums + (12 + j) * stride), half[j]);
  for (std::int64_t i = 0; i < 3; ++i) {
    Line row[3];
    fold(half[0][i], half[1][i], half[2][i], half[3][i], row);
    for (std::int64_t j = 0; j < 3; ++j) store(g + (3 * i + j) * kChannels, row[j]);
  }
}

/// Tiles of a forward block: enough to use a panel of weights while it is in cache.
std::int64_t forward_block(const Winograd& s) {
  const std::int64_t tiles = s.in_c <= 128 ? 48 : s.in_c <= 256 ? 96 : 144;
  return std::min(tiles, (s.tiles() + kRows - 1) / kRows * kRows);
}

}  // namespace

bool winograd_served(const Winograd& s) {
  static const bool has = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  return has && s.n > 0 && s.h > 0 && s.w > 0 && s.in_c > 0 && s.out_c > 0 &&
         s.in_c % kChannels == 0 && s.out_c % kChannels == 0;
}

// [16 points][out_c / 16][in_c][16]
void winograd_weight(const Winograd& s, std::int64_t first, std::int64_t last, const float* weight,
                     float* transformed) {
  float g[9 * kChannels];
  for (std::int64_t block = first; block < last; ++block)
    for (std::int64_t c = 0; c < s.in_c; ++c) {
      for (std::int64_t l = 0; l < kChannels; ++l)
        for (std::int64_t i = 0; i < 9; ++i)
          g[i * kChannels + l] = weight[((block * kChannels + l) * s.in_c + c) * 9 + i];
      transform_weight(g, s.in_c * s.out_c, transformed + (block * s.in_c + c) * kChannels);
    }
}

void winograd_weight_backward(const Winograd& s, std::int64_t first, std::int64_t last,
                              const float* weight, float* transformed) {
  float g[9 * kChannels];
  for (std::int64_t block = first; block < last; ++block)
    for (std::int64_t k = 0; k < s.out_c; ++k) {
      for (std::int64_t l = 0; l < kChannels; ++l)
        for (std::int64_t i = 0; i < 9; ++i)
          g[i * kChannels + l] = weight[(k * s.in_c + block * kChannels + l) * 9 + 8 - i];
      transform_weight(g, s.in_c * s.out_c, transformed + (block * s.out_c + k) * kChannels);
    }
}

void winograd_forward(const Winograd& s, std::int64_t first, std::int64_t last, const float* x,
                      const float* transformed, float* out) {
  const std::int64_t block = forward_block(s);
  // A line more between points, or they would all fall into the same set of the cache.
  const std::int64_t v_stride = block * s.in_c + kChannels;
  const std::int64_t m_stride = block * s.out_c + kChannels;
  std::vector<float> v(static_cast<std::size_t>(kPoints * v_stride), 0.0F);
  std::vector<float> m(static_cast<std::size_t>(kPoints * m_stride));
  for (std::int64_t begin = first; begin < last; begin += block) {
    const std::int64_t count = std::min(block, last - begin);
    for (std::int64_t t = 0; t < count; ++t) {
      const Tile tile = tile_of(s, begin + t);
      for (std::int64_t c = 0; c < s.in_c; c += kChannels)
        transform_input(s, x, tile, c, v_stride, v.data() + t * s.in_c + c);
    }
    for (std::int64_t p = 0; p < kPoints; ++p)
      for (std::int64_t k = 0; k < s.out_c; k += kChannels)
        for (std::int64_t t = 0; t < count; t += kRows)
          multiply(s.in_c, s.out_c, v.data() + p * v_stride + t * s.in_c,
                   transformed + (p * s.out_c + k) * s.in_c,
                   m.data() + p * m_stride + t * s.out_c + k);
    for (std::int64_t t = 0; t < count; ++t) {
      const Tile tile = tile_of(s, begin + t);
      for (std::int64_t k = 0; k < s.out_c; k += kChannels)
        transform_output(s, m.data() + t * s.out_c + k, m_stride, tile, k, out);
    }
  }
}

std::int64_t winograd_gradient_block(const Winograd& s) {
  // The sums are read and written once a block: the more of them, the more tiles.
  const std::int64_t channels = std::max(s.in_c, s.out_c);
  return std::min(s.tiles(), std::max<std::int64_t>(288, 32768 / channels));
}

// [16 points][channels / 16][tiles][16] of x, then of the gradient
std::int64_t winograd_gradient_size(const Winograd& s) {
  return kPoints * winograd_gradient_block(s) * (s.in_c + s.out_c);
}

void winograd_gradient_tiles(const Winograd& s, std::int64_t begin, std::int64_t first,
                             std::int64_t last, const float* x, const float* gradient,
                             float* transforms) {
  const std::int64_t block = winograd_gradient_block(s);
  float* d = transforms + kPoints * block * s.in_c;
  for (std::int64_t t = first; t < last; ++t) {
    const Tile tile = tile_of(s, begin + t);
    for (std::int64_t c = 0; c < s.in_c; c += kChannels)
      transform_input(s, x, tile, c, block * s.in_c, transforms + c * block + t * kChannels);
    for (std::int64_t k = 0; k < s.out_c; k += kChannels)
      transform_gradient(s, gradient, tile, k, block * s.out_c, d + k * block + t * kChannels);
  }
}

void winograd_gradient_point(const Winograd& s, std::int64_t point, std::int64_t count,
                             const float* transforms, float* sums) {
  const std::int64_t block = winograd_gradient_block(s);
  const float* v = transforms + point * block * s.in_c;
  const float* d = transforms + kPoints * block * s.in_c + point * block * s.out_c;
  float* sum = sums + point * s.in_c * s.out_c;
  for (std::int64_t k = 0; k < s.out_c; k += kChannels)
    for (std::int64_t c = 0; c < s.in_c; c += kColumns)
      multiply_transposed(count, s.out_c, v + c / kChannels * kChannels * block + c % kChannels,
                          d + k * block, sum + c * s.out_c + k);
}

void winograd_weight_gradient(const Winograd& s, std::int64_t first, std::int64_t last,
                              const float* sums, float* weight_gradient) {
  float g[9 * kChannels];
  for (std::int64_t block = first; block < last; ++block)
    for (std::int64_t c = 0; c < s.in_c; ++c) {
      transform_sums(sums + c * s.out_c + block * kChannels, s.in_c * s.out_c, g);
      for (std::int64_t l = 0; l < kChannels; ++l)
        for (std::int64_t i = 0; i < 9; ++i)
          weight_gradient[((block * kChannels + l) * s.in_c + c) * 9 + i] = g[i * kChannels + l];
    }
}

#else

bool winograd_served(const Winograd&) { return false; }
void winograd_weight(const Winograd&, std::int64_t, std::int64_t, const float*, float*) {}
void winograd_weight_backward(const Winograd&, std::int64_t, std::int64_t, const float*, float*) {}
void winograd_forward(const Winograd&, std::int64_t, std::int64_t, const float*, const float*,
                      float*) {}
std::int64_t winograd_gradient_block(const Winograd&) { return 0; }
std::int64_t winograd_gradient_size(const Winograd&) { return 0; }
void winograd_gradient_tiles(const Winograd&, std::int64_t, std::int64_t, std::int64_t,
                             const float*, const float*, float*) {}
void winograd_gradient_point(const Winograd&, std::int64_t, std::int64_t, const float*, float*) {}
void winograd_weight_gradient(const Winograd&, std::int64_t, std::int64_t, const float*, float*) {}

#endif

}  // namespace wsp::train

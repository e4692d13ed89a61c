#include <algorithm>
#include <vector>

#include "train/kernels/pooled_conv.hpp"

#if defined(__GNUC__) && defined(__x86_64__)
#define WSP_POOLED_CONV 1
#include <immintrin.h>
#endif

namespace wsp::train {
namespace {

constexpr std::int64_t kKernel = PooledConv::kKernel;

}  // namespace

std::int64_t PooledConv::group() const {
  constexpr std::int64_t kPixels = 16;  // enough uses of a block of weights while it is in cache
  return std::max<std::int64_t>(1, kPixels / std::max<std::int64_t>(1, out_h() * out_w()));
}

#ifdef WSP_POOLED_CONV

#define WSP_FMA __attribute__((target("avx2,fma")))
#define WSP_FMA_INLINE __attribute__((target("avx2,fma"), always_inline)) inline

namespace {

constexpr std::int64_t kLanes = 8;
/// Floats of a row of the kernel (5 * in_c of them) that are kept in registers at once.
constexpr std::int64_t kVectors = 10;
constexpr std::int64_t kBlock = kVectors * kLanes;

/// A pixel that a gradient reaches: where its 5x5 window starts, in floats, and the gradient.
struct Hit {
  std::int32_t offset;
  float gradient;
};

struct Best {
  __m256 value;
  __m256i winner;  ///< 32 bits a lane
};

WSP_FMA_INLINE void challenge(Best& best, __m256 value, int number) {
  const __m256 wins = _mm256_or_ps(_mm256_cmp_ps(value, best.value, _CMP_GT_OQ),
                                   _mm256_cmp_ps(value, value, _CMP_UNORD_Q));
  best.value = _mm256_blendv_ps(best.value, value, wins);
  best.winner =
      _mm256_blendv_epi8(best.winner, _mm256_set1_epi32(number), _mm256_castps_si256(wins));
}

/// Largest of a window's four pixels, ReLU, and where it came from.
WSP_FMA_INLINE void put(__m256 a, __m256 b, __m256 c, __m256 d, float* out, std::uint8_t* winner) {
  Best best{a, _mm256_setzero_si256()};
  challenge(best, b, 1);
  challenge(best, c, 2);
  challenge(best, d, 3);
  const __m256 off = _mm256_cmp_ps(best.value, _mm256_setzero_ps(), _CMP_LE_OQ);
  _mm256_storeu_ps(out, _mm256_andnot_ps(off, best.value));
  const __m256i number =
      _mm256_blendv_epi8(best.winner, _mm256_set1_epi32(kNoWinner), _mm256_castps_si256(off));
  const __m128i words =
      _mm_packs_epi32(_mm256_castsi256_si128(number), _mm256_extracti128_si256(number, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(winner), _mm_packus_epi16(words, words));
}

WSP_FMA void pool_row(std::int64_t width, std::int64_t channels, const float* above,
                      const float* below, float* out, std::uint8_t* winner) {
  for (std::int64_t x = 0; x < width; ++x)
    for (std::int64_t c = 0; c < channels; c += kLanes) {
      const std::int64_t left = 2 * x * channels + c;
      const std::int64_t right = left + channels;
      put(_mm256_loadu_ps(above + left), _mm256_loadu_ps(above + right),
          _mm256_loadu_ps(below + left), _mm256_loadu_ps(below + right), out + x * channels + c,
          winner + x * channels + c);
    }
}

/// A pooled row of the first layer, sixteen output channels. weight: [25][out_c].
WSP_FMA void first_row(const PooledConv& s, std::int64_t channel, const float* x,
                       const float* weight, const float* bias, float* out, std::uint8_t* winner) {
  const __m256 bias0 = _mm256_loadu_ps(bias + channel);
  const __m256 bias1 = _mm256_loadu_ps(bias + channel + kLanes);
  for (std::int64_t column = 0; column < s.out_w(); ++column) {
    __m256 sum[4][2];
    for (auto& pixel : sum) {
      pixel[0] = bias0;
      pixel[1] = bias1;
    }
    const float* tap = weight + channel;
    for (std::int64_t i = 0; i < kKernel; ++i) {
      const float* above = x + i * s.in_w + 2 * column;
      const float* below = above + s.in_w;
      for (std::int64_t j = 0; j < kKernel; ++j, tap += s.out_c) {
        const __m256 w0 = _mm256_loadu_ps(tap);
        const __m256 w1 = _mm256_loadu_ps(tap + kLanes);
        const __m256 pixel[4] = {_mm256_broadcast_ss(above + j), _mm256_broadcast_ss(above + j + 1),
                                 _mm256_broadcast_ss(below + j),
                                 _mm256_broadcast_ss(below + j + 1)};
        for (int p = 0; p < 4; ++p) {
          sum[p][0] = _mm256_fmadd_ps(pixel[p], w0, sum[p][0]);
          sum[p][1] = _mm256_fmadd_ps(pixel[p], w1, sum[p][1]);
        }
      }
    }
    const std::int64_t at = column * s.out_c + channel;
    put(sum[0][0], sum[1][0], sum[2][0], sum[3][0], out + at, winner + at);
    put(sum[0][1], sum[1][1], sum[2][1], sum[3][1], out + at + kLanes, winner + at + kLanes);
  }
}

/// sum[0..80) += gradient * x[offset..offset + 80) over the hits, which are summed by themselves
/// first: two short sums round less than a long one.
WSP_FMA void gather_block(const Hit* hit, const Hit* end, const float* x, float* sum) {
  __m256 s[kVectors];
#pragma GCC unroll 10
  for (std::int64_t v = 0; v < kVectors; ++v) s[v] = _mm256_setzero_ps();
  for (; hit != end; ++hit) {
    const __m256 g = _mm256_broadcast_ss(&hit->gradient);
    const float* from = x + hit->offset;
#pragma GCC unroll 10
    for (std::int64_t v = 0; v < kVectors; ++v)
      s[v] = _mm256_fmadd_ps(g, _mm256_loadu_ps(from + v * kLanes), s[v]);
  }
#pragma GCC unroll 10
  for (std::int64_t v = 0; v < kVectors; ++v)
    _mm256_storeu_ps(sum + v * kLanes, _mm256_add_ps(_mm256_loadu_ps(sum + v * kLanes), s[v]));
}

/// The same for one channel: five rows of five, in vectors of eight whose last three lanes are
/// masked.
WSP_FMA void gather_window(const Hit* hit, const Hit* end, const float* x, std::int64_t row,
                           float* sum) {
  const __m256i five = _mm256_setr_epi32(-1, -1, -1, -1, -1, 0, 0, 0);
  __m256 s[kKernel];
#pragma GCC unroll 5
  for (std::int64_t i = 0; i < kKernel; ++i) s[i] = _mm256_setzero_ps();
  for (; hit != end; ++hit) {
    const __m256 g = _mm256_broadcast_ss(&hit->gradient);
    const float* from = x + hit->offset;
#pragma GCC unroll 5
    for (std::int64_t i = 0; i < kKernel; ++i)
      s[i] = _mm256_fmadd_ps(g, _mm256_maskload_ps(from + i * row, five), s[i]);
  }
#pragma GCC unroll 5
  for (std::int64_t i = 0; i < kKernel; ++i)
    _mm256_storeu_ps(sum + i * kLanes, _mm256_add_ps(_mm256_loadu_ps(sum + i * kLanes), s[i]));
}

/// x_gradient[0..80) += sum over the hits of gradient * weight[offset..offset + 80).
WSP_FMA_INLINE void scatter_block(const Hit* hit, const Hit* end, const float* weight,
                                  float* x_gradient) {
  __m256 s[kVectors];
#pragma GCC unroll 10
  for (std::int64_t v = 0; v < kVectors; ++v) s[v] = _mm256_loadu_ps(x_gradient + v * kLanes);
  for (; hit != end; ++hit) {
    const __m256 g = _mm256_broadcast_ss(&hit->gradient);
    const float* from = weight + hit->offset;
#pragma GCC unroll 10
    for (std::int64_t v = 0; v < kVectors; ++v)
      s[v] = _mm256_fmadd_ps(g, _mm256_loadu_ps(from + v * kLanes), s[v]);
  }
#pragma GCC unroll 10
  for (std::int64_t v = 0; v < kVectors; ++v) _mm256_storeu_ps(x_gradient + v * kLanes, s[v]);
}

/// The hits of one 5x5 window, over all output channels: a range of a list.
struct Window {
  std::int64_t at;  ///< where the window starts in the input, in floats
  std::int64_t first, last;
};

WSP_FMA void scatter(const std::vector<Window>& windows, const Hit* hits, const float* weight,
                     float* x_gradient) {
  for (const Window& w : windows)
    scatter_block(hits + w.first, hits + w.last, weight, x_gradient + w.at);
}

/// First float of the window of a pooled pixel in x.
std::int64_t window_of(const PooledConv& s, std::int64_t image, std::int64_t row,
                       std::int64_t column) {
  return ((image * s.in_h + 2 * row) * s.in_w + 2 * column) * s.in_c;
}

/// Where a winner's window starts, beside that of the first pixel.
std::int64_t shift_of(const PooledConv& s, std::int64_t winner) {
  return ((winner / 2) * s.in_w + winner % 2) * s.in_c;
}

}  // namespace

bool pooled_conv_served(const PooledConv& s) {
  static const bool has = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  return has && s.n > 0 && s.out_c % (2 * kLanes) == 0 && s.in_h > kKernel && s.in_w > kKernel &&
         (s.in_c == 1 || s.in_c % (2 * kLanes) == 0) && s.out_c > 0 && s.in_c > 0;
}

void pool_relu(const PooledConv& s, std::int64_t first, std::int64_t last, const float* conv,
               float* out, std::uint8_t* winner) {
  const std::int64_t row = s.conv_w() * s.out_c;
  const std::int64_t pooled = s.out_w() * s.out_c;
  for (std::int64_t image = first; image < last; ++image)
    for (std::int64_t y = 0; y < s.out_h(); ++y) {
      const float* above = conv + ((image - first) * s.conv_h() + 2 * y) * row;
      const std::int64_t at = (image * s.out_h() + y) * pooled;
      pool_row(s.out_w(), s.out_c, above, above + row, out + at, winner + at);
    }
}

void first_conv_pool_relu(const PooledConv& s, std::int64_t first, std::int64_t last,
                          const float* x, const float* weight, const float* bias, float* out,
                          std::uint8_t* winner) {
  constexpr std::int64_t kTaps = kKernel * kKernel;
  std::vector<float> taps(static_cast<std::size_t>(kTaps * s.out_c));
  for (std::int64_t t = 0; t < kTaps; ++t)
    for (std::int64_t c = 0; c < s.out_c; ++c)
      taps[static_cast<std::size_t>(t * s.out_c + c)] = weight[c * kTaps + t];
  for (std::int64_t image = first; image < last; ++image)
    for (std::int64_t y = 0; y < s.out_h(); ++y) {
      const std::int64_t at = (image * s.out_h() + y) * s.out_w() * s.out_c;
      for (std::int64_t c = 0; c < s.out_c; c += 2 * kLanes)
        first_row(s, c, x + (image * s.in_h + 2 * y) * s.in_w, taps.data(), bias, out + at,
                  winner + at);
    }
}

void pooled_conv_backward_weight(const PooledConv& s, std::int64_t first, std::int64_t last,
                                 const float* x, const float* gradient, const std::uint8_t* winner,
                                 float* weight_gradient, float* bias_gradient) {
  // Pooled rows taken together: enough pixels to pay for fetching the sums, few enough that their
  // part of x stays in cache while every channel passes over it.
  constexpr std::int64_t kPixels = 32;
  const std::int64_t rows = s.n * s.out_h();
  const std::int64_t together = (kPixels + s.out_w() - 1) / s.out_w();
  const std::int64_t x_row = s.in_w * s.in_c;
  const std::int64_t window = s.in_c == 1 ? kLanes : kKernel * s.in_c;  // floats of a row of sums
  std::vector<float> sums(static_cast<std::size_t>((last - first) * kKernel * window), 0.0F);
  std::vector<float> bias(static_cast<std::size_t>(last - first), 0.0F);
  std::vector<Hit> hits(static_cast<std::size_t>(together * s.out_w() + 1));
  std::vector<std::int32_t> starts(hits.size());
  std::int64_t shift[kNoWinner + 1] = {};
  for (std::int64_t w = 0; w < kNoWinner; ++w) shift[w] = shift_of(s, w);

  for (std::int64_t begin = 0; begin < rows; begin += together) {
    const std::int64_t count = std::min(together, rows - begin);
    const std::int64_t origin = window_of(s, begin / s.out_h(), begin % s.out_h(), 0);
    const std::int64_t pixels = count * s.out_w();
    for (std::int64_t p = 0; p < pixels; ++p) {
      const std::int64_t row = begin + p / s.out_w();
      starts[static_cast<std::size_t>(p)] = static_cast<std::int32_t>(
          window_of(s, row / s.out_h(), row % s.out_h(), p % s.out_w()) - origin);
    }
    for (std::int64_t c = first; c < last; ++c) {
      const std::int64_t at = begin * s.out_w() * s.out_c + c;
      Hit* end = hits.data();
      float total = 0;
      for (std::int64_t p = 0; p < pixels; ++p) {
        const std::uint8_t who = winner[at + p * s.out_c];
        const float g = gradient[at + p * s.out_c];
        *end = {static_cast<std::int32_t>(starts[static_cast<std::size_t>(p)] + shift[who]), g};
        const bool hit = who != kNoWinner;
        end += hit;
        total += hit ? g : 0.0F;
      }
      bias[static_cast<std::size_t>(c - first)] += total;
      float* sum = sums.data() + (c - first) * kKernel * window;
      if (s.in_c == 1) {
        gather_window(hits.data(), end, x + origin, x_row, sum);
        continue;
      }
      for (std::int64_t i = 0; i < kKernel; ++i)
        for (std::int64_t b = 0; b < window; b += kBlock)
          gather_block(hits.data(), end, x + origin + i * x_row + b, sum + i * window + b);
    }
  }

  for (std::int64_t c = first; c < last; ++c) {
    bias_gradient[c] = bias[static_cast<std::size_t>(c - first)];
    const float* sum = sums.data() + (c - first) * kKernel * window;
    float* to = weight_gradient + c * s.in_c * kKernel * kKernel;
    for (std::int64_t i = 0; i < kKernel; ++i)
      for (std::int64_t j = 0; j < kKernel; ++j)
        for (std::int64_t k = 0; k < s.in_c; ++k)
          to[(k * kKernel + i) * kKernel + j] = sum[i * window + j * s.in_c + k];
  }
}

// [5 rows][blocks of 80][out_c][80], a row being [5 columns][in_c].
void pack_weight(const PooledConv& s, const float* weight, float* packed) {
  const std::int64_t row = kKernel * s.in_c;
  for (std::int64_t c = 0; c < s.out_c; ++c)
    for (std::int64_t k = 0; k < s.in_c; ++k)
      for (std::int64_t i = 0; i < kKernel; ++i)
        for (std::int64_t j = 0; j < kKernel; ++j) {
          const std::int64_t at = j * s.in_c + k;
          packed[i * row * s.out_c + (at / kBlock * s.out_c + c) * kBlock + at % kBlock] =
              weight[((c * s.in_c + k) * kKernel + i) * kKernel + j];
        }
}

void pooled_conv_backward_input(const PooledConv& s, std::int64_t first, std::int64_t last,
                                const float* packed, const float* gradient,
                                const std::uint8_t* winner, float* x_gradient) {
  constexpr std::int64_t kPixels = 256;
  const std::int64_t image = s.in_h * s.in_w * s.in_c;
  const std::int64_t row = kKernel * s.in_c;
  const std::int64_t most = std::max<std::int64_t>(kPixels, s.out_w()) + s.out_w();
  std::vector<Hit> hits(static_cast<std::size_t>(most * s.out_c));
  std::vector<Hit> sorted[kNoWinner + 1];
  for (auto& list : sorted) list.resize(static_cast<std::size_t>(s.out_c));
  std::vector<Window> windows;

  for (std::int64_t g = first; g < last; ++g) {
    const std::int64_t from = g * s.group();
    const std::int64_t to = std::min(s.n, from + s.group());
    std::fill(x_gradient + from * image, x_gradient + to * image, 0.0F);
    std::int64_t end = 0;
    std::int64_t pixels = 0;
    const auto flush = [&] {
      for (std::int64_t i = 0; i < kKernel; ++i)
        for (std::int64_t b = 0; b < row; b += kBlock)
          scatter(windows, hits.data(), packed + (i * row + b) * s.out_c,
                  x_gradient + i * s.in_w * s.in_c + b);
      windows.clear();
      end = pixels = 0;
    };
    for (std::int64_t y = from * s.out_h(); y < to * s.out_h(); ++y) {
      for (std::int64_t column = 0; column < s.out_w(); ++column) {
        const std::int64_t at = (y * s.out_w() + column) * s.out_c;
        std::int64_t length[kNoWinner + 1] = {};
        for (std::int64_t c = 0; c < s.out_c; ++c) {
          const std::uint8_t who = winner[at + c];
          sorted[who][static_cast<std::size_t>(length[who]++)] = {
              static_cast<std::int32_t>(c * kBlock), gradient[at + c]};
        }
        const std::int64_t start = window_of(s, y / s.out_h(), y % s.out_h(), column);
        for (std::int64_t w = 0; w < kNoWinner; ++w) {
          if (length[w] == 0) continue;
          std::copy_n(sorted[w].begin(), length[w], hits.begin() + end);
          windows.push_back({start + shift_of(s, w), end, end + length[w]});
          end += length[w];
        }
      }
      pixels += s.out_w();
      if (pixels >= kPixels) flush();
    }
    flush();
  }
}

#else

bool pooled_conv_served(const PooledConv&) { return false; }
void pool_relu(const PooledConv&, std::int64_t, std::int64_t, const float*, float*, std::uint8_t*) {
}
void first_conv_pool_relu(const PooledConv&, std::int64_t, std::int64_t, const float*, const float*,
                          const float*, float*, std::uint8_t*) {}
void pooled_conv_backward_weight(const PooledConv&, std::int64_t, std::int64_t, const float*,
                                 const float*, const std::uint8_t*, float*, float*) {}
void pack_weight(const PooledConv&, const float*, float*) {}
void pooled_conv_backward_input(const PooledConv&, std::int64_t, std::int64_t, const float*,
                                const float*, const std::uint8_t*, float*) {}

#endif

}  // namespace wsp::train

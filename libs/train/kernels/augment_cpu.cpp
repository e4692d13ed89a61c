#include <tbb/blocked_range.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <string>

#include "io/core/error.hpp"
#include "io/core/parallel.hpp"
#include "train/kernels/augment.hpp"
#include "train/kernels/augment_pixel.hpp"

#if defined(__GNUC__) && defined(__x86_64__)
#include <immintrin.h>
#define WSP_AUGMENT_AVX2
#endif

namespace wsp::train {
namespace {

constexpr std::int64_t kBandRows = 64;  // of one view per task

/// Pixels [first, last) of a row.
struct Span {
  std::int64_t first, last;
};

std::int64_t floor_div(std::int64_t a, std::int64_t b) {  // b > 0
  return a / b - (a % b < 0 ? 1 : 0);
}

/// Which i in [0, count) satisfy low <= start + step * i < high.
Span solve(std::int64_t start, std::int64_t step, std::int64_t low, std::int64_t high,
           std::int64_t count) {
  if (step == 0) return start >= low && start < high ? Span{0, count} : Span{0, 0};
  if (step < 0) {  // mirrored, both bounds in integers
    return solve(-start, -step, 1 - high, 1 - low, count);
  }
  const std::int64_t first = -floor_div(start - low, step);
  const std::int64_t last = -floor_div(start - high, step);
  return {std::clamp<std::int64_t>(first, 0, count), std::clamp<std::int64_t>(last, 0, count)};
}

Span intersect(Span a, Span b) {
  const std::int64_t first = std::max(a.first, b.first);
  return {first, std::max(first, std::min(a.last, b.last))};
}

/// Two neighbours in a row, read at once: half the loads.
using Pair = std::int32_t __attribute__((aligned(2), may_alias));
static_assert(std::endian::native == std::endian::little, "the left neighbour is the lower half");

/// A run of pixels whose four neighbours all lie inside the source: nothing is checked.
struct Run {
  const std::int16_t* hu;
  std::int32_t size;
  std::int64_t x, y, step_x, step_y;  // fixed point: the first pixel, and from one to the next
  std::int64_t count;
  float* out;
};

void draw_interior(const Run& run, std::int64_t from) {
  for (std::int64_t i = from; i < run.count; ++i) {
    const std::int64_t x = run.x + i * run.step_x;
    const std::int64_t y = run.y + i * run.step_y;
    const std::int16_t* at = run.hu + (fixed_floor(y) * run.size + fixed_floor(x));
    const std::int32_t top = *reinterpret_cast<const Pair*>(at);
    const std::int32_t bottom = *reinterpret_cast<const Pair*>(at + run.size);
    run.out[i] =
        blend(static_cast<float>(static_cast<std::int16_t>(top)), static_cast<float>(top >> 16),
              static_cast<float>(static_cast<std::int16_t>(bottom)),
              static_cast<float>(bottom >> 16), fixed_part(x), fixed_part(y));
  }
}

#ifdef WSP_AUGMENT_AVX2
#define WSP_AVX2 __attribute__((target("avx2")))

/// Eight positions a fixed step apart, as 32-bit halves: whole pixels, and what lies above them.
struct Lanes {
  __m256i high, low;
};

WSP_AVX2 inline Lanes multiples(std::int64_t step) {
  alignas(32) std::int32_t high[8];
  alignas(32) std::int32_t low[8];
  for (int i = 0; i < 8; ++i) {
    high[i] = fixed_floor(i * step);
    low[i] = static_cast<std::int32_t>(static_cast<std::uint32_t>(i * step));
  }
  return {_mm256_load_si256(reinterpret_cast<const __m256i*>(high)),
          _mm256_load_si256(reinterpret_cast<const __m256i*>(low))};
}

/// first + each of the multiples: a 64-bit sum in halves.
WSP_AVX2 inline Lanes positions(std::int64_t first, const Lanes& steps) {
  const auto first_low = static_cast<std::int32_t>(static_cast<std::uint32_t>(first));
  const __m256i low = _mm256_add_epi32(_mm256_set1_epi32(first_low), steps.low);
  // -1 where the lower half did not wrap: one more than the sum of the upper halves, less that.
  const __m256i no_carry = _mm256_cmpeq_epi32(_mm256_max_epu32(low, steps.low), low);
  const __m256i high = _mm256_add_epi32(_mm256_set1_epi32(fixed_floor(first) + 1), steps.high);
  return {_mm256_add_epi32(high, no_carry), low};
}

WSP_AVX2 inline __m256 parts(__m256i low) {
  return _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_srli_epi32(low, 8)),
                       _mm256_set1_ps(1.0F / 16777216.0F));
}

WSP_AVX2 inline __m256 mix(__m256 a, __m256 b, __m256 part) {
  return _mm256_add_ps(a, _mm256_mul_ps(part, _mm256_sub_ps(b, a)));
}

/// Eight loads, not a gather: measured a fifth faster on Zen 2, and spared the microcode guards of
/// gathers elsewhere.
WSP_AVX2 inline __m256i load_pairs(const std::int16_t* hu, const std::int32_t* offset) {
  const auto pair = [&](int lane) { return *reinterpret_cast<const Pair*>(hu + offset[lane]); };
  return _mm256_setr_epi32(pair(0), pair(1), pair(2), pair(3), pair(4), pair(5), pair(6), pair(7));
}

WSP_AVX2 inline __m256 mix_pair(__m256i pair, __m256 part) {
  const __m256i left = _mm256_srai_epi32(_mm256_slli_epi32(pair, 16), 16);
  const __m256i right = _mm256_srai_epi32(pair, 16);
  return mix(_mm256_cvtepi32_ps(left), _mm256_cvtepi32_ps(right), part);
}

/// draw_interior, eight pixels at a time, each with the same operations in the same order: the
/// same bits. Returns how many pixels are drawn; fewer than eight are left.
WSP_AVX2 std::int64_t draw_interior_avx2(const Run& run) {
  const Lanes steps_x = multiples(run.step_x);
  const Lanes steps_y = multiples(run.step_y);
  const __m256i size = _mm256_set1_epi32(run.size);
  alignas(32) std::int32_t offset[8];
  std::int64_t i = 0;
  for (; i + 8 <= run.count; i += 8) {
    const Lanes x = positions(run.x + i * run.step_x, steps_x);
    const Lanes y = positions(run.y + i * run.step_y, steps_y);
    _mm256_store_si256(reinterpret_cast<__m256i*>(offset),
                       _mm256_add_epi32(_mm256_mullo_epi32(y.high, size), x.high));
    const __m256 part_x = parts(x.low);
    const __m256 value = mix(mix_pair(load_pairs(run.hu, offset), part_x),
                             mix_pair(load_pairs(run.hu + run.size, offset), part_x), parts(y.low));
    const __m256 scaled =
        _mm256_div_ps(_mm256_add_ps(value, _mm256_set1_ps(100)), _mm256_set1_ps(500));
    _mm256_storeu_ps(run.out + i, scaled);
  }
  return i;
}

#endif

void draw_interior(const Run& run) {
  std::int64_t done = 0;
#ifdef WSP_AUGMENT_AVX2
  static const bool has_avx2 = __builtin_cpu_supports("avx2") != 0;
  if (has_avx2) done = draw_interior_avx2(run);
#endif
  draw_interior(run, done);
}

void draw_row(const std::int16_t* hu, std::int64_t size, const FixedAffine& a, std::int64_t row,
              float* out) {
  const std::int64_t x = source_x(a, 0, row);
  const std::int64_t y = source_y(a, 0, row);
  const std::int64_t end = size * kFixedOne;
  // `touched` pixels have a neighbour inside the source, `interior` ones have all four there.
  const Span touched =
      intersect(solve(x, a.xx, 1 - kFixedOne, end, size), solve(y, a.yx, 1 - kFixedOne, end, size));
  const Span interior = intersect(touched, intersect(solve(x, a.xx, 0, end - kFixedOne, size),
                                                     solve(y, a.yx, 0, end - kFixedOne, size)));
  const auto border = [&](std::int64_t from, std::int64_t to) {
    for (std::int64_t i = from; i < to; ++i)
      out[i] = sample_anywhere(hu, static_cast<std::int32_t>(size),
                               source_point(x + i * a.xx, y + i * a.yx));
  };
  std::fill(out, out + touched.first, 0.0F);
  if (interior.first < interior.last) {
    border(touched.first, interior.first);
    draw_interior({hu, static_cast<std::int32_t>(size), x + interior.first * a.xx,
                   y + interior.first * a.yx, a.xx, a.yx, interior.last - interior.first,
                   out + interior.first});
    border(interior.last, touched.last);
  } else {
    border(touched.first, touched.last);
  }
  std::fill(out + touched.last, out + size, 0.0F);
}

void check(const Affine& affine, std::int64_t index) {
  for (std::size_t i = 0; i < affine.size(); ++i) {
    const float limit = i % 3 == 2 ? kMaxAffineOffset : kMaxAffineScale;
    if (std::isfinite(affine[i]) && std::abs(affine[i]) <= limit) continue;
    throw Error(ErrorCode::failure, "augmentation: coefficient " + std::to_string(i) +
                                        " of affine " + std::to_string(index) + " is " +
                                        std::to_string(affine[i]) + ", expected at most " +
                                        std::to_string(limit) + " in magnitude");
  }
}

}  // namespace

void augment_cpu(const std::int16_t* hu, const Affine* affine, std::int64_t n, std::int64_t views,
                 std::int64_t size, float* out) {
  if (size < 1 || size > kMaxAugmentSize)
    throw Error(ErrorCode::failure, "augmentation: images of " + std::to_string(size) +
                                        " pixels a side, expected 1 to 32768");
  for (std::int64_t i = 0; i < views * n; ++i) check(affine[i], i);

  const std::int64_t bands = (size + kBandRows - 1) / kBandRows;
  const std::int64_t pixels = size * size;
  // Views innermost: the second finds the source in cache.
  wsp::parallel_loop(tbb::blocked_range<std::int64_t>(0, n * bands * views),
                     [&](const auto& range) {
                       for (std::int64_t task = range.begin(); task != range.end(); ++task) {
                         const std::int64_t view = task % views;
                         const std::int64_t band = task / views % bands;
                         const std::int64_t image = task / views / bands;
                         const FixedAffine map = to_fixed(affine[view * n + image].data());
                         float* target = out + (view * n + image) * pixels;
                         const std::int64_t last = std::min(size, (band + 1) * kBandRows);
                         for (std::int64_t row = band * kBandRows; row < last; ++row)
                           draw_row(hu + image * pixels, size, map, row, target + row * size);
                       }
                     });
}

}  // namespace wsp::train

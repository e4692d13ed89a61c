#include "io/shard/unshuffle.hpp"

#include <algorithm>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace wsp {
namespace {

// Pairs of a low and a high byte; returns how many were written.
std::size_t merge_streamed([[maybe_unused]] const std::uint8_t* low,
                           [[maybe_unused]] const std::uint8_t* high,
                           [[maybe_unused]] std::size_t n, [[maybe_unused]] std::uint8_t* out) {
  std::size_t done = 0;
#ifdef __SSE2__
  constexpr std::size_t kWidth = sizeof(__m128i);
  if (reinterpret_cast<std::uintptr_t>(out) % kWidth != 0) return 0;
  for (; done + kWidth <= n; done += kWidth) {
    const __m128i a = _mm_loadu_si128(reinterpret_cast<const __m128i*>(low + done));
    const __m128i b = _mm_loadu_si128(reinterpret_cast<const __m128i*>(high + done));
    auto* const to = reinterpret_cast<__m128i*>(out + 2 * done);
    _mm_stream_si128(to, _mm_unpacklo_epi8(a, b));
    _mm_stream_si128(to + 1, _mm_unpackhi_epi8(a, b));
  }
#endif
  return done;
}

}  // namespace

void unshuffle_streamed(std::span<const std::uint8_t> planes, std::size_t block,
                        std::span<std::uint8_t> out) {
  for (std::size_t begin = 0; begin < planes.size(); begin += block) {
    const std::size_t size = std::min(block, planes.size() - begin), n = size / 2;
    const std::uint8_t *low = &planes[begin], *high = low + n;
    std::uint8_t* const to = &out[begin];
    for (std::size_t i = merge_streamed(low, high, n, to); i < n; ++i) {
      to[2 * i] = low[i];
      to[2 * i + 1] = high[i];
    }
    if (size % 2 != 0) to[size - 1] = planes[begin + size - 1];
  }
#ifdef __SSE2__
  _mm_sfence();  // before another thread is told that the pixels are there
#endif
}

}  // namespace wsp

#include "io/medical/rescale.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "io/core/vector_clones.hpp"

namespace wsp::dicom {
namespace {

constexpr std::int16_t kPaddingHu = -1024;
/// float32 is exact to a half below it, and adding 1.5 times 2^23 rounds to whole numbers.
constexpr float kRoundable = 1 << 22, kRounder = 3 << 22;
/// Pixels whose sum stays below 2^31.
constexpr std::int64_t kBlock = 256;

struct Mapping {
  float slope = 1, intercept = 0;
  PaddingRange padding;
};

struct Sums {
  std::int32_t minimum = std::numeric_limits<std::int32_t>::max();
  std::int32_t maximum = std::numeric_limits<std::int32_t>::min();
  std::int32_t sum = 0, padding = 0;
};

/// At most kBlock pixels, all results below kRoundable.
WSP_VECTOR_CLONES("avx2", "default")
Sums map_block(const std::int16_t* stored, std::int32_t n, Mapping m, std::int16_t* hu) {
  Sums s;
  for (std::int32_t i = 0; i < n; ++i) {
    const std::int32_t value = stored[i];
    const float exact = static_cast<float>(value) * m.slope + m.intercept;
    const auto rounded = static_cast<std::int32_t>((exact + kRounder) - kRounder);
    s.minimum = std::min(s.minimum, rounded);
    s.maximum = std::max(s.maximum, rounded);
    s.sum += rounded;
    const std::int32_t clamped = std::min(std::max(rounded, -32768), 32767);
    const bool padded = (value >= m.padding.low) & (value <= m.padding.high);
    hu[i] = static_cast<std::int16_t>(padded ? kPaddingHu : clamped);
    s.padding += padded ? 1 : 0;
  }
  return s;
}

/// Slope 1, a whole intercept, no padding, and no result beyond int16.
WSP_VECTOR_CLONES("avx2", "default")
Sums shift_block(const std::int16_t* stored, std::int32_t n, std::int16_t by, std::int16_t* hu) {
  std::int16_t least = std::numeric_limits<std::int16_t>::max();
  std::int16_t most = std::numeric_limits<std::int16_t>::min();
  std::int32_t sum = 0;
  for (std::int32_t i = 0; i < n; ++i) {
    const auto value = static_cast<std::int16_t>(stored[i] + by);
    hu[i] = value;
    least = std::min(least, value);
    most = std::max(most, value);
    sum += value;
  }
  return {least, most, sum, 0};
}

WSP_VECTOR_CLONES("avx2", "default")
std::pair<std::int16_t, std::int16_t> range_of(const std::int16_t* values, std::int64_t n) {
  std::int16_t least = std::numeric_limits<std::int16_t>::max();
  std::int16_t most = std::numeric_limits<std::int16_t>::min();
  for (std::int64_t i = 0; i < n; ++i) {
    least = std::min(least, values[i]);
    most = std::max(most, values[i]);
  }
  return {least, most};
}

bool only_shifts(const DecodedFrame& frame) {
  if (frame.slope != 1 || frame.intercept != std::nearbyint(frame.intercept) ||
      std::abs(frame.intercept) > 32767 || frame.padding_range.low <= frame.padding_range.high)
    return false;
  const auto by = static_cast<std::int32_t>(frame.intercept);
  const auto [least, most] = range_of(frame.plain.view.data(), std::ssize(frame.plain.view));
  return least + by >= -32768 && most + by <= 32767;
}

StoredStatistics empty_statistics() {
  StoredStatistics s;
  s.minimum = std::numeric_limits<std::int64_t>::max();
  s.maximum = std::numeric_limits<std::int64_t>::min();
  return s;
}

/// Of any rescale values; `stored_at(i)` and `padded_at(i)` are asked for pixels 0 to n - 1.
template <class Stored, class Padded>
StoredStatistics map_each(std::size_t n, const DecodedFrame& frame, const Stored& stored_at,
                          const Padded& padded_at, std::int16_t* hu) {
  StoredStatistics s = empty_statistics();
  for (std::size_t i = 0; i < n; ++i) {
    const float product = static_cast<float>(stored_at(i)) * frame.slope;
    const std::int64_t value = std::llrint(product + frame.intercept);
    s.minimum = std::min(s.minimum, value);
    s.maximum = std::max(s.maximum, value);
    s.sum += value;
    const bool padded = padded_at(i);
    s.padding_voxels += padded ? 1 : 0;
    hu[i] = padded ? kPaddingHu
                   : static_cast<std::int16_t>(std::clamp<std::int64_t>(value, -32768, 32767));
  }
  return s;
}

}  // namespace

StoredStatistics rescale_frame(const DecodedFrame& frame, std::int16_t* hu) {
  const std::span plain = frame.plain.view;
  if (plain.empty())
    return map_each(
        frame.stored.size(), frame, [&](std::size_t i) { return frame.stored[i]; },
        [&](std::size_t i) { return !frame.padding.empty() && frame.padding[i] != 0; }, hu);
  if (32768 * std::abs(frame.slope) + std::abs(frame.intercept) >= kRoundable)
    return map_each(
        plain.size(), frame, [&](std::size_t i) { return std::int32_t{plain[i]}; },
        [&](std::size_t i) {
          return plain[i] >= frame.padding_range.low && plain[i] <= frame.padding_range.high;
        },
        hu);
  const Mapping mapping{frame.slope, frame.intercept, frame.padding_range};
  StoredStatistics s = empty_statistics();
  const auto n = static_cast<std::int64_t>(plain.size());
  const bool shifts = only_shifts(frame);
  for (std::int64_t i = 0; i < n; i += kBlock) {
    const auto count = static_cast<std::int32_t>(std::min(kBlock, n - i));
    const std::int16_t* stored = plain.data() + i;
    const Sums block =
        shifts ? shift_block(stored, count, static_cast<std::int16_t>(frame.intercept), hu + i)
               : map_block(stored, count, mapping, hu + i);
    s.minimum = std::min<std::int64_t>(s.minimum, block.minimum);
    s.maximum = std::max<std::int64_t>(s.maximum, block.maximum);
    s.sum += block.sum;
    s.padding_voxels += block.padding;
  }
  return s;
}

}  // namespace wsp::dicom

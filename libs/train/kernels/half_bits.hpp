#pragma once
#include <cstdint>
#include <cstring>

#include "train/kernels/host_device.hpp"
#if defined(__CUDACC__)
#include <cuda_fp16.h>
#endif

/// Half precision as bits, the same on host and device.
namespace wsp::train {

/// Round to the nearest half, ties to even.
WSP_HOST_DEVICE inline std::uint16_t half_bits(float value) {
#if defined(__CUDACC__)
  return __half_as_ushort(__float2half_rn(value));
#else
  const auto half = static_cast<_Float16>(value);
  std::uint16_t bits = 0;
  std::memcpy(&bits, &half, sizeof bits);
  return bits;
#endif
}

WSP_HOST_DEVICE inline float half_value(std::uint16_t bits) {
#if defined(__CUDACC__)
  return __half2float(__ushort_as_half(bits));
#else
  _Float16 half = 0;
  std::memcpy(&half, &bits, sizeof bits);
  return static_cast<float>(half);
#endif
}

/// Value of a bfloat16: the upper half of a float32.
WSP_HOST_DEVICE inline float bfloat16_value(std::uint16_t bits) {
  const std::uint32_t wide = static_cast<std::uint32_t>(bits) << 16;
  float value = 0;
  memcpy(&value, &wide, sizeof value);
  return value;
}

/// Round to the nearest bfloat16, ties to even; NaN stays one.
WSP_HOST_DEVICE inline std::uint16_t bfloat16_bits(float value) {
  std::uint32_t wide = 0;
  memcpy(&wide, &value, sizeof wide);
  if (value != value) return static_cast<std::uint16_t>((wide >> 16) | 0x40);
  return static_cast<std::uint16_t>((wide + 0x7fffU + ((wide >> 16) & 1U)) >> 16);
}

/// Two halves in one word, `low` in the lower bits.
WSP_HOST_DEVICE inline std::uint32_t half_pair(float low, float high) {
  return static_cast<std::uint32_t>(half_bits(low)) | static_cast<std::uint32_t>(half_bits(high))
                                                          << 16;
}

}  // namespace wsp::train

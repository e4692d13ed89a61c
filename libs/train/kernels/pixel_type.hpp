#pragma once
#include <cstdint>

#include "train/kernels/half_bits.hpp"

/// The types in which kernels keep images, the same on host and device.
namespace wsp::train {

/// bf16 and f16 are rounded to nearest even from float32.
enum class PixelType { f32, bf16, f16 };

/// How a type lies in memory, and its value.
template <PixelType>
struct Stored;
template <>
struct Stored<PixelType::f32> {
  using Bits = float;
  WSP_HOST_DEVICE static float value(Bits bits) { return bits; }
  WSP_HOST_DEVICE static Bits bits(float value) { return value; }
};
template <>
struct Stored<PixelType::bf16> {
  using Bits = std::uint16_t;
  WSP_HOST_DEVICE static float value(Bits bits) { return bfloat16_value(bits); }
  WSP_HOST_DEVICE static Bits bits(float value) { return bfloat16_bits(value); }
};
template <>
struct Stored<PixelType::f16> {
  using Bits = std::uint16_t;
  WSP_HOST_DEVICE static float value(Bits bits) { return half_value(bits); }
  WSP_HOST_DEVICE static Bits bits(float value) { return half_bits(value); }
};

/// Neighbours in memory that are read or written at once.
template <class T, int kCount>
struct alignas(sizeof(T) * kCount) Packed {
  T value[kCount];
};

}  // namespace wsp::train

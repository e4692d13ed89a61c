#pragma once
#include <cmath>
#include <cstdint>

#include "train/kernels/host_device.hpp"

/// One output pixel of the affine resampling, for host and device. Coordinates are 64-bit fixed
/// point with 32 bits of fraction, so a position does not depend on how it was reached (product or
/// running sum), on fused multiply-adds or on the instruction set, and spans of pixels are found by
/// exact integer division. Compiled without contraction (-ffp-contract=off, -fmad=false) the value
/// is the same bit for bit everywhere.
namespace wsp::train {

/// Fixed-point one: a step of one source pixel.
constexpr std::int64_t kFixedOne = std::int64_t{1} << 32;
/// Bounds within which no coordinate overflows; beyond them the affine is refused (augment_cpu) or
/// clamped (to_fixed).
constexpr std::int64_t kMaxAugmentSize = 32768;
constexpr float kMaxAffineScale = 1024;
constexpr float kMaxAffineOffset = 536870912;  // 2^29

/// The affine of augment.hpp in fixed point.
struct FixedAffine {
  std::int64_t xx, xy, x0, yx, yy, y0;
};

/// A source position: the pixel at its upper left, and the part of the way to the next, in [0, 1).
struct SourcePoint {
  std::int32_t x, y;
  float part_x, part_y;
};

WSP_HOST_DEVICE inline std::int64_t to_fixed(float value, float limit) {
  // fmax takes the number where the other is NaN: such an affine points outside.
  return static_cast<std::int64_t>(llrintf(fminf(fmaxf(value, -limit), limit) * 4294967296.0F));
}

/// Convert 6 floats (row-major 2x3); exact for coefficients of 2^-9 and more, else to 2^-33.
WSP_HOST_DEVICE inline FixedAffine to_fixed(const float* affine) {
  return {to_fixed(affine[0], kMaxAffineScale),  to_fixed(affine[1], kMaxAffineScale),
          to_fixed(affine[2], kMaxAffineOffset), to_fixed(affine[3], kMaxAffineScale),
          to_fixed(affine[4], kMaxAffineScale),  to_fixed(affine[5], kMaxAffineOffset)};
}

WSP_HOST_DEVICE inline std::int64_t source_x(const FixedAffine& a, std::int64_t x, std::int64_t y) {
  return a.xx * x + a.xy * y + a.x0;
}
WSP_HOST_DEVICE inline std::int64_t source_y(const FixedAffine& a, std::int64_t x, std::int64_t y) {
  return a.yx * x + a.yy * y + a.y0;
}

/// Floor of a fixed-point number below 2^31 in magnitude.
WSP_HOST_DEVICE inline std::int32_t fixed_floor(std::int64_t value) {
  return static_cast<std::int32_t>(
      static_cast<std::uint32_t>(static_cast<std::uint64_t>(value) >> 32));
}
/// What lies above the floor: 24 bits, exact in float32.
WSP_HOST_DEVICE inline float fixed_part(std::int64_t value) {
  const std::uint32_t low = static_cast<std::uint32_t>(static_cast<std::uint64_t>(value));
  return static_cast<float>(static_cast<std::int32_t>(low >> 8)) * (1.0F / 16777216.0F);
}

WSP_HOST_DEVICE inline SourcePoint source_point(std::int64_t x, std::int64_t y) {
  return {fixed_floor(x), fixed_floor(y), fixed_part(x), fixed_part(y)};
}

/// Bilinear value of four neighbours in HU, scaled to (hu + 100) / 500.
WSP_HOST_DEVICE inline float blend(float v00, float v01, float v10, float v11, float part_x,
                                   float part_y) {
  const float top = v00 + part_x * (v01 - v00);
  const float bottom = v10 + part_x * (v11 - v10);
  return (top + part_y * (bottom - top) + 100.0F) / 500.0F;
}

/// HU at a pixel, -100 outside the source. An image has no more than 2^30 pixels: its indices are
/// of 32 bits.
WSP_HOST_DEVICE inline float hu_or_air(const std::int16_t* hu, std::int32_t size, std::int32_t x,
                                       std::int32_t y) {
  const bool inside = x >= 0 && y >= 0 && x < size && y < size;
  return inside ? static_cast<float>(hu[y * size + x]) : -100.0F;
}

/// The value of any position: each neighbour outside the source counts as -100 HU.
WSP_HOST_DEVICE inline float sample_anywhere(const std::int16_t* hu, std::int32_t size,
                                             const SourcePoint& at) {
  return blend(hu_or_air(hu, size, at.x, at.y), hu_or_air(hu, size, at.x + 1, at.y),
               hu_or_air(hu, size, at.x, at.y + 1), hu_or_air(hu, size, at.x + 1, at.y + 1),
               at.part_x, at.part_y);
}

/// The whole function: output pixel (x, y) of one view of one slice.
WSP_HOST_DEVICE inline float augment_pixel(const std::int16_t* hu, std::int64_t size,
                                           const FixedAffine& affine, std::int64_t x,
                                           std::int64_t y) {
  return sample_anywhere(hu, static_cast<std::int32_t>(size),
                         source_point(source_x(affine, x, y), source_y(affine, x, y)));
}

}  // namespace wsp::train

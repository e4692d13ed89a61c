#pragma once
#include <cmath>
#include <limits>

#include "train/kernels/host_device.hpp"

/// What the tiled loss does with one number or one pair, in float32, for host and device. Exponents
/// are of base 2.
namespace wsp::train {

constexpr double kLog2E = 1.4426950408889634;
constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

/// A number as the sum of two floats: differences of coordinates keep 48 bits.
struct SplitFloat {
  float high, low;
};

WSP_HOST_DEVICE inline SplitFloat split(double value) {
  const float high = static_cast<float>(value);
  return {high, static_cast<float>(value - static_cast<double>(high))};
}

WSP_HOST_DEVICE inline float difference(SplitFloat a, SplitFloat b) {
  return (a.high - b.high) + (a.low - b.low);
}

/// 2^x; on the card in one instruction, good to 2^-22, what is below 2^-126 is 0.
WSP_HOST_DEVICE inline float power_of_two(float x) {
#if defined(__CUDA_ARCH__)
  float value;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(value) : "f"(x));
  return value;
#else
  return exp2f(x);
#endif
}

/// Part of a softmax over some of an anchor's others: sum holds 2^(s - top), pull the weighted
/// cosines.
struct SoftmaxPart {
  float top = kMinusInfinity, sum = 0, pull = 0;
};

/// `sum` seen from another top. Where nothing was summed both are -inf, and a NaN in the sum stays.
WSP_HOST_DEVICE inline float rescaled(float sum, float from, float to) {
  return from == to ? sum : sum * power_of_two(from - to);
}

/// Raise the top of a part; afterwards 2^(s - base(top)) may be added for s <= top.
WSP_HOST_DEVICE inline void raise_top(SoftmaxPart& part, float top) {
  part.sum = rescaled(part.sum, part.top, top);
  part.top = top;
}

/// What is subtracted from an exponent: the top, or 0 where everything is excluded.
WSP_HOST_DEVICE inline float base(float top) { return top == kMinusInfinity ? 0.0F : top; }

WSP_HOST_DEVICE inline SoftmaxPart merged(const SoftmaxPart& a, const SoftmaxPart& b) {
  const float top = fmaxf(a.top, b.top);
  return {top, rescaled(a.sum, a.top, top) + rescaled(b.sum, b.top, top), a.pull + b.pull};
}

/// dL/ds of a pair, both directions at once: q_t p_ti + q_i p_it - w_ti - w_it. `end` is the
/// logarithm of the softmax's denominator less that of q, `weights` the sum of both weights.
WSP_HOST_DEVICE inline float pair_gradient(float s, float end_t, float end_i, float weights) {
  return power_of_two(s - end_t) + power_of_two(s - end_i) - weights;
}

/// A finite half precision number; NaN stays.
WSP_HOST_DEVICE inline float within_half(float value) {
  constexpr float kMost = 65504;
  return value > kMost ? kMost : value < -kMost ? -kMost : value;
}

}  // namespace wsp::train

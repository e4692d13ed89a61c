#pragma once
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "train/kernels/pool_relu.hpp"

namespace wsp::train::test {

/// A map in one of the types, the same numbers in float32, a bias, and a gradient of what is
/// pooled. Among the values are equal ones, a NaN and infinities.
template <PixelType kType>
struct PoolBatch {
  using Type = Stored<kType>;
  using Bits = typename Type::Bits;
  PoolShape shape;
  std::vector<Bits> conv, gradient;
  std::vector<float> wide_conv, wide_gradient, bias;

  PoolBatch(const PoolShape& s, std::uint32_t seed) : shape(s) {
    std::mt19937 random(seed);
    std::normal_distribution<float> value(0, 1);
    std::uniform_int_distribution<int> few(-3, 2);
    const auto fill = [&](std::int64_t count, std::vector<Bits>& bits, std::vector<float>& wide) {
      for (std::int64_t i = 0; i < count; ++i) {
        bits.push_back(Type::bits(i % 3 == 0 ? static_cast<float>(few(random)) : value(random)));
        wide.push_back(Type::value(bits.back()));
      }
    };
    fill(s.in_values(), conv, wide_conv);
    fill(s.out_values(), gradient, wide_gradient);
    const float odd[] = {std::numeric_limits<float>::quiet_NaN(),
                         std::numeric_limits<float>::infinity(),
                         -std::numeric_limits<float>::infinity(), -0.0F};
    for (std::size_t i = 0; i < 4 && 5 * i < conv.size(); ++i) {
      conv[5 * i] = Type::bits(odd[i]);
      wide_conv[5 * i] = Type::value(conv[5 * i]);
    }
    for (std::int64_t c = 0; c < s.c; ++c) bias.push_back(value(random) / 2);
  }
};

/// Shapes of which some have odd sides, cut windows in one or both directions, and channels that a
/// packed read takes.
inline std::vector<PoolShape> pool_shapes() {
  std::vector<PoolShape> shapes;
  for (const bool channels_last : {false, true})
    for (const PoolShape s :
         {PoolShape{1, 1, 2, 2}, PoolShape{2, 3, 5, 4}, PoolShape{3, 8, 6, 7},
          PoolShape{2, 16, 9, 9}, PoolShape{1, 12, 2, 17}, PoolShape{2, 5, 8, 3}}) {
      shapes.push_back(s);
      shapes.back().channels_last = channels_last;
    }
  return shapes;
}

/// Bit for bit, any NaN being like any other.
template <class T>
bool same_number(T a, T b) {
  return a == b || (a != a && b != b);
}

}  // namespace wsp::train::test

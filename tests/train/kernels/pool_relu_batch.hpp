#pragma once
#include <gtest/gtest.h>

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

/// What the reference makes of a batch.
template <PixelType kType>
struct PoolExpected {
  using Type = Stored<kType>;
  using Bits = typename Type::Bits;
  std::vector<float> out, conv_gradient;
  std::vector<std::uint8_t> winner;

  explicit PoolExpected(const PoolBatch<kType>& batch)
      : out(static_cast<std::size_t>(batch.shape.out_values())),
        conv_gradient(static_cast<std::size_t>(batch.shape.in_values())),
        winner(out.size()) {
    bias_relu_pool_cpu(batch.shape, batch.wide_conv.data(), batch.bias.data(), out.data(),
                       winner.data());
    bias_relu_pool_backward_cpu(batch.shape, batch.wide_gradient.data(), winner.data(),
                                conv_gradient.data());
  }

  void expect(const std::vector<Bits>& found_out, const std::vector<std::uint8_t>& found_winner,
              const std::vector<Bits>& found_gradient) const {
    ASSERT_EQ(found_winner, winner);
    for (std::size_t i = 0; i < out.size(); ++i) {  // bit for bit, any NaN being like any other
      const float found = Type::value(found_out[i]), wanted = Type::value(Type::bits(out[i]));
      ASSERT_TRUE(found == wanted || (std::isnan(found) && std::isnan(wanted))) << i;
    }
    for (std::size_t i = 0; i < conv_gradient.size(); ++i)
      ASSERT_EQ(Type::value(found_gradient[i]), conv_gradient[i]) << i;
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

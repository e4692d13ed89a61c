#include "train/data/resize.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <array>
#include <cstdlib>

#include "io/core/counter_rng.hpp"
#include "io/core/error.hpp"

namespace wsp::train {
namespace {

// The weight of input pixel i in output pixel o, times a factor common to all i.
std::int64_t weight(std::int64_t from, std::int64_t to, std::int64_t o, std::int64_t i) {
  if (to <= from)  // the overlap of two intervals, in units of 1 / to of an input pixel
    return std::max<std::int64_t>(
        0, std::min((o + 1) * from, (i + 1) * to) - std::max(o * from, i * to));
  // A tent around the input's centre, in units of 1 / 2to of an input pixel.
  const std::int64_t at = std::clamp<std::int64_t>((2 * o + 1) * from - to, 0, 2 * to * (from - 1));
  return std::max<std::int64_t>(0, 2 * to - std::abs(at - 2 * to * i));
}

std::int64_t divide_half_even(std::int64_t a, std::int64_t b) {
  std::int64_t q = a / b, r = a % b;
  if (r < 0) {
    --q;
    r += b;
  }
  return 2 * r > b || (2 * r == b && q % 2 != 0) ? q + 1 : q;
}

std::vector<std::int16_t> reference(const std::vector<std::int16_t>& in, std::int64_t height,
                                    std::int64_t width, std::int64_t size) {
  std::vector<std::int16_t> out;
  for (std::int64_t y = 0; y < size; ++y)
    for (std::int64_t x = 0; x < size; ++x) {
      std::int64_t sum = 0, weights = 0;
      for (std::int64_t v = 0; v < height; ++v)
        for (std::int64_t u = 0; u < width; ++u) {
          const std::int64_t w = weight(height, size, y, v) * weight(width, size, x, u);
          sum += w * in[static_cast<std::size_t>(v * width + u)];
          weights += w;
        }
      out.push_back(static_cast<std::int16_t>(divide_half_even(sum, weights)));
    }
  return out;
}

std::vector<std::int16_t> resized(const std::vector<std::int16_t>& in, std::int64_t height,
                                  std::int64_t width, std::int64_t size) {
  std::vector<std::int16_t> out(static_cast<std::size_t>(size * size), -1);
  std::vector<std::int32_t> scratch;
  Resizer(height, width, size).image(in, out, scratch);
  return out;
}

RC_GTEST_PROP(Resize, EqualsAnExplicitDoubleLoop, ()) {
  const auto height = *rc::gen::inRange<std::int64_t>(1, 24);
  const auto width = *rc::gen::inRange<std::int64_t>(1, 24);
  const auto size = *rc::gen::inRange<std::int64_t>(1, 24);
  // Few values give many ties; all values reach the ends of int16.
  const bool few = *rc::gen::arbitrary<bool>();
  const auto value = few ? rc::gen::inRange<int>(-2, 3) : rc::gen::inRange<int>(-32768, 32768);
  std::vector<std::int16_t> in;
  for (const int v :
       *rc::gen::container<std::vector<int>>(static_cast<std::size_t>(height * width), value))
    in.push_back(static_cast<std::int16_t>(v));
  RC_ASSERT(resized(in, height, width, size) == reference(in, height, width, size));
}

TEST(Resize, RoundsHalvesToEven) {
  const auto half = [](std::int16_t a, std::int16_t b) {
    return resized({a, b, a, b}, 2, 2, 1)[0];
  };
  EXPECT_EQ(half(0, 1), 0);
  EXPECT_EQ(half(1, 2), 2);
  EXPECT_EQ(half(2, 3), 2);
  EXPECT_EQ(half(-1, 0), 0);
  EXPECT_EQ(half(-2, -1), -2);
  EXPECT_EQ(half(-32768, -32767), -32768);
}

TEST(Resize, SumsOfExtremeValuesDoNotOverflow) {
  // Sums beyond 32 bits, which windowed slices never reach.
  CounterRng rng(5, {});
  for (const auto& [height, width, size] :
       {std::array<std::int64_t, 3>{8000, 9, 5}, {9, 8000, 5}, {8000, 9, 20}}) {
    std::vector<std::int16_t> in(static_cast<std::size_t>(height * width));
    for (auto& v : in) v = rng.below(9) == 0 ? std::int16_t{0} : std::int16_t{-32768};
    EXPECT_EQ(resized(in, height, width, size), reference(in, height, width, size));
    std::fill(in.begin(), in.end(), std::int16_t{-32768});
    EXPECT_EQ(resized(in, height, width, size),
              std::vector<std::int16_t>(static_cast<std::size_t>(size * size), -32768));
  }
}

TEST(Resize, KeepsTheMeanOfAFullSizeSlice) {
  std::vector<std::int16_t> in(512 * 512);
  CounterRng rng(7, {1});
  double sum = 0;
  for (auto& v : in) {
    v = static_cast<std::int16_t>(rng.below(501)) - 100;
    sum += v;
  }
  double small = 0;
  for (const auto v : resized(in, 512, 512, 160)) small += v;
  EXPECT_NEAR(small / (160 * 160), sum / (512 * 512), 0.01);
}

RC_GTEST_PROP(Resize, MasksTakeTheNearestPixel, ()) {
  const auto height = *rc::gen::inRange<std::int64_t>(1, 20);
  const auto width = *rc::gen::inRange<std::int64_t>(1, 20);
  const auto size = *rc::gen::inRange<std::int64_t>(1, 30);
  const auto in = *rc::gen::container<std::vector<std::uint8_t>>(
      static_cast<std::size_t>(height * width), rc::gen::inRange<std::uint8_t>(0, 2));
  std::vector<std::uint8_t> out(static_cast<std::size_t>(size * size), 9);
  Resizer(height, width, size).mask(in, out);
  const auto nearest = [&](std::int64_t from, std::int64_t o) {
    std::int64_t best = 0;  // distances of centres in units of 1 / 2size of an input pixel
    const auto distance = [&](std::int64_t i) {
      return std::abs((2 * o + 1) * from - (2 * i + 1) * size);
    };
    for (std::int64_t i = 1; i < from; ++i)
      if (distance(i) <= distance(best)) best = i;
    return best;
  };
  for (std::int64_t y = 0; y < size; ++y)
    for (std::int64_t x = 0; x < size; ++x)
      RC_ASSERT(out[static_cast<std::size_t>(y * size + x)] ==
                in[static_cast<std::size_t>(nearest(height, y) * width + nearest(width, x))]);
}

TEST(Resize, RefusesSizesThatCannotBe) {
  for (const std::int64_t size : {0, -1, 8193}) try {
      (void)Resizer(24, 24, size);
      FAIL() << size;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::usage);
      EXPECT_NE(std::string(e.what()).find(std::to_string(size)), std::string::npos);
    }
}

}  // namespace
}  // namespace wsp::train

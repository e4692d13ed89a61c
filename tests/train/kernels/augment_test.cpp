// Augmentation on the CPU: pixels.
#include "train/kernels/augment.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cmath>
#include <cstdio>
#include <iostream>
#include <limits>
#include <random>

#include "augment_support.hpp"
#include "io/core/error.hpp"
#include "train/kernels/augment_thread.hpp"
#include "train/kernels/contrastive_reference.hpp"

namespace wsp::train::test {
namespace {

using test::augment;
using test::random_images;

/// The definition in double precision: bilinear with zeros outside, on (hu + 100) / 500.
double naive_pixel(const std::int16_t* hu, std::int64_t size, const Affine& a, std::int64_t ox,
                   std::int64_t oy) {
  const auto x_out = static_cast<double>(ox);
  const auto y_out = static_cast<double>(oy);
  const double x = double{a[0]} * x_out + double{a[1]} * y_out + double{a[2]};
  const double y = double{a[3]} * x_out + double{a[4]} * y_out + double{a[5]};
  double sum = 0;
  for (int dy = 0; dy < 2; ++dy)
    for (int dx = 0; dx < 2; ++dx) {
      const double nx = std::floor(x) + dx;
      const double ny = std::floor(y) + dy;
      if (nx < 0 || ny < 0 || nx >= static_cast<double>(size) || ny >= static_cast<double>(size))
        continue;
      const double weight = (1 - std::abs(x - nx)) * (1 - std::abs(y - ny));
      sum += weight *
             (hu[static_cast<std::int64_t>(ny) * size + static_cast<std::int64_t>(nx)] + 100.0) /
             500.0;
    }
  return sum;
}

/// Affines of every kind that is drawn, and some that are not.
std::vector<Affine> many_affines(std::int64_t count, std::int64_t size, std::uint32_t seed) {
  std::vector<Affine> affines;
  AugmentOptions options;
  options.min_crop_area = 0.3;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto sample = static_cast<std::uint64_t>(i);
    options.max_angle_deg = i % 2 == 0 ? 30 : 180;
    options.max_shift = i % 3 == 0 ? 1 : 0.2;
    affines.push_back(compose_affine(draw_view(options, seed, 0, sample, 0), size));
  }
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  for (std::int64_t i = 0; i < count / 4; ++i) {
    Affine a{};
    for (auto& value : a) value = normal(random) * 2;
    a[2] += static_cast<float>(size) / 2;
    a[5] += static_cast<float>(size) / 2;
    affines.push_back(a);
  }
  return affines;
}

TEST(AugmentCpu, EqualsANaiveLoopInDoubleBordersIncluded) {
  double worst = 0;
  for (const std::int64_t size : {1, 2, 3, 7, 8, 65, 160}) {
    const auto hu = random_images(1, size, static_cast<std::uint32_t>(size));
    for (const Affine& affine : many_affines(60, size, 5)) {
      const auto out = augment(hu, {affine}, 1, size);
      for (std::int64_t y = 0; y < size; ++y)
        for (std::int64_t x = 0; x < size; ++x) {
          const double expected = naive_pixel(hu.data(), size, affine, x, y);
          const double found = out[static_cast<std::size_t>(y * size + x)];
          worst = std::max(worst, std::abs(found - expected));
          ASSERT_NEAR(found, expected, 2e-6) << "size " << size << " pixel " << x << ", " << y;
        }
    }
  }
  RecordProperty("largest_difference", std::to_string(worst));
  std::cout << "largest difference from double precision: " << worst << "\n";
}

TEST(AugmentCpu, EqualsThePerPixelFunctionBitForBit) {
  const std::int64_t size = 160;
  const auto hu = random_images(1, size, 8);
  for (const Affine& affine : many_affines(60, size, 6)) {
    const auto out = augment(hu, {affine}, 1, size);
    const FixedAffine fixed = to_fixed(affine.data());
    for (std::int64_t y = 0; y < size; ++y)
      for (std::int64_t x = 0; x < size; ++x)
        ASSERT_EQ(out[static_cast<std::size_t>(y * size + x)],
                  augment_pixel(hu.data(), size, fixed, x, y));
  }
}

// A card's grid on the host: every thread once, and some beyond the last run.
template <PixelType kType, bool kPacked>
void expect_the_cpu(const std::vector<std::int16_t>& hu, std::int64_t n, std::int64_t size,
                    const std::vector<Affine>& affine, const std::vector<float>& expected) {
  SCOPED_TRACE(testing::Message() << "type " << static_cast<int>(kType) << ", " << size << "^2"
                                  << (kPacked ? ", 16 bytes at once" : ""));
  using Bits = typename Stored<kType>::Bits;
  const auto views = static_cast<std::int64_t>(affine.size()) / n;
  const auto side = static_cast<std::int32_t>(size);
  // Aligned as a card's memory is; not a number where nothing was written.
  const auto count = static_cast<std::size_t>(views * n * size * size);
  std::vector<Packed<Bits, kAugmentRun<kType>>> memory(
      count / static_cast<std::size_t>(kAugmentRun<kType>) + 1);
  Bits* out = memory.data()->value;
  std::fill_n(out, count, Stored<kType>::bits(std::numeric_limits<float>::quiet_NaN()));
  for (std::int64_t image = 0; image < n; ++image)
    for (std::int64_t view = 0; view < views; ++view) {
      const std::int64_t target = view * n + image;
      const FixedAffine map = to_fixed(affine[static_cast<std::size_t>(target)].data());
      for (std::uint32_t run = 0; run < augment_runs<kType>(side) + 9; ++run)
        augment_run<kType, kPacked>(hu.data(), image, side, map, run, out, target);
    }
  for (std::size_t i = 0; i < count; ++i) ASSERT_EQ(out[i], Stored<kType>::bits(expected[i])) << i;
}

template <PixelType kType>
int expect_the_cpu(const std::vector<std::int16_t>& hu, std::int64_t n, std::int64_t size,
                   const std::vector<Affine>& affine, const std::vector<float>& expected) {
  expect_the_cpu<kType, false>(hu, n, size, affine, expected);
  if (!augment_packs<kType>(size, nullptr)) return 0;
  expect_the_cpu<kType, true>(hu, n, size, affine, expected);
  return 1;
}

TEST(AugmentThreads, DrawWhatTheCpuDrawsBitForBit) {
  const std::int64_t n = 3;
  int packed = 0;
  for (const std::int64_t size : {1, 7, 8, 33, 64, 132, 161}) {
    const auto hu = random_images(n, size, 12);
    const auto some = many_affines(2 * n, size, 4);
    const std::vector<Affine> affine(some.begin(), some.begin() + 2 * n);
    const auto expected = augment(hu, affine, n, size);
    packed += expect_the_cpu<PixelType::f32>(hu, n, size, affine, expected);
    packed += expect_the_cpu<PixelType::bf16>(hu, n, size, affine, expected);
    packed += expect_the_cpu<PixelType::f16>(hu, n, size, affine, expected);
  }
  EXPECT_EQ(packed, 7);  // 8 and 64 in all types, 132 in float32
  EXPECT_FALSE(augment_packs<PixelType::f32>(8, reinterpret_cast<const void*>(8)));
}

TEST(AugmentCpu, IntegerAffinesGiveTheSourceExactly) {
  const std::int64_t size = 97;
  auto hu = random_images(1, size, 1);
  hu[0] = std::numeric_limits<std::int16_t>::max();
  hu[1] = std::numeric_limits<std::int16_t>::min();
  const auto last = static_cast<float>(size - 1);
  const std::vector<Affine> affines{
      {1, 0, 0, 0, 1, 0},          // identity
      {-1, 0, last, 0, 1, 0},      // flipped in x
      {-1, 0, last, 0, -1, last},  // and in y
      {0, 1, 0, -1, 0, last},      // a quarter turn
      {1, 0, 5, 0, 1, -11},        // shifted
      {2, 0, -3, 0, 2, -4},        // every second pixel
      {1, 0, 1000, 0, 1, 0},       // all outside
  };
  for (const Affine& a : affines) {
    const auto out = augment(hu, {a}, 1, size);
    for (std::int64_t y = 0; y < size; ++y)
      for (std::int64_t x = 0; x < size; ++x) {
        const auto at = [&](std::size_t row) {
          return static_cast<std::int64_t>(a[3 * row]) * x +
                 static_cast<std::int64_t>(a[3 * row + 1]) * y +
                 static_cast<std::int64_t>(a[3 * row + 2]);
        };
        const bool inside = at(0) >= 0 && at(1) >= 0 && at(0) < size && at(1) < size;
        const float expected =
            inside ? (static_cast<float>(hu[static_cast<std::size_t>(at(1) * size + at(0))]) +
                      100.0F) /
                         500.0F
                   : 0.0F;
        ASSERT_EQ(out[static_cast<std::size_t>(y * size + x)], expected);
      }
  }
}

TEST(AugmentCpu, ThreadsAndCompanyInTheBatchNeverChangeABit) {
  const std::int64_t n = 3;
  const std::int64_t size = 130;
  const auto hu = random_images(n, size, 2);
  const auto affine = many_affines(2 * n, size, 7);
  const std::vector<Affine> two_views(affine.begin(), affine.begin() + 2 * n);
  const auto one = augment(hu, two_views, n, size, 1);
  for (const int threads : {2, 8}) EXPECT_EQ(one, augment(hu, two_views, n, size, threads));

  const std::int64_t pixels = size * size;
  for (std::int64_t view = 0; view < 2; ++view)
    for (std::int64_t image = 0; image < n; ++image) {
      const std::vector<std::int16_t> alone(hu.begin() + image * pixels,
                                            hu.begin() + (image + 1) * pixels);
      const auto part =
          augment(alone, {two_views[static_cast<std::size_t>(view * n + image)]}, 1, size);
      EXPECT_TRUE(std::equal(part.begin(), part.end(), one.begin() + (view * n + image) * pixels));
    }
}

TEST(AugmentCpu, RefusesAffinesWithoutMeaning) {
  const auto hu = random_images(1, 8, 3);
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), 1e10F})
    for (std::size_t i = 0; i < 6; ++i) {
      Affine a{1, 0, 0, 0, 1, 0};
      a[i] = bad;
      EXPECT_THROW(augment(hu, {a}, 1, 8), Error);
    }
  std::vector<float> out(64);
  const Affine identity{1, 0, 0, 0, 1, 0};
  EXPECT_THROW(augment_cpu(hu.data(), &identity, 1, 1, 0, out.data()), Error);
  // The largest that is allowed stays defined.
  EXPECT_EQ(augment(hu, {{1024, -1024, 536870912, -1024, 1024, -536870912}}, 1, 8)[63], 0.0F);
}

}  // namespace
}  // namespace wsp::train::test

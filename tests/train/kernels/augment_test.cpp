#include "train/kernels/augment.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <limits>
#include <numbers>
#include <random>

#include "io/core/error.hpp"
#include "support/test_data.hpp"
#include "train/kernels/augment_thread.hpp"
#include "train/kernels/contrastive_reference.hpp"

namespace wsp::train::test {
namespace {

std::vector<std::int16_t> random_images(std::int64_t n, std::int64_t size, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::uniform_int_distribution<int> hu(-100, 400);
  std::vector<std::int16_t> images(static_cast<std::size_t>(n * size * size));
  for (auto& value : images) value = static_cast<std::int16_t>(hu(random));
  return images;
}

std::vector<float> augment(const std::vector<std::int16_t>& hu, const std::vector<Affine>& affine,
                           std::int64_t n, std::int64_t size, int threads = 2) {
  const auto views = static_cast<std::int64_t>(affine.size()) / n;
  std::vector<float> out(static_cast<std::size_t>(views * n * size * size), -7.0F);
  with_threads(threads, [&] {
    augment_cpu(hu.data(), affine.data(), n, views, size, out.data());
    return 0;
  });
  return out;
}

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

// compose_affine

TEST(ComposeAffine, NothingDrawnIsTheIdentityAndFlipsAreExact) {
  for (const std::int64_t size : {1, 2, 97, 160, 512}) {
    const auto last = static_cast<float>(size - 1);
    EXPECT_EQ(compose_affine({}, size), (Affine{1, 0, 0, 0, 1, 0}));
    ViewParameters flip;
    flip.flip_x = true;
    EXPECT_EQ(compose_affine(flip, size), (Affine{-1, 0, last, 0, 1, 0}));
    flip.flip_y = true;
    EXPECT_EQ(compose_affine(flip, size), (Affine{-1, 0, last, 0, -1, last}));
  }
}

/// Where a source position goes, step by step as the transformations are described: crop resized
/// to the image, translation, counter-clockwise rotation (y points down), flips.
std::array<double, 2> forward(const ViewParameters& v, double size, double x, double y) {
  double px = ((x + 0.5) / size - double{v.crop_x}) / double{v.crop_w};
  double py = ((y + 0.5) / size - double{v.crop_y}) / double{v.crop_h};
  px += v.shift_x;
  py += v.shift_y;
  const double c = std::cos(double{v.angle_rad});
  const double s = std::sin(double{v.angle_rad});
  const double rx = 0.5 + c * (px - 0.5) + s * (py - 0.5);
  const double ry = 0.5 - s * (px - 0.5) + c * (py - 0.5);
  return {(v.flip_x ? 1 - rx : rx) * size - 0.5, (v.flip_y ? 1 - ry : ry) * size - 0.5};
}

TEST(ComposeAffine, InvertsTheStepsOneByOne) {
  const std::int64_t size = 160;
  AugmentOptions options;
  options.min_crop_area = 0.2;
  options.probability = 0.8;
  for (std::uint64_t sample = 0; sample < 500; ++sample) {
    const ViewParameters view = draw_view(options, 4, 1, sample, 1);
    const Affine a = compose_affine(view, size);
    for (const double x : {0.0, 40.0, 159.0})
      for (const double y : {0.0, 100.0, 159.0}) {
        const double sx = double{a[0]} * x + double{a[1]} * y + double{a[2]};
        const double sy = double{a[3]} * x + double{a[4]} * y + double{a[5]};
        const auto back = forward(view, static_cast<double>(size), sx, sy);
        ASSERT_NEAR(back[0], x, 1e-4);
        ASSERT_NEAR(back[1], y, 1e-4);
      }
  }
}

TEST(ComposeAffine, APositiveAngleTurnsTheImageCounterClockwise) {
  const std::int64_t size = 9;
  std::vector<std::int16_t> hu(81, -100);
  hu[4 * 9 + 8] = 400;  // right of the centre
  ViewParameters view;
  view.angle_rad = static_cast<float>(std::numbers::pi / 2);
  const auto out = augment(hu, {compose_affine(view, size)}, 1, size);
  EXPECT_NEAR(out[4], 1, 1e-5);  // above it
}

TEST(ComposeAffine, EqualsGridSampleOfTorch) {
  const char* python = std::getenv("WSP_PYTHON");
  const std::int64_t size = 160;
  const std::int64_t n = 16;
  const std::int64_t views = 2;
  const auto hu = random_images(n, size, 12);
  std::vector<Affine> affine;
  std::vector<double> parameters;
  AugmentOptions options;
  options.probability = 0.7;
  options.min_crop_area = 0.4;
  for (int view = 0; view < views; ++view)
    for (std::uint64_t i = 0; i < static_cast<std::uint64_t>(n); ++i) {
      const auto v = draw_view(options, 21, 0, i, view);
      affine.push_back(compose_affine(v, size));
      for (const double value :
           {static_cast<double>(v.flip_x), static_cast<double>(v.flip_y), double{v.angle_rad},
            double{v.shift_x}, double{v.shift_y}, double{v.crop_x}, double{v.crop_y},
            double{v.crop_w}, double{v.crop_h}})
        parameters.push_back(value);
    }
  const auto out = augment(hu, affine, n, size);

  const wsp::test::TemporaryDirectory directory;
  const auto path = directory.path() / "views.bin";
  std::ofstream file(path, std::ios::binary);
  const auto write = [&](const auto& values) {
    file.write(reinterpret_cast<const char*>(values.data()),
               static_cast<std::streamsize>(values.size() * sizeof(values[0])));
  };
  write(std::array<std::int64_t, 3>{size, n, views});
  write(hu);
  write(parameters);
  write(out);
  file.close();
  const std::string command =
      (python != nullptr ? python : "/usr/bin/python3") +
      std::string(" " WSP_SOURCE_DIR "/tests/train/kernels/grid_sample_reference.py ") +
      path.string();
  const int status = std::system(command.c_str());  // NOLINT: fixed command of a test
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
    GTEST_SKIP() << "python3-torch is absent: the comparison with grid_sample did not run";
  EXPECT_EQ(status, 0);
}

// draw_view

TEST(DrawView, IsAFunctionOfItsKeysAlone) {
  const AugmentOptions options;
  const auto affine = [&](std::uint64_t seed, std::uint64_t epoch, std::uint64_t sample, int view) {
    return compose_affine(draw_view(options, seed, epoch, sample, view), 512);
  };
  int different[4] = {};
  for (std::uint64_t sample = 0; sample < 200; ++sample) {
    EXPECT_EQ(affine(1, 2, sample, 0), affine(1, 2, sample, 0));
    different[0] += affine(1, 2, sample, 0) != affine(1, 2, sample, 1);
    different[1] += affine(1, 2, sample, 0) != affine(1, 3, sample, 0);
    different[2] += affine(1, 2, sample, 0) != affine(2, 2, sample, 0);
    different[3] += affine(1, 2, sample, 0) != affine(1, 2, sample + 1, 0);
  }
  // Two views agree only where neither rotates, shifts or crops and the flips agree: 1 in 256.
  for (const int count : different) EXPECT_GE(count, 190);
}

TEST(DrawView, ValuesOfOneOptionDoNotDependOnAnother) {
  AugmentOptions all;
  AugmentOptions few = all;
  few.flip_x = false;
  few.max_shift = 0;
  few.max_angle_deg = 0;
  for (std::uint64_t sample = 0; sample < 100; ++sample) {
    const auto a = draw_view(all, 1, 0, sample, 0);
    const auto b = draw_view(few, 1, 0, sample, 0);
    EXPECT_EQ(a.flip_y, b.flip_y);
    EXPECT_EQ(a.crop_x, b.crop_x);
    EXPECT_EQ(a.crop_w, b.crop_w);
    EXPECT_FALSE(b.flip_x);
    EXPECT_EQ(b.shift_x, 0);
    EXPECT_EQ(b.angle_rad, 0);
  }
}

/// Mean and extremes of what was drawn.
struct Spread {
  double sum = 0, low = 1e9, high = -1e9;
  int count = 0;
  void add(double value) {
    sum += value;
    low = std::min(low, value);
    high = std::max(high, value);
    ++count;
  }
  [[nodiscard]] double mean() const { return sum / count; }
};

TEST(DrawView, EachIsAppliedHalfOfTheTimeAndFillsItsRange) {
  AugmentOptions options;
  options.min_crop_area = 0.5;
  options.max_crop_area = 0.9;
  const int draws = 20000;
  int flips_x = 0, flips_y = 0, flips_both = 0;
  Spread angle, shift_x, shift_y, area, aspect, free_x, free_y;
  for (int i = 0; i < draws; ++i) {
    const auto v = draw_view(options, 99, 0, static_cast<std::uint64_t>(i), 0);
    flips_x += v.flip_x;
    flips_y += v.flip_y;
    flips_both += v.flip_x && v.flip_y;
    if (v.angle_rad != 0) angle.add(double{v.angle_rad} * 180 / std::numbers::pi);
    if (v.shift_x != 0) shift_x.add(v.shift_x);
    if (v.shift_y != 0) shift_y.add(v.shift_y);
    if (v.crop_w == 1 && v.crop_h == 1) continue;
    area.add(double{v.crop_w} * double{v.crop_h});
    aspect.add(std::log(double{v.crop_w} / double{v.crop_h}));
    if (v.crop_w < 1) free_x.add(double{v.crop_x} / (1 - double{v.crop_w}));
    if (v.crop_h < 1) free_y.add(double{v.crop_y} / (1 - double{v.crop_h}));
    EXPECT_GE(v.crop_x, 0);
    EXPECT_GE(v.crop_y, 0);
    EXPECT_LE(v.crop_x + v.crop_w, 1 + 1e-6);
    EXPECT_LE(v.crop_y + v.crop_h, 1 + 1e-6);
  }
  // Five standard deviations of a binomial of 20,000.
  const double slack = 5 * std::sqrt(0.25 / draws);
  const auto part = [&](int count) { return static_cast<double>(count) / draws; };
  for (const int count : {flips_x, flips_y, angle.count, shift_x.count, shift_y.count, area.count})
    EXPECT_NEAR(part(count), 0.5, slack);
  EXPECT_NEAR(part(flips_both), 0.25, slack);

  const auto fills = [](const Spread& s, double low, double high, double mean) {
    const double width = high - low;
    EXPECT_GE(s.low, low - 1e-6);
    EXPECT_LE(s.high, high + 1e-6);
    EXPECT_LE(s.low, low + 0.01 * width);
    EXPECT_GE(s.high, high - 0.01 * width);
    EXPECT_NEAR(s.mean(), mean, 0.02 * width);
  };
  fills(angle, -30, 30, 0);
  fills(shift_x, -0.2, 0.2, 0);
  fills(shift_y, -0.2, 0.2, 0);
  fills(area, 0.5, 0.9, 0.7);
  fills(aspect, -std::log(4.0 / 3), std::log(4.0 / 3), 0);
  fills(free_x, 0, 1, 0.5);
  fills(free_y, 0, 1, 0.5);
}

TEST(DrawView, ByDefaultACropKeepsSeventyPercentOfTheArea) {
  for (std::uint64_t sample = 0; sample < 1000; ++sample) {
    const auto v = draw_view({}, 1, 0, sample, 0);
    if (v.crop_w == 1 && v.crop_h == 1) continue;
    ASSERT_NEAR(double{v.crop_w} * double{v.crop_h}, 0.7, 1e-6);
  }
}

TEST(DrawView, RefusesOptionsOutOfRange) {
  const auto refuses = [](auto change) {
    AugmentOptions options;
    change(options);
    EXPECT_THROW(draw_view(options, 0, 0, 0, 0), Error);
  };
  refuses([](auto& o) { o.probability = 1.5; });
  refuses([](auto& o) { o.max_angle_deg = -1; });
  refuses([](auto& o) { o.max_shift = 2; });
  refuses([](auto& o) { o.min_crop_area = 0; });
  refuses([](auto& o) { o.min_crop_area = 0.8; });
  refuses([](auto& o) { o.max_crop_aspect = 0.5; });
}

}  // namespace
}  // namespace wsp::train::test

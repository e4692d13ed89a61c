// Which views are drawn, and how their steps become one affine map.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <numbers>

#include "augment_support.hpp"
#include "io/core/error.hpp"
#include "support/test_data.hpp"
#include "train/kernels/augment.hpp"
#include "train/kernels/augment_thread.hpp"
#include "train/kernels/contrastive_reference.hpp"

namespace wsp::train::test {
namespace {

using test::augment;
using test::random_images;

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

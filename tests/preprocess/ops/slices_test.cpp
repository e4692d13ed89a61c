#include "preprocess/ops/slices.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

namespace wsp {
namespace {

Geometry grid(std::int64_t nx, std::int64_t ny, double sx, double sy) {
  Geometry g;
  g.size = {nx, ny, 1};
  g.spacing_mm = {sx, sy, 1};
  return g;
}

TEST(InPlaneFit, LeavesTheWantedMatrixUntouched) {
  const InPlaneFit fit = fit_in_plane(grid(512, 512, 0.7, 0.8), 512);
  EXPECT_TRUE(fit.identity);
  std::vector<std::int16_t> hu(512 * 512);
  std::iota(hu.begin(), hu.end(), static_cast<std::int16_t>(-3000));
  const auto same = resample_slice(hu, fit, {-100, 400});
  for (std::size_t i = 0; i < hu.size(); ++i)
    ASSERT_EQ(same[i], std::clamp<std::int16_t>(hu[i], -100, 400));
}

TEST(InPlaneFit, FillsTheLongerSideInMillimetres) {
  const InPlaneFit fit = fit_in_plane(grid(100, 200, 2, 0.5), 512);  // 200 mm x 100 mm
  EXPECT_EQ(fit.width, 512);
  EXPECT_EQ(fit.height, 256);
  EXPECT_EQ(fit.top, 128);
  EXPECT_DOUBLE_EQ(fit.pixel_mm[0], 200.0 / 512);
}

TEST(Resample, HalvingIsTheMeanOfFour) {
  std::mt19937 random(3);
  std::uniform_int_distribution<int> value(-90, 390);
  std::vector<std::int16_t> hu(64 * 64);
  for (auto& v : hu) v = static_cast<std::int16_t>(value(random));
  const auto half = resample_slice(hu, fit_in_plane(grid(64, 64, 1, 1), 32), {-100, 400});
  for (std::size_t y = 0; y < 32; ++y)
    for (std::size_t x = 0; x < 32; ++x) {
      const double mean = (hu[2 * y * 64 + 2 * x] + hu[2 * y * 64 + 2 * x + 1] +
                           hu[(2 * y + 1) * 64 + 2 * x] + hu[(2 * y + 1) * 64 + 2 * x + 1]) /
                          4.0;
      ASSERT_EQ(half[y * 32 + x], std::nearbyint(mean)) << x << "," << y;
    }
}

TEST(Resample, GrowingReproducesALinearRamp) {
  std::vector<std::int16_t> hu(16 * 16);
  for (std::size_t y = 0; y < 16; ++y)
    for (std::size_t x = 0; x < 16; ++x) hu[y * 16 + x] = static_cast<std::int16_t>(20 * x);
  const auto big = resample_slice(hu, fit_in_plane(grid(16, 16, 1, 1), 64), {-100, 400});
  for (std::size_t x = 2; x < 62; ++x) {
    const double at = (static_cast<double>(x) + 0.5) / 4 - 0.5;
    EXPECT_NEAR(big[30 * 64 + x], 20 * at, 0.51);
  }
}

TEST(Resample, ResamplesBeforeTheWindow) {
  // Two neighbours of -1000 and +1000 average to 0; clipping first would give 150.
  const std::vector<std::int16_t> hu{-1000, 1000, -1000, 1000};
  const auto one = resample_slice(hu, fit_in_plane(grid(2, 2, 1, 1), 1), {-100, 400});
  EXPECT_EQ(one, std::vector<std::int16_t>{0});
}

TEST(Resample, PadsMasksWithZeroAndImagesWithTheWindowsLow) {
  const InPlaneFit fit = fit_in_plane(grid(8, 4, 1, 1), 8);
  const std::vector<std::int16_t> hu(32, 50);
  const std::vector<std::uint8_t> mask(32, 1);
  const auto image = resample_slice(hu, fit, {-100, 400});
  const auto label = resample_slice(mask, fit);
  EXPECT_EQ(image[0], -100);
  EXPECT_EQ(label[0], 0);
  EXPECT_EQ(std::count(image.begin(), image.end(), 50), 32);
  EXPECT_EQ(std::count(label.begin(), label.end(), 1), 32);
}

TEST(Profile, SeparatesBodyLungBoneAndTable) {
  Geometry g = grid(64, 64, 2, 2);
  std::vector<std::int16_t> hu(64 * 64, -1000);
  std::vector<std::uint8_t> liver(64 * 64, 0);
  for (std::size_t y = 10; y < 50; ++y)
    for (std::size_t x = 10; x < 50; ++x) hu[y * 64 + x] = 40;
  for (std::size_t y = 20; y < 30; ++y)
    for (std::size_t x = 20; x < 30; ++x) hu[y * 64 + x] = -850;  // lung
  for (std::size_t x = 40; x < 45; ++x) hu[40 * 64 + x] = 700;    // bone
  for (std::size_t x = 5; x < 60; ++x) hu[60 * 64 + x] = 100;     // table, apart
  for (std::size_t x = 12; x < 16; ++x) {
    hu[45 * 64 + x] = 110;
    liver[45 * 64 + x] = 1;
  }
  const MaskRuns runs({g, liver, {}});
  ValueCounts all, body, inside;
  all.add(hu);
  const SliceProfile p = profile_slice(hu, &runs, 0, g, body, inside);
  HuHistogram histogram;
  histogram.add(all, body, inside);
  EXPECT_DOUBLE_EQ(p.body_mm2, 1600 * 4);
  EXPECT_DOUBLE_EQ(p.lung_mm2, 100 * 4);
  EXPECT_DOUBLE_EQ(p.bone_mm2, 5 * 4);
  EXPECT_DOUBLE_EQ(p.liver_mm2, 4 * 4);
  EXPECT_DOUBLE_EQ(p.liver_mean_hu, 110);
  EXPECT_EQ(std::accumulate(histogram.body.begin(), histogram.body.end(), std::int64_t{0}), 1600);
  EXPECT_EQ(std::accumulate(histogram.air.begin(), histogram.air.end(), std::int64_t{0}),
            64 * 64 - 1600);
  EXPECT_EQ(histogram.liver[HuHistogram::bin(110)], 4);
}

}  // namespace
}  // namespace wsp

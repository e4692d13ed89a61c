#include "preprocess/ops/liver.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>

namespace wsp {
namespace {

LiverMask empty_mask(std::int64_t nx, std::int64_t ny, std::int64_t nz) {
  LiverMask mask;
  mask.geometry.size = {nx, ny, nz};
  mask.voxels.assign(static_cast<std::size_t>(nx * ny * nz), 0);
  return mask;
}

// The larger piece lies where none can be: it gives way, with its probability. Where no piece lies
// well, and where only a crumb does, all stay.
TEST(DropMisplaced, GivesWayToAPieceThatLiesWell) {
  LiverMask mask = empty_mask(10, 10, 12);
  const auto fill = [&](std::int64_t first, std::int64_t last, std::int64_t side) {
    for (std::int64_t z = first; z <= last; ++z)
      for (std::int64_t y = 0; y < side; ++y)
        for (std::int64_t x = 0; x < side; ++x)
          mask.voxels[static_cast<std::size_t>((z * 10 + y) * 10 + x)] = 1;
  };
  fill(0, 3, 9);
  fill(7, 10, 6);
  const LiverMask both = mask;
  std::vector<std::uint8_t> probability(mask.voxels.size(), 200);
  std::vector<std::array<std::int64_t, 2>> asked;
  drop_misplaced(mask, probability, [&](const SliceRange& r) {
    asked.push_back({r.first, r.last});
    return r.first >= 5;
  });
  EXPECT_EQ(asked, (std::vector<std::array<std::int64_t, 2>>{{0, 3}, {7, 10}}));
  EXPECT_EQ(std::count(mask.voxels.begin(), mask.voxels.end(), 1), 4 * 36);
  EXPECT_EQ(std::count(probability.begin(), probability.end(), 0), 4 * 81);
  EXPECT_EQ(mask.flags, (std::vector<Code>{Code::MASK_CLEANED}));

  mask = both;
  drop_misplaced(mask, probability, [](const SliceRange&) { return false; });
  EXPECT_EQ(mask.voxels, both.voxels);
  EXPECT_TRUE(mask.flags.empty());
  std::fill(mask.voxels.begin(), mask.voxels.end(), 0);
  fill(0, 3, 9);
  fill(7, 7, 3);
  const LiverMask crumb = mask;
  drop_misplaced(mask, probability, [](const SliceRange& r) { return r.first >= 5; });
  EXPECT_EQ(mask.voxels, crumb.voxels);
}

TEST(CentralSlices, FollowsTheIntegerRuleForEveryLength) {
  for (std::int64_t length = 1; length <= 400; ++length) {
    const SliceRange kept = central_slices({7, 7 + length - 1}, 700);
    const std::int64_t n = std::max<std::int64_t>(1, 700 * length / 1000);
    EXPECT_EQ(kept.count(), n);
    EXPECT_EQ(kept.first, 7 + (length - n) / 2);
    EXPECT_GE(kept.first, 7);
    EXPECT_LE(kept.last, 7 + length - 1);
  }
  EXPECT_EQ(central_slices({0, 0}, 700).count(), 1);
}

TEST(LiverExtent, NeedsTheMinimumAreaAtBothEnds) {
  const std::vector<double> areas{0, 99.9, 100, 50, 300, 99.99, 0};
  const auto extent = liver_extent(areas, 100);
  ASSERT_TRUE(extent);
  EXPECT_EQ(extent->first, 2);
  EXPECT_EQ(extent->last, 4);
  EXPECT_FALSE(liver_extent({10, 20}, 100));
  EXPECT_FALSE(liver_extent({0, 0}, 0));
}

TEST(Depth, ScalesPositionsAndNotSliceNumbers) {
  EXPECT_DOUBLE_EQ(normalised_depth(-100, -100, 50), 0);
  EXPECT_DOUBLE_EQ(normalised_depth(50, -100, 50), 1);
  EXPECT_DOUBLE_EQ(normalised_depth(-70, -100, 50), 0.2);
  EXPECT_DOUBLE_EQ(normalised_depth(3, 3, 3), 0.5);
}

TEST(CleanMask, KeepsTheLargestComponentAndFillsHolesPerSlice) {
  LiverMask mask = empty_mask(10, 10, 3);
  const auto at = [&](int x, int y, int z) -> std::uint8_t& {
    return mask.voxels[static_cast<std::size_t>((z * 10 + y) * 10 + x)];
  };
  for (int y = 2; y < 7; ++y)
    for (int x = 2; x < 7; ++x) at(x, y, 1) = 1;
  at(4, 4, 1) = 0;  // a hole
  at(7, 7, 2) = 1;  // touches by a corner: 26-connected
  at(0, 0, 0) = 1;  // apart
  EXPECT_EQ(component_sizes(MaskRuns(mask)), (std::vector<std::int64_t>{25, 1}));
  clean_mask(mask);
  EXPECT_EQ(at(4, 4, 1), 1);
  EXPECT_EQ(at(7, 7, 2), 1);
  EXPECT_EQ(at(0, 0, 0), 0);
  EXPECT_EQ(mask.flags, std::vector<Code>{Code::MASK_CLEANED});
  mask.flags.clear();
  clean_mask(mask);
  EXPECT_TRUE(mask.flags.empty());
}

TEST(MaskFlags, NameTruncatedSmallAndFragmentedLivers) {
  LiverMask mask = empty_mask(8, 8, 5);
  for (std::size_t i = 2 * 64; i < 3 * 64; ++i) mask.voxels[i] = 1;
  EXPECT_EQ(mask_flags(mask, 1500), std::vector<Code>{});
  EXPECT_EQ(mask_flags(mask, 499), std::vector<Code>{Code::LIVER_SMALL});
  for (std::size_t i = 4 * 64; i < 4 * 64 + 20; ++i) mask.voxels[i] = 1;
  EXPECT_EQ(mask_flags(mask, 1500),
            (std::vector<Code>{Code::LIVER_TRUNCATED, Code::MASK_GAPS, Code::LIVER_FRAGMENTED}));
  mask.voxels[3 * 64] = 1;  // joins the two
  EXPECT_EQ(mask_flags(mask, 1500), std::vector<Code>{Code::LIVER_TRUNCATED});
  EXPECT_EQ(mask_flags(empty_mask(8, 8, 5), 1500), std::vector<Code>{});
}

TEST(LiverVolume, IntegratesUnevenSpacingLikeTheTrapezoidRule) {
  std::mt19937 random(7);
  std::uniform_real_distribution<double> step(0.5, 8);
  std::uniform_real_distribution<double> area(0, 20000);
  std::vector<double> z{-40};
  std::vector<double> areas{0};
  for (int i = 0; i < 30; ++i) {
    z.push_back(z.back() + step(random));
    areas.push_back(area(random));
  }
  areas.back() = 0;
  double trapezoid = 0;
  for (std::size_t i = 1; i < z.size(); ++i)
    trapezoid += (areas[i] + areas[i - 1]) / 2 * (z[i] - z[i - 1]);
  EXPECT_NEAR(liver_volume_ml(areas, z, 99), trapezoid / 1000, 1e-9 * trapezoid);
  EXPECT_DOUBLE_EQ(liver_volume_ml({200}, {5}, 3), 0.6);
}

}  // namespace
}  // namespace wsp

#include "preprocess/ops/least_surface.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "preprocess/ops/refine.hpp"

namespace wsp {
namespace {

SurfaceGrid cube(std::int64_t n, double mm) {
  SurfaceGrid grid;
  grid.size = {n, n, n};
  for (auto& p : grid.position_mm)
    for (std::int64_t i = 0; i < n; ++i) p.push_back(static_cast<double>(i) * mm);
  return grid;
}

// Evidence of 1 in a ball, -1 outside it.
std::vector<float> ball(const SurfaceGrid& grid, double radius_mm) {
  std::vector<float> evidence;
  const double middle = grid.position_mm[0].back() / 2;
  for (const double z : grid.position_mm[2])
    for (const double y : grid.position_mm[1])
      for (const double x : grid.position_mm[0])
        evidence.push_back(std::hypot(x - middle, y - middle, z - middle) < radius_mm ? 1.0F
                                                                                      : -1.0F);
  return evidence;
}

std::size_t inside(const std::vector<float>& region) {
  return static_cast<std::size_t>(
      std::count_if(region.begin(), region.end(), [](float u) { return u > 0.5F; }));
}

// A ball of radius r pays for its surface of 4 pi r^2 with its volume, 4/3 pi r^3, where the weight
// is under r / 3.
TEST(LeastSurface, ABallStaysWhereItPaysForItsSurface) {
  const SurfaceGrid grid = cube(33, 1);
  const auto evidence = ball(grid, 9);
  const auto region_at = [&](float weight) {
    return inside(least_surface(evidence, std::vector<float>(evidence.size(), weight), grid, 400));
  };
  const std::size_t all = inside(ball(grid, 9));
  EXPECT_GT(region_at(1), all * 9 / 10);
  EXPECT_EQ(region_at(6), 0U);
}

TEST(LeastSurface, WithoutCostTheEvidenceDecidesAlone) {
  const SurfaceGrid grid = cube(12, 2);
  const auto evidence = ball(grid, 8);
  const auto region = least_surface(evidence, std::vector<float>(evidence.size(), 0.0F), grid, 20);
  for (std::size_t i = 0; i < region.size(); ++i) EXPECT_EQ(region[i] > 0.5F, evidence[i] > 0);
}

// A slab between two planes of little cost, its evidence on one half only: the border goes to the
// planes, though the evidence ends before them.
TEST(LeastSurface, TheBorderGoesToWhereItCostsLittle) {
  SurfaceGrid grid = cube(20, 1);
  std::vector<float> evidence(8000, 0.0F), weight(8000, 5.0F);
  for (std::int64_t z = 0; z < 20; ++z)
    for (std::size_t i = 0; i < 400; ++i) {
      const auto at = static_cast<std::size_t>(z) * 400 + i;
      if (z < 4) evidence[at] = 2;
      if (z > 15) evidence[at] = -2;
      if (z == 11) weight[at] = 0.01F;
    }
  const auto region = least_surface(evidence, weight, grid, 600);
  for (std::int64_t z = 0; z < 20; ++z)
    EXPECT_EQ(region[static_cast<std::size_t>(z) * 400 + 210] > 0.5F, z <= 11) << z;
}

// Rows and parts of rows in which the region may not be are passed over. Evidence that nothing
// outweighs says the same, voxel by voxel.
TEST(LeastSurface, WhereTheRegionMayNotBeIsAsGoodAsGone) {
  const SurfaceGrid grid = cube(24, 1.5);
  const auto there = ball(grid, 11);
  auto evidence = ball(grid, 7), strong = evidence;
  for (std::size_t i = 0; i < there.size(); ++i)
    if (there[i] < 0) {
      evidence[i] = -std::numeric_limits<float>::infinity();
      strong[i] = -1e6F;
    } else if (i % 7 == 0) {
      evidence[i] = strong[i] += 1.5F;
    }
  const std::vector<float> weight(there.size(), 2.0F);
  const auto region = least_surface(evidence, weight, grid, 40),
             slow = least_surface(strong, weight, grid, 40);
  EXPECT_GT(inside(region), 100U);
  for (std::size_t i = 0; i < region.size(); ++i) {
    if (there[i] < 0) {
      EXPECT_EQ(region[i], 0.0F) << i;
    }
    EXPECT_NEAR(region[i], slow[i], 1e-4F) << i;
  }
}

// Noise that the surface has to outweigh, as HU are of low dose: where refine_liver() stops, the
// region is the one that many more steps find.
TEST(LeastSurface, ItIsThereAfterTheStepsOfARefinement) {
  const SurfaceGrid grid = cube(44, 2);
  auto evidence = ball(grid, 30);
  std::mt19937 random(5);
  std::normal_distribution<float> noise(0, 3);
  for (float& e : evidence) e = 2 * e + noise(random);
  const std::vector<float> weight(evidence.size(), 15.0F);
  const auto found = least_surface(evidence, weight, grid, Refine().steps),
             best = least_surface(evidence, weight, grid, 4000);
  std::size_t differ = 0;
  for (std::size_t i = 0; i < best.size(); ++i) differ += (found[i] > 0.5F) != (best[i] > 0.5F);
  EXPECT_GT(inside(best), 10000U);
  EXPECT_LT(static_cast<double>(differ), 0.005 * static_cast<double>(inside(best)));
}

TEST(LeastSurface, OneVoxelIsItsOwnEvidence) {
  EXPECT_EQ(least_surface({1}, {1}, cube(1, 1), 5), std::vector<float>{1});
  EXPECT_EQ(least_surface({-1}, {1}, cube(1, 1), 5), std::vector<float>{0});
}

}  // namespace
}  // namespace wsp

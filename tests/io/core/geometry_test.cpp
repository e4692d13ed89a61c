#include "io/core/geometry.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace wsp {
namespace {

// A grid as messy exports have them: any spacing, any rotation, sheared as under gantry tilt.
Geometry random_geometry(std::mt19937& random) {
  std::uniform_real_distribution<double> unit(-1, 1), spacing(0.3, 10), origin(-1500, 1500);
  Geometry g;
  const auto direction = [&] {
    Vec3 v{};
    do v = {unit(random), unit(random), unit(random)};
    while (norm(v) < 0.2);
    return (1 / norm(v)) * v;
  };
  do {
    g.axis = {direction(), direction(), direction()};
  } while (std::abs(dot(g.axis[0], cross(g.axis[1], g.axis[2]))) < 0.2);
  for (std::size_t k = 0; k < 3; ++k) {
    g.spacing_mm[k] = spacing(random);
    g.origin_mm[k] = origin(random);
  }
  g.size = {512, 512, 100};
  return g;
}

TEST(Geometry, IndexIsTheInverseOfWorld) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  std::uniform_real_distribution<double> voxel(-100, 600);
  for (int trial = 0; trial < 2000; ++trial) {
    const Geometry g = random_geometry(random);
    const Vec3 index{voxel(random), voxel(random), voxel(random)};
    EXPECT_LT(norm(g.index(g.world(index)) - index), 1e-6);
    const Vec3 place{voxel(random), voxel(random), voxel(random)};
    EXPECT_LT(norm(g.world(g.index(place)) - place), 1e-6);
  }
}

TEST(Geometry, WorldFollowsTheDicomFormula) {
  // PS3.3 C.7.6.2.1.1, computed by hand: a grid turned by 90 degrees about z.
  Geometry g;
  g.spacing_mm = {0.5, 2, 3};
  g.origin_mm = {10, 20, 30};
  g.axis = {Vec3{0, 1, 0}, Vec3{-1, 0, 0}, Vec3{0, 0, 1}};
  const Vec3 p = g.world({4, 5, 6});
  EXPECT_DOUBLE_EQ(p[0], 10 - 5 * 2);
  EXPECT_DOUBLE_EQ(p[1], 20 + 4 * 0.5);
  EXPECT_DOUBLE_EQ(p[2], 30 + 6 * 3);
  EXPECT_EQ(g.world({0, 0, 0}), g.origin_mm);
}

TEST(Geometry, CountsVoxelsBeyond32Bits) {
  Geometry g;
  g.size = {65536, 65536, 4};
  EXPECT_EQ(g.slice_voxels(), std::int64_t{1} << 32);
  EXPECT_EQ(g.voxels(), std::int64_t{1} << 34);
}

TEST(Geometry, VectorsObeyTheirLaws) {
  const Vec3 a{1, 2, 3}, b{-4, 5, 0.5};
  EXPECT_EQ(cross({1, 0, 0}, {0, 1, 0}), (Vec3{0, 0, 1}));
  EXPECT_NEAR(dot(cross(a, b), a), 0, 1e-12);
  EXPECT_NEAR(dot(cross(a, b), b), 0, 1e-12);
  EXPECT_DOUBLE_EQ(norm({3, 4, 12}), 13);
  EXPECT_EQ(2 * a + (b - a), a + b);
}

TEST(SameGrid, SeesEveryDifferenceThatMovesAVoxel) {
  Geometry a;
  a.size = {512, 512, 100};
  a.spacing_mm = {0.7, 0.7, 5};
  EXPECT_TRUE(same_grid(a, a));
  const auto differs = [&](auto change) {
    Geometry b = a;
    change(b);
    return !same_grid(a, b) && !same_grid(b, a);
  };
  EXPECT_TRUE(differs([](Geometry& b) { b.size[2] = 99; }));
  for (std::size_t k = 0; k < 3; ++k) {
    EXPECT_TRUE(differs([&](Geometry& b) { b.origin_mm[k] += 0.02; })) << k;
    EXPECT_FALSE(differs([&](Geometry& b) { b.origin_mm[k] += 0.005; })) << k;
    // A spacing that is off by 1 part in 1000 moves the far end by many voxels' worth of error.
    EXPECT_TRUE(differs([&](Geometry& b) { b.spacing_mm[k] *= 1.001; })) << k;
    EXPECT_TRUE(differs([&](Geometry& b) { b.axis[k] = -1 * b.axis[k]; })) << k;
  }
}

}  // namespace
}  // namespace wsp

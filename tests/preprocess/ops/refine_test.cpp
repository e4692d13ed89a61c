#include "preprocess/ops/refine.hpp"

#include <gtest/gtest.h>
#include <tbb/global_control.h>

#include <cmath>
#include <limits>
#include <random>

#include "preprocess/ops/distance.hpp"

namespace wsp {
namespace {

// Against an explicit double loop.
template <class Real>
void compare_with_loops(std::uint64_t seed) {
  std::mt19937_64 random(seed);
  const std::array<std::int64_t, 3> size{19, 23, 11};
  std::array<std::vector<double>, 3> position;
  for (std::size_t k = 0; k < 3; ++k) {
    double at = -5;
    for (std::int64_t i = 0; i < size[k]; ++i)
      position[k].push_back(at += k == 2 ? 0.5 + static_cast<double>(random() % 7) : 0.75);
  }
  std::vector<Real> field(static_cast<std::size_t>(size[0] * size[1] * size[2]));
  for (Real& v : field) v = random() % 97 == 0 ? Real{0} : std::numeric_limits<Real>::infinity();
  const auto before = field;
  squared_distances(std::span(field), position);
  const auto nx = static_cast<std::size_t>(size[0]), ny = static_cast<std::size_t>(size[1]);
  const auto place = [&](std::size_t i) {
    return std::array<double, 3>{position[0][i % nx], position[1][i / nx % ny],
                                 position[2][i / (nx * ny)]};
  };
  for (std::size_t i = 0; i < field.size(); ++i) {
    double least = std::numeric_limits<double>::infinity();
    const auto p = place(i);
    for (std::size_t j = 0; j < field.size(); ++j) {
      if (before[j] != Real{0}) continue;
      const auto q = place(j);
      least = std::min(least, (p[0] - q[0]) * (p[0] - q[0]) + (p[1] - q[1]) * (p[1] - q[1]) +
                                  (p[2] - q[2]) * (p[2] - q[2]));
    }
    ASSERT_NEAR(static_cast<double>(field[i]), least, 1e-4) << i;
  }
}

TEST(Distance, EqualsTheDoubleLoop) {
  compare_with_loops<float>(1);
  compare_with_loops<double>(2);
}

TEST(Distance, NoSourceIsInfinitelyFar) {
  std::vector<float> field(8, std::numeric_limits<float>::infinity());
  squared_distances(std::span(field), {{{0, 1}, {0, 1}, {0, 1}}});
  for (const float v : field) EXPECT_TRUE(std::isinf(v));
}

// A liver of 100 HU in fat, a tumour of 20 in its middle, a stomach of 45 that it touches, and
// beside it a spleen of the same HU as the liver, 12 mm off.
struct Scene {
  Volume volume;
  LiverMask truth;

  explicit Scene(double dz = 3) {
    Geometry& g = volume.geometry;
    g.size = {128, 96, static_cast<std::int64_t>(150 / dz)};
    g.spacing_mm = {1.5, 1.5, dz};
    truth.geometry = g;
    std::mt19937 random(7);
    std::normal_distribution<double> noise(0, 20);
    for (std::int64_t z = 0; z < g.size[2]; ++z) {
      volume.z_mm.push_back(static_cast<double>(z) * dz);
      for (std::int64_t y = 0; y < g.size[1]; ++y)
        for (std::int64_t x = 0; x < g.size[0]; ++x) {
          const double px = 1.5 * static_cast<double>(x), py = 1.5 * static_cast<double>(y),
                       pz = static_cast<double>(z) * dz;
          const auto within = [&](double cx, double cy, double cz, double rx, double ry,
                                  double rz) {
            return std::pow((px - cx) / rx, 2) + std::pow((py - cy) / ry, 2) +
                       std::pow((pz - cz) / rz, 2) <
                   1;
          };
          const bool liver = within(70, 70, 75, 50, 40, 50);
          double hu = -100;
          if (within(135, 70, 75, 20, 30, 40)) hu = 45;
          if (within(172, 70, 75, 15, 20, 30)) hu = 100;
          if (liver) hu = within(70, 70, 75, 14, 14, 14) ? 20 : 100;
          volume.hu.push_back(static_cast<std::int16_t>(std::lround(hu + noise(random))));
          truth.voxels.push_back(liver ? 1 : 0);
        }
    }
  }
  [[nodiscard]] LiverMask moved(std::int64_t dx, std::int64_t dz) const {
    LiverMask mask = truth;
    const auto [nx, ny, nz] = truth.geometry.size;
    for (std::int64_t z = 0; z < nz; ++z)
      for (std::int64_t y = 0; y < ny; ++y)
        for (std::int64_t x = 0; x < nx; ++x) {
          const std::int64_t fx = x - dx, fz = z - dz;
          mask.voxels[static_cast<std::size_t>((z * ny + y) * nx + x)] =
              fx >= 0 && fx < nx && fz >= 0 && fz < nz
                  ? truth.voxels[static_cast<std::size_t>((fz * ny + y) * nx + fx)]
                  : 0;
        }
    return mask;
  }
};

double dice(const LiverMask& a, const LiverMask& b) {
  double both = 0, sum = 0;
  for (std::size_t i = 0; i < a.voxels.size(); ++i) {
    both += a.voxels[i] & b.voxels[i];
    sum += a.voxels[i] + b.voxels[i];
  }
  return 2 * both / sum;
}

class RefineAt : public testing::TestWithParam<double> {};

TEST_P(RefineAt, TheBorderGoesToWhereTheHuSay) {
  const Scene scene(GetParam());
  LiverMask mask = scene.moved(7, static_cast<std::int64_t>(9 / GetParam()));  // 10.5 and 9 mm off
  const double before = dice(mask, scene.truth);
  ASSERT_LT(before, 0.88);
  const LiverMask given = mask;
  const RefinedLiver found = refine_liver(scene.volume, mask);
  EXPECT_GT(dice(mask, scene.truth), 0.95);
  EXPECT_NEAR(found.mode_hu, 100, 4);
  EXPECT_NEAR(found.agreement, dice(mask, given), 1e-12);
  // The tumour stays in.
  const auto& g = scene.volume.geometry;
  const auto middle =
      static_cast<std::size_t>((std::lround(75 / GetParam()) * g.size[1] + 47) * g.size[0] + 47);
  EXPECT_EQ(mask.voxels[middle], 1);
  // The spleen, of the same HU, stays out.
  const auto spleen =
      static_cast<std::size_t>((std::lround(75 / GetParam()) * g.size[1] + 47) * g.size[0] + 118);
  EXPECT_EQ(mask.voxels[spleen], 0);
}
INSTANTIATE_TEST_SUITE_P(Slices, RefineAt, testing::Values(1.0, 3.0, 8.0));

TEST(RefineLiver, ASoundMaskStays) {
  const Scene scene;
  LiverMask mask = scene.truth;
  EXPECT_GT(refine_liver(scene.volume, mask).agreement, 0.96);
  EXPECT_GT(dice(mask, scene.truth), 0.96);
}

// The liver in fat, and in a belly of its own HU: there its histogram says nothing.
TEST(RefineLiver, TheOverlapTellsHowWellTheHuTellItApart) {
  Scene scene;
  LiverMask mask = scene.truth;
  const double apart = refine_liver(scene.volume, mask).overlap;
  EXPECT_LT(apart, 0.15);
  for (std::int16_t& hu : scene.volume.hu)
    if (hu < 0) hu = static_cast<std::int16_t>(hu + 200);
  mask = scene.truth;
  const double alike = refine_liver(scene.volume, mask).overlap;
  EXPECT_GT(alike, 0.6);
  EXPECT_LE(alike, 1);
}

// Clips and lipiodol are clipped at 400 HU; however many, they are not the liver's value.
TEST(RefineLiver, TheCommonestValueIsNoneThatWasClipped) {
  Scene scene;
  const Geometry& g = scene.volume.geometry;
  for (std::size_t i = 0; i < scene.volume.hu.size(); ++i)
    if (i / static_cast<std::size_t>(g.size[0]) % 3 != 0 && scene.truth.voxels[i] != 0)
      scene.volume.hu[i] = 1500;
  LiverMask mask = scene.truth;
  EXPECT_NEAR(refine_liver(scene.volume, mask).mode_hu, 100, 6);
  for (std::size_t i = 0; i < scene.volume.hu.size(); ++i)
    if (scene.truth.voxels[i] != 0) scene.volume.hu[i] = 1500;
  mask = scene.truth;
  EXPECT_GT(refine_liver(scene.volume, mask).mode_hu, 380);
}

TEST(RefineLiver, WithoutACoreNothingIsDone) {
  const Scene scene;
  LiverMask mask = scene.truth;
  std::fill(mask.voxels.begin(), mask.voxels.end(), 0);
  EXPECT_EQ(refine_liver(scene.volume, mask).agreement, 1);
  mask.voxels[(25 * 96 + 40) * 128 + 40] = 1;
  const LiverMask before = mask;
  EXPECT_EQ(refine_liver(scene.volume, mask).agreement, 1);
  EXPECT_EQ(mask.voxels, before.voxels);
}

TEST(RefineLiver, ThreadsDoNotMatter) {
  const Scene scene;
  LiverMask one = scene.moved(5, 2), many = one;
  {
    const tbb::global_control control(tbb::global_control::max_allowed_parallelism, 1);
    (void)refine_liver(scene.volume, one);
  }
  const tbb::global_control control(tbb::global_control::max_allowed_parallelism, 5);
  (void)refine_liver(scene.volume, many);
  EXPECT_EQ(one.voxels, many.voxels);
}

}  // namespace
}  // namespace wsp

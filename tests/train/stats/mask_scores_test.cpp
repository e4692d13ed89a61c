#include "train/stats/mask_scores.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "io/core/atomic_file.hpp"
#include "io/core/counter_rng.hpp"
#include "io/core/error.hpp"
#include "support/test_data.hpp"

namespace wsp::train {
namespace {

using Mask = std::vector<std::uint8_t>;

VoxelGrid grid_of(std::int64_t x, std::int64_t y, std::int64_t z, double dx, double dy, double dz) {
  VoxelGrid grid{{x, y, z}, {dx, dy}, {}};
  for (std::int64_t k = 0; k < z; ++k) grid.z_mm.push_back(-7 + dz * static_cast<double>(k));
  return grid;
}

/// An ellipsoid with a ragged surface.
Mask blob(const VoxelGrid& grid, double cx, double cy, double cz, double r, std::uint64_t seed) {
  Mask mask;
  CounterRng random(seed, {1});
  for (std::int64_t z = 0; z < grid.size[2]; ++z)
    for (std::int64_t y = 0; y < grid.size[1]; ++y)
      for (std::int64_t x = 0; x < grid.size[0]; ++x) {
        const double dx = static_cast<double>(x) - cx, dy = static_cast<double>(y) - cy,
                     dz = static_cast<double>(z) - cz;
        mask.push_back(std::sqrt(dx * dx + dy * dy + 2 * dz * dz) + random.uniform(-1, 1) < r);
      }
  return mask;
}

struct Point {
  double x, y, z;
};

std::vector<Point> surface_by_definition(const Mask& mask, const VoxelGrid& g) {
  const auto at = [&](std::int64_t x, std::int64_t y, std::int64_t z) {
    return x >= 0 && y >= 0 && z >= 0 && x < g.size[0] && y < g.size[1] && z < g.size[2] &&
           mask[static_cast<std::size_t>((z * g.size[1] + y) * g.size[0] + x)] != 0;
  };
  std::vector<Point> points;
  for (std::int64_t z = 0; z < g.size[2]; ++z)
    for (std::int64_t y = 0; y < g.size[1]; ++y)
      for (std::int64_t x = 0; x < g.size[0]; ++x) {
        const int inside = at(x - 1, y, z) + at(x + 1, y, z) + at(x, y - 1, z) + at(x, y + 1, z) +
                           at(x, y, z - 1) + at(x, y, z + 1);
        if (at(x, y, z) && inside < 6)
          points.push_back({static_cast<double>(x) * g.spacing_mm[0],
                            static_cast<double>(y) * g.spacing_mm[1],
                            g.z_mm[static_cast<std::size_t>(z)]});
      }
  return points;
}

std::vector<double> nearest_by_definition(const std::vector<Point>& from,
                                          const std::vector<Point>& to) {
  std::vector<double> distances;
  for (const Point& p : from) {
    double best = 1e300;
    for (const Point& q : to) best = std::min(best, std::hypot(p.x - q.x, p.y - q.y, p.z - q.z));
    distances.push_back(best);
  }
  return distances;
}

TEST(SurfaceDistances, EqualAnExplicitSearchAlsoWithUnevenSlices) {
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    VoxelGrid grid = grid_of(15, 12, 9, 0.7, 1.3, 3);
    CounterRng random(seed, {2});
    for (double& z : grid.z_mm) z += random.uniform(-1, 1);
    const Mask a = blob(grid, 7, 6, 4, 4.5, seed), b = blob(grid, 8, 5, 3.5, 4, seed + 100);
    const auto sa = surface_by_definition(a, grid), sb = surface_by_definition(b, grid);
    auto all = nearest_by_definition(sa, sb);
    const auto back = nearest_by_definition(sb, sa);
    all.insert(all.end(), back.begin(), back.end());
    std::sort(all.begin(), all.end());
    double sum = 0;
    for (const double d : all) sum += d;
    const double at = 0.95 * static_cast<double>(all.size() - 1);
    const auto low = static_cast<std::size_t>(at);
    const double hd95 = all[low] + (at - std::floor(at)) * (all[low + 1] - all[low]);
    const SurfaceDistances found = surface_distances(a, b, grid);
    EXPECT_NEAR(found.assd_mm, sum / static_cast<double>(all.size()), 1e-9) << "seed " << seed;
    EXPECT_NEAR(found.hd95_mm, hd95, 1e-9) << "seed " << seed;
  }
}

TEST(SurfaceDistances, EqualScipysDistanceTransform) {
  const wsp::test::TemporaryDirectory work;
  const VoxelGrid grid = grid_of(60, 50, 24, 0.8, 0.9, 2.5);
  const Mask a = blob(grid, 30, 25, 12, 14, 5), b = blob(grid, 33, 24, 11, 15.5, 6);
  const OverlapScores overlap = overlap_scores(a, b, grid);
  const SurfaceDistances surface = surface_distances(a, b, grid);
  write_file_atomic(work.path() / "a", std::span<const std::uint8_t>(a));
  write_file_atomic(work.path() / "b", std::span<const std::uint8_t>(b));
  const nlohmann::json found = {
      {"size", {24, 50, 60}},         {"spacing_mm", {2.5, 0.9, 0.8}},
      {"dice", overlap.dice},         {"iou", overlap.iou},
      {"truth_ml", overlap.truth_ml}, {"predicted_ml", overlap.predicted_ml},
      {"hd95_mm", surface.hd95_mm},   {"assd_mm", surface.assd_mm}};
  write_file_atomic(work.path() / "found.json", found.dump());
  const char* python = std::getenv("WSP_PYTHON");
  const std::string command = std::string(python != nullptr ? python : "python3") + " " +
                              WSP_SOURCE_DIR "/tests/train/stats/mask_scores_reference.py " +
                              work.path().string();
  const int status = std::system(command.c_str());
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77) GTEST_SKIP() << "scipy is absent";
  EXPECT_EQ(status, 0);
}

TEST(SurfaceDistances, OfEmptyAndEqualMasks) {
  const VoxelGrid grid = grid_of(6, 6, 4, 1, 1, 2);
  const Mask none(144, 0), full(144, 1);
  Mask one(144, 0), other(144, 0);
  one[0] = other[143] = 1;
  EXPECT_EQ(surface_distances(none, none, grid).assd_mm, 0);
  EXPECT_TRUE(std::isnan(surface_distances(full, none, grid).hd95_mm));
  EXPECT_TRUE(std::isnan(surface_distances(none, full, grid).assd_mm));
  EXPECT_EQ(surface_distances(full, full, grid).hd95_mm, 0);
  EXPECT_NEAR(surface_distances(one, other, grid).assd_mm, std::sqrt(25 + 25 + 36), 1e-12);
  EXPECT_THROW((void)surface_distances(full, Mask(3), grid), Error);
  VoxelGrid turned = grid;
  std::reverse(turned.z_mm.begin(), turned.z_mm.end());
  EXPECT_THROW((void)surface_distances(full, full, turned), Error);
}

TEST(OverlapScores, CountVoxelsAndWeighUnevenSlices) {
  VoxelGrid grid = grid_of(2, 1, 3, 2, 5, 1);
  grid.z_mm = {0, 1, 4};
  const Mask truth = {1, 1, 1, 0, 0, 0}, predicted = {1, 0, 1, 0, 1, 0};
  const OverlapScores s = overlap_scores(truth, predicted, grid);
  EXPECT_DOUBLE_EQ(s.dice, 2.0 * 2 / 6);
  EXPECT_DOUBLE_EQ(s.iou, 2.0 / 4);
  // Heights 1, 2 and 3 mm, 10 mm2 a pixel.
  EXPECT_DOUBLE_EQ(s.truth_ml, (2 * 1 + 1 * 2) * 10 / 1000.0);
  EXPECT_DOUBLE_EQ(s.predicted_ml, (1 * 1 + 1 * 2 + 1 * 3) * 10 / 1000.0);
  EXPECT_DOUBLE_EQ(s.volume_error(), 0.5);
  const Mask none(6, 0);
  EXPECT_EQ(overlap_scores(none, none, grid).dice, 1);
  EXPECT_EQ(overlap_scores(none, predicted, grid).dice, 0);
}

TEST(BootstrapMean, DrawsWholeSubjects) {
  std::vector<double> values;
  std::vector<std::string> own, shared;
  CounterRng random(4, {3});
  for (int i = 0; i < 100; ++i) {
    values.push_back(static_cast<double>(i / 25) + 0.01 * random.normal());
    own.push_back(std::to_string(i));
    shared.push_back(std::to_string(i / 25));
  }
  const BootstrapMean independent = bootstrap_mean(values, own, 2000, 1);
  EXPECT_NEAR(independent.mean, 1.5, 0.01);
  // The standard error of 100 independent values is sqrt(1.25) / 10; 1.96 of it to either side.
  EXPECT_NEAR(independent.high - independent.low, 2 * 1.96 * std::sqrt(1.25) / 10, 0.05);
  // Of four subjects it is sqrt(1.25) / 2, whatever the number of their volumes.
  const BootstrapMean grouped = bootstrap_mean(values, shared, 2000, 1);
  EXPECT_GT(grouped.high - grouped.low, 1.5);
  EXPECT_EQ(bootstrap_mean(values, own, 2000, 1).low, independent.low);
  EXPECT_NE(bootstrap_mean(values, own, 2000, 2).low, independent.low);
  values[3] = std::nan("");
  EXPECT_EQ(bootstrap_mean(values, own, 10, 1).values, 99);
  EXPECT_TRUE(std::isnan(bootstrap_mean(std::vector<double>{}, {}, 10, 1).mean));
}

}  // namespace
}  // namespace wsp::train

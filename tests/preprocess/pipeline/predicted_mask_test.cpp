// What is said of a predicted mask, and that the cache says the same.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <functional>

#include "preprocess/ops/liver.hpp"
#include "preprocess/pipeline/liver_source.hpp"
#include "preprocess/pipeline/mask_cache.hpp"
#include "support/test_data.hpp"

namespace wsp {
namespace {

using Words = std::vector<std::string>;

// A ball of liver of 60 mm radius, 905 ml, in a body of 300 mm whose scan ends in the dome. Its
// middle lies `left_mm` to the left of the body's; its middle slice lacks the part `notch` of its
// width.
struct Body {
  Volume volume;
  LiverMask mask;

  explicit Body(double left_mm, double notch = 0) {
    Geometry& g = volume.geometry;
    g.size = {101, 60, 25};
    g.spacing_mm = {3, 3, 5};
    mask.geometry = g;
    for (std::int64_t z = 0; z < g.size[2]; ++z) {
      volume.z_mm.push_back(static_cast<double>(z) * 5);
      for (std::int64_t y = 0; y < g.size[1]; ++y)
        for (std::int64_t x = 0; x < g.size[0]; ++x) {
          const double px = 3 * static_cast<double>(x) - 150 - left_mm,
                       py = 3 * static_cast<double>(y) - 75, pz = 5 * static_cast<double>(z) - 65;
          const bool cut = z == 13 && px < 60 * (2 * notch - 1);
          const bool liver = px * px + py * py + pz * pz < 3600 && !cut;
          volume.hu.push_back(liver ? 100 : 0);
          mask.voxels.push_back(liver ? 1 : 0);
        }
    }
  }
  [[nodiscard]] Words doubts(double agreement, double overlap, double stability = 1,
                             double share = 1) const {
    const auto areas = liver_areas_mm2(mask);
    return mask_doubts(volume, mask, 0.95, RefinedLiver{100, 8, agreement, overlap, stability},
                       areas, share * liver_volume_ml(areas, volume.z_mm, 5));
  }
};

// What refinement changed counts by how well the HU tell the liver apart, and by whether it comes
// to the same from a bold mask and from a sure one: docs/LIVER.md.
TEST(MaskDoubts, HuThatTellTheLiverApartMayMoveItsBorder) {
  const Body body(-40);
  EXPECT_EQ(body.doubts(0.89, 0.1, 0.97), Words{});
  EXPECT_EQ(body.doubts(0.89, 0.1, 0.90), Words{"agreement"});
  EXPECT_EQ(body.doubts(0.87, 0.1, 0.97), Words{"agreement"});
  EXPECT_EQ(body.doubts(0.92, 0.3, 0.98), Words{});
  EXPECT_EQ(body.doubts(0.92, 0.35, 0.97), Words{"agreement"});
}

TEST(MaskDoubts, NoLiverIsSoFarToTheLeftSoLargeSoSmallOrSoJagged) {
  EXPECT_EQ(Body(20).doubts(1, 0), Words{});
  EXPECT_EQ(Body(30).doubts(1, 0), Words{"side"});
  const Body body(-40);
  EXPECT_EQ(body.doubts(1, 0, 1, 8.5), Words{});  // 7.7 l
  EXPECT_EQ(body.doubts(1, 0, 1, 9), Words{"volume"});
  EXPECT_EQ(body.doubts(1, 0, 1, 0.05), Words{"volume"});
  EXPECT_EQ(Body(-40, 0.5).doubts(1, 0), Words{});
  EXPECT_EQ(Body(-40, 0.8).doubts(1, 0), Words{"shape"});
}

// The model is sure of a ball of 50 mm, gives 0.6 to one of 60 and 0.4 to one of 70.
RefinedLiver refined_of(Body body) {
  const Geometry& g = body.volume.geometry;
  Segmentation prediction;
  prediction.mask = body.mask;
  for (std::int64_t z = 0; z < g.size[2]; ++z)
    for (std::int64_t y = 0; y < g.size[1]; ++y)
      for (std::int64_t x = 0; x < g.size[0]; ++x) {
        const double r =
            std::hypot(3.0 * static_cast<double>(x) - 110, 3.0 * static_cast<double>(y) - 75,
                       5.0 * static_cast<double>(z) - 65);
        prediction.probability.push_back(r < 50 ? 255 : r < 60 ? 153 : r < 70 ? 102 : 0);
      }
  return clean_prediction(std::move(prediction), body.volume, true).refined.value();
}

TEST(CleanPrediction, ItIsStableWhereTheHuSayTheSameToABoldAndToASureMask) {
  Body body(-40);
  EXPECT_GT(refined_of(body).stability, 0.97);
  std::fill(body.volume.hu.begin(), body.volume.hu.end(), 100);
  const RefinedLiver blind = refined_of(body);
  EXPECT_GT(blind.overlap, 0.9);
  EXPECT_LT(blind.stability, 0.8);
}

// What a voxel of a scene is, and whether the network finds it.
struct Point {
  bool liver, found;
  std::int16_t hu;
};

struct Scene {
  Volume volume;
  LiverMask truth;
  Segmentation prediction;

  // `point` is asked for each voxel's place in mm from `origin`.
  Scene(std::array<std::int64_t, 3> size, std::array<double, 3> origin,
        const std::function<Point(double x, double y, double z)>& point) {
    Geometry& g = volume.geometry;
    g.size = size;
    g.spacing_mm = {3, 3, 5};
    prediction.mask.geometry = truth.geometry = g;
    for (std::int64_t z = 0; z < size[2]; ++z) {
      volume.z_mm.push_back(static_cast<double>(z) * 5);
      for (std::int64_t y = 0; y < size[1]; ++y)
        for (std::int64_t x = 0; x < size[0]; ++x) {
          const Point here =
              point(3 * static_cast<double>(x) - origin[0], 3 * static_cast<double>(y) - origin[1],
                    volume.z_mm.back() - origin[2]);
          volume.hu.push_back(here.hu);
          truth.voxels.push_back(here.liver ? 1 : 0);
          prediction.mask.voxels.push_back(here.liver && here.found ? 1 : 0);
        }
    }
  }
};

SliceRange extent_of(const LiverMask& mask) {
  return liver_extent(liver_areas_mm2(mask), 100).value();
}

// A liver that rises into the lung by 90 mm, of which the network misses the upper 40.
TEST(CleanPrediction, WhatRefinementDoesNotReachOfTheDomeIsFound) {
  Scene scene({101, 60, 30}, {150, 88, 30}, [](double x, double y, double z) -> Point {
    const bool liver = std::hypot((x + 70) / 60, y / 60, z / 90) < 1 && x > -140;
    const bool wall = std::hypot(x / 148, y / 86) > 0.95 || std::abs(x) < 8;
    const int hu = std::hypot(x / 148, y / 86) > 1 ? -1000 : liver ? 100 : wall ? 40 : -850;
    return {liver, z < 50, static_cast<std::int16_t>(hu)};
  });
  LiverMask refined = scene.prediction.mask;
  refine_liver(scene.volume, refined);
  EXPECT_LT(extent_of(refined).last, extent_of(scene.truth).last);
  const LiverMask found = clean_prediction(std::move(scene.prediction), scene.volume, true).mask;
  EXPECT_EQ(extent_of(found).last, extent_of(scene.truth).last);
  EXPECT_GT(dice_of(found.voxels, scene.truth.voxels), 0.98);
}

// A liver that tapers downwards in fat, of whose lower 60 mm the network finds nothing.
TEST(CleanPrediction, WhatRefinementDoesNotReachOfTheTipIsFound) {
  Scene scene({80, 60, 40}, {120, 90, 20}, [](double x, double y, double z) -> Point {
    const bool liver = z >= 0 && z < 110 && std::hypot(x + 40, y) < 15 + std::max(0.0, z - 60);
    const int hu = liver ? 100 : z > 115 ? -850 : -90;  // the lungs above
    return {liver, z >= 60, static_cast<std::int16_t>(hu)};
  });
  LiverMask refined = scene.prediction.mask;
  refine_liver(scene.volume, refined);
  EXPECT_GT(extent_of(refined).first, extent_of(scene.truth).first);
  const LiverMask found = clean_prediction(std::move(scene.prediction), scene.volume, true).mask;
  EXPECT_EQ(extent_of(found).first, extent_of(scene.truth).first);
  EXPECT_GT(dice_of(found.voxels, scene.truth.voxels), 0.97);
}

// The scan goes on above the liver, there with lung of `lung_hu` in a third of the image; the
// field of view cuts the body at both sides, or air is about it.
Words doubts_below(std::int16_t lung_hu, bool is_cut) {
  Body body(-40);
  Geometry& g = body.volume.geometry;
  const auto [nx, ny, nz] = g.size;
  for (std::int64_t z = nz; z < nz + 10; ++z) {
    body.volume.z_mm.push_back(static_cast<double>(z) * 5);
    body.volume.hu.insert(body.volume.hu.end(), static_cast<std::size_t>(nx * ny), 0);
    body.mask.voxels.insert(body.mask.voxels.end(), static_cast<std::size_t>(nx * ny), 0);
  }
  g.size[2] = body.mask.geometry.size[2] = nz + 10;
  for (std::int64_t z = 0; z < g.size[2]; ++z)
    for (std::int64_t y = 0; y < ny; ++y)
      for (std::int64_t x = 0; x < nx; ++x) {
        std::int16_t& hu = body.volume.hu[static_cast<std::size_t>((z * ny + y) * nx + x)];
        if (z > nz && y >= 10 && y < 50 && (x < 20 || x >= nx - 20)) hu = lung_hu;
        if (!is_cut && (x < 2 || x >= nx - 2 || y < 2 || y >= ny - 2)) hu = -1000;
      }
  return body.doubts(1, 0);
}

TEST(MaskDoubts, TheLungsLieAboveTheLiver) {
  EXPECT_EQ(doubts_below(0, false), Words{"place"});
  EXPECT_EQ(doubts_below(0, true), Words{"place"});
  EXPECT_EQ(doubts_below(-850, true), Words{});
  EXPECT_EQ(doubts_below(-1000, true), Words{"place"});  // air about a body: no lung
}

TEST(MaskCacheFile, KeepsWhatTheDoubtsGoBy) {
  const test::TemporaryDirectory work;
  MaskCache cache(work.path() / "cache");
  PredictedMask made;
  made.mask = Body(-40).mask;
  made.components = 3;
  made.confidence = 0.875;
  cache.store("plain", made);
  made.refined = RefinedLiver{104, 8.5, 0.91, 0.125, 0.96875};
  cache.store("refined", made);
  const auto plain = cache.find("plain", made.mask.geometry),
             found = cache.find("refined", made.mask.geometry);
  ASSERT_TRUE(plain && found && found->refined);
  EXPECT_FALSE(plain->refined);
  EXPECT_EQ(found->mask.voxels, made.mask.voxels);
  EXPECT_EQ(found->components, 3);
  EXPECT_EQ(found->confidence, 0.875);
  EXPECT_EQ(found->refined->mode_hu, 104);
  EXPECT_EQ(found->refined->spread_hu, 8.5);
  EXPECT_EQ(found->refined->agreement, 0.91);
  EXPECT_EQ(found->refined->overlap, 0.125);
  EXPECT_EQ(found->refined->stability, 0.96875);
}

TEST(MaskCacheFile, ADiskThatTakesNothingCostsAWarning) {
  const test::TemporaryDirectory work;
  MaskCache cache(work.path() / "cache");
  PredictedMask made;
  made.mask = Body(-40).mask;
  cache.store("before", made);
  std::filesystem::rename(work.path() / "cache", work.path() / "kept");
  testing::internal::CaptureStderr();
  EXPECT_NO_THROW(cache.store("lost", made));
  EXPECT_NO_THROW(cache.store("lost too", made));
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_FALSE(cache.find("lost", made.mask.geometry));
  EXPECT_TRUE(MaskCache(work.path() / "kept").find("before", made.mask.geometry));
  const auto first = said.find("not kept for other runs");
  EXPECT_NE(first, std::string::npos) << said;
  EXPECT_EQ(said.find("not kept for other runs", first + 1), std::string::npos) << said;
}

}  // namespace
}  // namespace wsp

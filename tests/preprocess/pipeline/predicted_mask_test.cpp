// What is said of a predicted mask, and that the cache says the same.
#include <gtest/gtest.h>

#include <cmath>

#include "preprocess/ops/liver.hpp"
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
  [[nodiscard]] Words doubts(double agreement, double overlap, double share = 1) const {
    const auto areas = liver_areas_mm2(mask);
    return mask_doubts(volume, mask, 0.95, RefinedLiver{100, 8, agreement, overlap}, areas,
                       share * liver_volume_ml(areas, volume.z_mm, 5));
  }
};

// What refinement changed counts by how well the HU tell the liver apart: docs/LIVER.md.
TEST(MaskDoubts, HuThatTellTheLiverApartMayMoveItsBorder) {
  const Body body(-40);
  EXPECT_EQ(body.doubts(0.89, 0), Words{});
  EXPECT_EQ(body.doubts(0.89, 0.1), Words{"agreement"});
  EXPECT_EQ(body.doubts(0.95, 0.3), Words{});
  EXPECT_EQ(body.doubts(0.92, 0.3), Words{"agreement"});
  EXPECT_EQ(body.doubts(0.88, 0), Words{"agreement"});
}

TEST(MaskDoubts, NoLiverIsSoFarToTheLeftSoLargeSoSmallOrSoJagged) {
  EXPECT_EQ(Body(10).doubts(1, 0), Words{});
  EXPECT_EQ(Body(20).doubts(1, 0), Words{"side"});
  const Body body(-40);
  EXPECT_EQ(body.doubts(1, 0, 7), Words{});  // 6.3 l
  EXPECT_EQ(body.doubts(1, 0, 8), Words{"volume"});
  EXPECT_EQ(body.doubts(1, 0, 0.05), Words{"volume"});
  EXPECT_EQ(Body(-40, 0.5).doubts(1, 0), Words{});
  EXPECT_EQ(Body(-40, 0.8).doubts(1, 0), Words{"shape"});
}

TEST(MaskCacheFile, KeepsWhatTheDoubtsGoBy) {
  const test::TemporaryDirectory work;
  const MaskCache cache(work.path() / "cache");
  PredictedMask made;
  made.mask = Body(-40).mask;
  made.components = 3;
  made.confidence = 0.875;
  cache.store("plain", made);
  made.refined = RefinedLiver{104, 8.5, 0.91, 0.125};
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
}

}  // namespace
}  // namespace wsp

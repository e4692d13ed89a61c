#include "preprocess/ops/dome.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "preprocess/ops/liver.hpp"

namespace wsp {
namespace {

struct DomeScene {
  double side = -1;            // of the body: -1 the patient's right
  std::int16_t around = -850;  // HU about the liver
  double stalk_mm = 0;         // radius of what stands on the dome
  double missing_mm = 16;      // of the dome, from its top
};

// A ball of 50 mm in a lung, in a wall of 40 HU, the mediastinum between the lungs. Its top is at
// 100 mm.
struct DomeCase {
  Volume volume;
  LiverMask mask, truth;

  explicit DomeCase(const DomeScene& scene) {
    Geometry& g = volume.geometry;
    g.size = {160, 90, 64};
    g.spacing_mm = {2, 2, 2};
    mask.geometry = truth.geometry = g;
    for (std::int64_t z = 0; z < g.size[2]; ++z) {
      volume.z_mm.push_back(2 * static_cast<double>(z));
      for (std::int64_t y = 0; y < g.size[1]; ++y)
        for (std::int64_t x = 0; x < g.size[0]; ++x) {
          const double px = 2 * static_cast<double>(x) - 160, py = 2 * static_cast<double>(y) - 90,
                       pz = volume.z_mm.back();
          const double from = std::hypot(px - scene.side * 75, py);
          const bool liver = std::hypot(from, pz - 50) < 50;
          const bool stalk = from < scene.stalk_mm && pz >= 90;
          const bool wall = std::hypot(px / 150, py / 85) > 0.93, middle = std::abs(px) < 15;
          volume.hu.push_back(std::hypot(px / 150, py / 85) > 1 ? std::int16_t{-1000}
                              : liver || stalk                  ? std::int16_t{100}
                              : wall || middle                  ? std::int16_t{40}
                                                                : scene.around);
          truth.voxels.push_back(liver ? 1 : 0);
          mask.voxels.push_back(liver && pz < 100 - scene.missing_mm ? 1 : 0);
        }
    }
  }
};

TEST(CompleteDome, AnIslandInTheRightLungIsTheLiversDome) {
  for (const double missing : {6.0, 16.0, 20.0}) {
    DomeCase scene({.missing_mm = missing});
    EXPECT_GT(complete_dome(scene.volume, scene.mask), 0);
    const auto found = liver_areas_mm2(scene.mask), truth = liver_areas_mm2(scene.truth);
    for (std::size_t z = 0; z < found.size(); ++z)
      EXPECT_EQ(found[z],
                truth[z] >= 100 || 2 * static_cast<double>(z) < 100 - missing ? truth[z] : 0)
          << "slice " << z << ", missing " << missing;
  }
}

TEST(CompleteDome, WhatIsFoundStays) {
  DomeCase scene({.missing_mm = 0});
  EXPECT_EQ(complete_dome(scene.volume, scene.mask), 0);
  EXPECT_EQ(scene.mask.voxels, scene.truth.voxels);
}

TEST(CompleteDome, AMaskThatTouchesTheIslandsRimIsEnough) {
  DomeCase scene({});
  const Geometry& g = scene.volume.geometry;
  // From 60 mm upwards the mask begins 20 mm beside the ball's axis.
  for (std::int64_t i = 30 * g.slice_voxels(); i < g.voxels(); ++i)
    if (i % g.size[0] < (160 - 75 + 20) / 2) scene.mask.voxels[static_cast<std::size_t>(i)] = 0;
  EXPECT_LT(dice_of(scene.mask.voxels, scene.truth.voxels), 0.85);
  EXPECT_GT(complete_dome(scene.volume, scene.mask), 0);
  EXPECT_GT(dice_of(scene.mask.voxels, scene.truth.voxels), 0.9);
}

TEST(CompleteDome, NothingElseIs) {
  const auto added = [](const DomeScene& how) {
    DomeCase scene(how);
    const auto before = scene.mask.voxels;
    const auto slices = complete_dome(scene.volume, scene.mask);
    EXPECT_EQ(slices == 0, scene.mask.voxels == before);
    return slices;
  };
  EXPECT_EQ(added({.side = 1}), 0);         // in the left lung: stomach or spleen
  EXPECT_EQ(added({.around = 10}), 0);      // in an effusion its border is not seen
  EXPECT_EQ(added({.around = -100}), 0);    // in fat: any organ
  EXPECT_EQ(added({.around = 100}), 0);     // no island
  EXPECT_EQ(added({.missing_mm = 95}), 0);  // far more than the mask is missing
  // What stands on the dome and does not end: a vessel is too small, a mass ends the dome after 40
  // mm.
  EXPECT_EQ(added({.stalk_mm = 4}), added({}));
  EXPECT_EQ(added({.stalk_mm = 12}), 20);
  DomeCase empty({.missing_mm = 200});
  EXPECT_EQ(complete_dome(empty.volume, empty.mask), 0);
}

}  // namespace
}  // namespace wsp

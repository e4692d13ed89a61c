#include "preprocess/ops/tip.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "preprocess/ops/liver.hpp"

namespace wsp {
namespace {

struct TipScene {
  double missing_mm = 20;        // of the cone, from its point
  std::int16_t tip = 100;        // HU of the cone where it is missing
  double half_width_mm = 1000;   // of the cone, to the sides
  std::int64_t first_slice = 5;  // of the cone
  double shift_mm = 0;           // of the missing part, to the side
};

// A cone of 100 HU in fat that widens by 0.8 mm for each mm upwards.
struct TipCase {
  Volume volume;
  LiverMask mask, truth;

  explicit TipCase(const TipScene& scene) {
    Geometry& g = volume.geometry;
    g.size = {90, 90, 30};
    g.spacing_mm = {2, 2, 4};
    mask.geometry = truth.geometry = g;
    for (std::int64_t z = 0; z < g.size[2]; ++z) {
      volume.z_mm.push_back(4 * static_cast<double>(z));
      const double from_point = 4 * static_cast<double>(z - scene.first_slice) + 2;
      const bool missing = from_point < scene.missing_mm;
      for (std::int64_t y = 0; y < g.size[1]; ++y)
        for (std::int64_t x = 0; x < g.size[0]; ++x) {
          const double px = 2 * static_cast<double>(x) - 90 - (missing ? scene.shift_mm : 0),
                       py = 2 * static_cast<double>(y) - 90;
          const bool liver =
              std::hypot(px, py) < 0.8 * from_point && std::abs(px) < scene.half_width_mm;
          volume.hu.push_back(!liver ? std::int16_t{-90} : missing ? scene.tip : std::int16_t{100});
          truth.voxels.push_back(liver ? 1 : 0);
          mask.voxels.push_back(liver && !missing ? 1 : 0);
        }
    }
  }
  std::int64_t complete() { return complete_tip(volume, mask, 100, 12); }
  [[nodiscard]] std::int64_t first() const {
    return liver_extent(liver_areas_mm2(mask), 1).value().first;
  }
};

TEST(CompleteTip, WhatHasTheLiversHuBelowItIsItsTip) {
  for (const double missing : {20.0, 28.0}) {
    TipCase scene({.missing_mm = missing});
    EXPECT_GT(scene.complete(), 0);
    const auto found = liver_areas_mm2(scene.mask), truth = liver_areas_mm2(scene.truth);
    for (std::size_t z = 0; z < found.size(); ++z) {
      EXPECT_LE(found[z], truth[z]) << "slice " << z;
      EXPECT_GE(found[z], truth[z] >= 300 ? 0.55 * truth[z] : 0) << "slice " << z;
    }
  }
}

TEST(CompleteTip, PixelsOfThreeMillimetresMayMoveASideToo) {
  // A strip that goes down by a pixel to the side in each slice.
  Volume volume;
  LiverMask mask;
  Geometry& g = volume.geometry;
  g.size = {60, 40, 20};
  g.spacing_mm = {3, 3, 3};
  mask.geometry = g;
  for (std::int64_t z = 0; z < g.size[2]; ++z) {
    volume.z_mm.push_back(3 * static_cast<double>(z));
    for (std::int64_t y = 0; y < g.size[1]; ++y)
      for (std::int64_t x = 0; x < g.size[0]; ++x) {
        const bool liver = z >= 4 && y >= 12 && y < 28 && x >= 38 - z && x < 44 - z;
        volume.hu.push_back(liver ? 100 : -90);
        mask.voxels.push_back(liver && z >= 9 ? 1 : 0);
      }
  }
  EXPECT_EQ(complete_tip(volume, mask, 100, 12), 5);
  EXPECT_EQ(liver_extent(liver_areas_mm2(mask), 1).value().first, 4);
}

TEST(CompleteTip, WhatIsFoundStays) {
  TipCase scene({.missing_mm = 0});
  EXPECT_EQ(scene.complete(), 0);
  EXPECT_EQ(scene.mask.voxels, scene.truth.voxels);
}

TEST(CompleteTip, NothingElseIs) {
  const auto added = [](const TipScene& how) {
    TipCase scene(how);
    const auto before = scene.mask.voxels;
    const auto slices = scene.complete();
    EXPECT_EQ(slices == 0, scene.mask.voxels == before);
    return slices;
  };
  EXPECT_GT(added({.tip = 84}), 0);  // within 1.5 spreads
  EXPECT_EQ(added({.tip = 80}), 0);  // beyond
  EXPECT_EQ(added({.tip = 120}), 0);
  EXPECT_EQ(added({.half_width_mm = 3}), 0);  // a sheet: the wall of a bowel
  EXPECT_EQ(added({.shift_mm = 40}), 0);      // beside it
  EXPECT_EQ(added({.missing_mm = 14}), 0);    // a remnant under 1 cm2
  EXPECT_EQ(added({.missing_mm = 200}), 0);   // no liver at all
  EXPECT_GT(added({.first_slice = 2}), 0);
  EXPECT_EQ(added({.first_slice = -5}), 0);  // the scan cuts the liver off
}

TEST(CompleteTip, ItEndsFortyMillimetresBelow) {
  TipCase scene({.first_slice = 12});
  const std::int64_t first = scene.first();
  // A muscle of the liver's HU goes on to the feet, as wide as the mask's lowest slice.
  const Geometry& g = scene.volume.geometry;
  for (std::int64_t i = 0; i < first * g.slice_voxels(); ++i)
    scene.volume.hu[static_cast<std::size_t>(i)] =
        scene.mask.voxels[static_cast<std::size_t>(first * g.slice_voxels() + i % g.slice_voxels())]
            ? std::int16_t{100}
            : std::int16_t{-90};
  EXPECT_EQ(scene.complete(), 10);  // of 4 mm
  EXPECT_EQ(scene.first(), first - 10);
}

}  // namespace
}  // namespace wsp

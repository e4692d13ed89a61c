#include "preprocess/pipeline/phase_by_hu.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace wsp {
namespace {

struct Liver {
  Volume volume;
  LiverMask mask;
};

// A ball of liver with two vessels of 8 mm through it, in fat, beside a bright kidney.
Liver made(double parenchyma, double vessel, double noise, double pixel_mm = 0.8) {
  Liver liver;
  Geometry& g = liver.volume.geometry;
  const auto n = static_cast<std::int64_t>(std::lround(120 / pixel_mm));
  g.size = {n, n, 12};
  g.spacing_mm = {pixel_mm, pixel_mm, 5};
  liver.mask.geometry = g;
  std::mt19937 random(17);
  for (std::int64_t z = 0; z < g.size[2]; ++z)
    for (std::int64_t y = 0; y < n; ++y)
      for (std::int64_t x = 0; x < n; ++x) {
        const double px = static_cast<double>(x) * pixel_mm - 60,
                     py = static_cast<double>(y) * pixel_mm - 60,
                     pz = static_cast<double>(z) * 5 - 30;
        const bool inside = px * px + py * py + pz * pz < 45 * 45;
        const bool in_vessel =
            inside && (std::hypot(px - 9, pz) < 4 || std::hypot(py + 12, pz) < 4);
        const double tissue = in_vessel ? vessel : inside ? parenchyma : px > 30 ? 220 : -100;
        // Four uniform numbers: near normal, and the same with every library.
        double sum = 0;
        for (int i = 0; i < 4; ++i) sum += static_cast<double>(random() % 10001) / 10000 - 0.5;
        liver.volume.hu.push_back(
            static_cast<std::int16_t>(std::lround(tissue + noise * sum * std::sqrt(3.0))));
        liver.mask.voxels.push_back(inside ? 1 : 0);
      }
  return liver;
}

PhaseByHu judged(const Liver& liver) { return phase_by_hu(liver.volume, MaskRuns(liver.mask)); }

TEST(PhaseByHu, TellsPortalFromNativeAndDelayed) {
  for (const double noise : {0.0, 12.0, 25.0}) {
    EXPECT_EQ(judged(made(108, 172, noise)).phase, HuPhase::portal) << noise;
    EXPECT_EQ(judged(made(55, 42, noise)).phase, HuPhase::unenhanced) << noise;
    EXPECT_EQ(judged(made(68, 92, noise)).phase, HuPhase::unenhanced) << noise;  // early arterial
    EXPECT_EQ(judged(made(94, 120, noise)).phase, HuPhase::unclear) << noise;    // delayed
    EXPECT_EQ(judged(made(70, 140, noise)).phase, HuPhase::unclear) << noise;    // late arterial
  }
}

TEST(PhaseByHu, MeasuresParenchymaAndVesselsApartAndIgnoresNeighbours) {
  const PhaseByHu phase = judged(made(108, 172, 10));
  EXPECT_NEAR(phase.liver_median_hu, 108, 3);
  EXPECT_NEAR(phase.vessel_hu, 172, 12);
  EXPECT_GT(phase.liver_mean_hu, phase.liver_median_hu);
  EXPECT_LT(judged(made(108, 108, 10)).vessel_hu, 125);
}

TEST(PhaseByHu, TakesNoNoiseForVessels) {
  for (const double pixel : {0.8, 3.0}) {
    const PhaseByHu phase = judged(made(100, 100, 40, pixel));
    EXPECT_EQ(phase.phase, HuPhase::unclear) << pixel << " mm: " << phase.vessel_hu;
  }
}

TEST(PhaseByHu, HasNoVerdictWithoutALiver) {
  Liver liver = made(108, 172, 0);
  std::fill(liver.mask.voxels.begin(), liver.mask.voxels.end(), 0);
  EXPECT_EQ(judged(liver).phase, HuPhase::unclear);
  liver.mask.voxels[100] = 1;  // too thin for a square: its voxel is judged
  EXPECT_EQ(judged(liver).liver_median_hu, liver.volume.hu[100]);
}

}  // namespace
}  // namespace wsp

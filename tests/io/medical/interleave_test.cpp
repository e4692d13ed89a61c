// Two acquisitions woven into one stack, seen without a word of the headers.
#include "io/medical/interleave.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <random>
#include <vector>

#include "io/medical/scan.hpp"
#include "passes_of_a_series.hpp"
#include "support/test_data.hpp"

namespace wsp {
namespace {

using test::Sizes;

std::vector<double> join(std::initializer_list<std::array<double, 3>> grids) {
  std::vector<double> z;
  for (const auto& [first, step, count] : grids)
    for (int k = 0; k < count; ++k) z.push_back(first + k * step);
  std::sort(z.begin(), z.end());
  return z;
}

TEST(WovenGrids, SoundStacksAreNoWeave) {
  using dicom::woven_grids;
  EXPECT_TRUE(woven_grids(join({{0, 5, 40}}), 5).empty());
  EXPECT_TRUE(woven_grids(join({{0, 2.5, 40}}), 5).empty());                // overlapping slices
  EXPECT_TRUE(woven_grids(join({{0, 5, 20}, {105, 5, 20}}), 5).empty());    // a hole
  EXPECT_TRUE(woven_grids(join({{0, 5, 20}, {97, 5, 20}}), 5).empty());     // a slip at a seam
  EXPECT_TRUE(woven_grids(join({{0, 5, 20}, {93, 5, 20}}), 5).empty());     // one slice's overlap
  EXPECT_TRUE(woven_grids(join({{0, 4, 14}, {53.08, 7, 14}}), 4).empty());  // two distances
  EXPECT_TRUE(woven_grids(join({{0, 5, 20}, {42, 5, 1}}), 5).empty());      // a slice too many
  EXPECT_TRUE(woven_grids(join({{0, 11, 20}, {5, 11, 20}}), 5).empty());    // pairs of slices
  EXPECT_TRUE(woven_grids({}, 5).empty());
  std::vector<double> tenths, whole, breath;
  std::mt19937 random(7);
  for (int k = 0; k < 60; ++k) {
    tenths.push_back(std::floor(k * 6.5 + 0.5) / 10);
    whole.push_back(std::floor(k * 2.5 + 0.5));
    breath.push_back(k * 5 + static_cast<double>(random() % 1000) / 1000);
  }
  EXPECT_TRUE(woven_grids(tenths, 1).empty());   // 0.6, 0.7, 0.6, 0.7
  EXPECT_TRUE(woven_grids(whole, 2.5).empty());  // 2, 3, 2, 3 of a slice of 2.5 mm
  EXPECT_TRUE(woven_grids(breath, 5).empty());
  // Any slices of a sound stack may be lost.
  for (std::uint32_t seed = 0; seed < 200; ++seed) {
    std::mt19937 lose(seed);
    std::vector<double> z;
    for (int k = 0; k < 60; ++k)
      if (lose() % 8 != 0) z.push_back(k * 3.0);
    EXPECT_TRUE(woven_grids(z, 3).empty()) << "seed " << seed;
  }
}

TEST(WovenGrids, WeavesAreFound) {
  const auto slices = [](const std::vector<double>& z, double thickness) {
    std::vector<std::size_t> n;
    for (const dicom::Grid& grid : dicom::woven_grids(z, thickness)) n.push_back(grid.slices);
    std::sort(n.begin(), n.end());
    return n;
  };
  EXPECT_EQ(slices(join({{0, 5, 20}, {2, 5, 20}}), 5), (Sizes{20, 20}));
  EXPECT_EQ(slices(join({{0, 5, 20}, {0.7, 5, 12}}), 0), (Sizes{12, 20}));
  EXPECT_EQ(slices(join({{0, 5, 20}, {41.5, 3, 15}}), 5), (Sizes{15, 20}));  // other distance
  EXPECT_EQ(slices(join({{-178.329, 5, 35}, {-176.1, 5, 35}}), 5), (Sizes{35, 35}));
  EXPECT_EQ(slices(join({{0, 6, 20}, {1, 6, 20}, {3.5, 6, 20}}), 6), (Sizes{20, 20, 20}));
  EXPECT_EQ(slices(join({{0, 5, 10}, {55, 5, 10}, {2, 5, 20}}), 5), (Sizes{20, 20}));  // one lost
}

TEST(Alternation, SeriesOfPatientsShowNone) {
  WSP_REQUIRE_TEST_DATA(data);
  ScanOptions options;
  options.min_slices = 1;
  for (const char* folder : {"liver/cptac_pda_C3L-00189_ge_5mm_portal_dicom",
                             "liver/lidc_0314_philips_1mm_FFS_dicom_lower60",
                             "geometry/ge_hispeed_tilt+18.5_variable_spacing",
                             "geometry/philips_ingenuity_tilt-18.5_phantom_16of54",
                             "seg_rt/ibsi_sts008_ct_rtstruct_nifti/dicom_ct"}) {
    const Scan scan = scan_export(data / folder, options);
    for (const Series& s : scan.series) {
      if (s.code != Code::USED) continue;
      const auto loaded = read_series(scan, s, {});
      ASSERT_TRUE(loaded.ok()) << folder;
      const Volume& volume = loaded.value().volume;
      // Of every n-th slice too: 1 to 28 mm apart.
      for (std::int64_t step = 1; step <= 4; ++step) {
        std::vector<std::span<const std::int16_t>> slices;
        for (std::int64_t z = 0; z < volume.geometry.size[2]; z += step)
          slices.push_back(volume.slice(z));
        EXPECT_EQ(dicom::find_alternation(slices, s.spacing_mm * static_cast<double>(step)), "")
            << folder << " every " << step;
      }
    }
  }
}

TEST(Alternation, ContrastInEverySecondSliceOfAPatientIsSeen) {
  WSP_REQUIRE_TEST_DATA(data);
  ScanOptions options;
  const Scan scan = scan_export(data / "liver/cptac_pda_C3L-00189_ge_5mm_portal_dicom", options);
  auto loaded = read_series(scan, scan.series.at(0), {});
  ASSERT_TRUE(loaded.ok());
  Volume volume = loaded.value().volume;
  // Every second slice as before the contrast agent came, by 20 HU.
  for (std::int64_t z = 0; z < volume.geometry.size[2]; z += 2)
    for (std::int64_t i = 0; i < volume.geometry.slice_voxels(); ++i) {
      auto& hu = volume.hu[static_cast<std::size_t>(z * volume.geometry.slice_voxels() + i)];
      if (hu > 40 && hu < 200) hu = static_cast<std::int16_t>(hu - 20);
    }
  EXPECT_NE(dicom::find_alternation(volume), "");
}

TEST(Alternation, StepsAndSingleBadSlicesAreNone) {
  std::mt19937 random(3);
  std::vector<std::vector<std::int16_t>> hu;
  for (int k = 0; k < 24; ++k) {
    hu.emplace_back();
    for (int i = 0; i < 1024; ++i)
      hu.back().push_back(static_cast<std::int16_t>(40 + k + (i + 7 * k) % 90 + random() % 40));
  }
  const auto seen = [&](const std::function<int(int)>& added) {
    auto copy = hu;
    std::vector<std::span<const std::int16_t>> slices;
    for (int k = 0; k < 24; ++k) {
      for (auto& v : copy[static_cast<std::size_t>(k)]) v = static_cast<std::int16_t>(v + added(k));
      slices.emplace_back(copy[static_cast<std::size_t>(k)]);
    }
    return dicom::find_alternation(slices, 5);
  };
  EXPECT_EQ(seen([](int) { return 0; }), "");
  EXPECT_EQ(seen([](int k) { return k == 11 ? 60 : 0; }), "");  // an artefact
  EXPECT_EQ(seen([](int k) { return k >= 12 ? 60 : 0; }), "");  // heart or breath
  EXPECT_EQ(seen([](int k) { return k / 4 % 2 * 40; }), "");    // blocks
  EXPECT_NE(seen([](int k) { return k % 2 * 20; }), "");
  EXPECT_NE(seen([](int k) { return k >= 10 && k < 20 ? k % 2 * 40 : 0; }), "");
}

}  // namespace
}  // namespace wsp

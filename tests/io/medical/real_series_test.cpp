// The real series of the shared data, entry by entry: numbers of its MANIFEST.md (dcm2niix) and of
// pydicom with numpy, which agree with each other where both can read.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "io/medical/scan.hpp"
#include "support/test_data.hpp"

namespace wsp {
namespace {

struct Expected {
  const char* path;
  std::int64_t columns, rows;
  std::size_t slices;
  double pixel_mm, spacing_mm, first_z_mm, last_z_mm, tilt_deg;
  std::vector<std::size_t> missing_after;
  bool irregular, feet_first;
  std::int64_t minimum, maximum, sum, padding;
};

void PrintTo(const Expected& e, std::ostream* out) { *out << e.path; }

class RealSeries : public testing::TestWithParam<Expected> {};

Series only_usable(const Scan& scan) {
  Series found;
  int count = 0;
  for (const Series& s : scan.series) {
    if (s.code != Code::USED || !s.is_dicom) continue;
    found = s;
    ++count;
  }
  EXPECT_EQ(count, 1);
  return found;
}

TEST_P(RealSeries, GeometryAndSumsAreExact) {
  WSP_REQUIRE_TEST_DATA(data);
  const Expected& e = GetParam();
  ScanOptions options;
  options.min_slices = 1;
  const Scan scan = scan_export(data / e.path, options);
  const Series s = only_usable(scan);
  ASSERT_EQ(s.planes.size(), e.slices);
  EXPECT_EQ(s.columns, e.columns);
  EXPECT_EQ(s.rows, e.rows);
  EXPECT_NEAR(s.pixel_x_mm, e.pixel_mm, 1e-6);
  EXPECT_NEAR(s.pixel_y_mm, e.pixel_mm, 1e-6);
  EXPECT_NEAR(s.spacing_mm, e.spacing_mm, 1e-4);
  EXPECT_NEAR(s.planes.front().z_mm, e.first_z_mm, 1e-4);
  EXPECT_NEAR(s.planes.back().z_mm, e.last_z_mm, 1e-4);
  EXPECT_NEAR(s.tilt_deg, e.tilt_deg, 1e-3);
  EXPECT_EQ(s.missing_after, e.missing_after);
  EXPECT_EQ(s.irregular, e.irregular);
  EXPECT_EQ(s.feet_first, e.feet_first);
  EXPECT_EQ(s.gaps_mm.size() + 1, s.planes.size());

  const auto loaded = read_series(scan, s, {});
  ASSERT_TRUE(loaded.ok()) << to_string(loaded.rejection().code) << loaded.rejection().detail;
  const LoadedVolume& v = loaded.value();
  EXPECT_EQ(v.stored.minimum, e.minimum);
  EXPECT_EQ(v.stored.maximum, e.maximum);
  EXPECT_EQ(v.stored.sum, e.sum);
  EXPECT_EQ(v.stored.padding_voxels, e.padding);
  EXPECT_EQ(v.volume.z_mm.size(), e.slices);
  EXPECT_EQ(v.files.size(), e.slices);
  for (std::size_t k = 0; k < e.slices; ++k) {
    EXPECT_NEAR(v.volume.z_mm[k], s.planes[k].z_mm, 1e-9);
    EXPECT_NEAR(dot(v.volume.slice_origin_mm[k], s.normal), v.volume.z_mm[k], 1e-9);
  }
  const auto measured = measure_series(scan, s);
  ASSERT_TRUE(measured.ok());
  EXPECT_EQ(measured.value().sum, e.sum);
}

INSTANTIATE_TEST_SUITE_P(Manifest, RealSeries,
                         testing::Values(Expected{"liver/cptac_pda_C3L-00189_ge_5mm_portal_dicom",
                                                  512,
                                                  512,
                                                  35,
                                                  0.859375,
                                                  5,
                                                  -178.329,
                                                  -8.329,
                                                  0,
                                                  {},
                                                  false,
                                                  true,
                                                  -3024,
                                                  3071,
                                                  -8976328117,
                                                  1979880},
                                         Expected{"liver/lidc_0314_philips_1mm_FFS_dicom_lower60",
                                                  512,
                                                  512,
                                                  60,
                                                  0.78125,
                                                  1,
                                                  -679.800049,
                                                  -620.800049,
                                                  0,
                                                  {},
                                                  false,
                                                  true,
                                                  -1000,
                                                  1649,
                                                  -9647594203,
                                                  0},
                                         Expected{"liver/dcmqi_ct3slice_with_dicomseg",
                                                  512,
                                                  512,
                                                  3,
                                                  0.810547,
                                                  1,
                                                  -128.690002,
                                                  -126.690002,
                                                  0,
                                                  {},
                                                  false,
                                                  true,
                                                  -3024,
                                                  1381,
                                                  -750951030,
                                                  167316},
                                         Expected{"geometry/ge_hispeed_tilt+18.5_variable_spacing",
                                                  512,
                                                  512,
                                                  28,
                                                  0.4882812,
                                                  4.0019,
                                                  -33.665493,
                                                  110.422802,
                                                  18.5,
                                                  {},
                                                  true,
                                                  false,
                                                  -1500,
                                                  2121,
                                                  -4857112922,
                                                  1741040},
                                         Expected{
                                             "geometry/philips_ingenuity_tilt-18.5_phantom_16of54",
                                             512,
                                             512,
                                             16,
                                             0.482421875,
                                             2.37081,
                                             746.436729,
                                             781.998865,
                                             18.5,
                                             {},
                                             false,
                                             false,
                                             -1024,
                                             791,
                                             -3631217229,
                                             0},
                                         Expected{"geometry/ge_missing_slice_gap_5-10-5",
                                                  512,
                                                  512,
                                                  4,
                                                  0.429688,
                                                  5,
                                                  18.1075,
                                                  38.107498,
                                                  0,
                                                  {2},
                                                  false,
                                                  false,
                                                  -1024,
                                                  -770,
                                                  -940515096,
                                                  0},
                                         Expected{"seg_rt/ibsi_sts008_ct_rtstruct_nifti/dicom_ct",
                                                  141,
                                                  137,
                                                  51,
                                                  0.976562,
                                                  3.27,
                                                  -272.95,
                                                  -109.45,
                                                  0,
                                                  {},
                                                  false,
                                                  false,
                                                  -1000,
                                                  1479,
                                                  -401221999,
                                                  0},
                                         Expected{"seg_rt/dcmqi_23x38x3/image",
                                                  23,
                                                  38,
                                                  3,
                                                  0.7,
                                                  2.5,
                                                  -177.75,
                                                  -172.75,
                                                  0,
                                                  {},
                                                  false,
                                                  false,
                                                  0,
                                                  1,
                                                  310,
                                                  0},
                                         Expected{"seg_rt/rtstruct_phantom_mim",
                                                  512,
                                                  512,
                                                  2,
                                                  0.488281,
                                                  5,
                                                  60,
                                                  65,
                                                  0,
                                                  {},
                                                  false,
                                                  false,
                                                  -3024,
                                                  125,
                                                  -438048169,
                                                  111544}));

TEST(RealGeometry, TiltIsResampledToTheGridThatDcm2niixWrites) {
  WSP_REQUIRE_TEST_DATA(data);
  // dcm2niix 1.0.20220720 writes 512x537x16 and, before evening out the spacing, 512x611 rows.
  const std::vector<std::pair<const char*, std::int64_t>> cases{
      {"geometry/philips_ingenuity_tilt-18.5_phantom_16of54", 537},
      {"geometry/ge_hispeed_tilt+18.5_variable_spacing", 611}};
  for (const auto& [path, rows] : cases) {
    ScanOptions options;
    options.min_slices = 1;
    const Scan scan = scan_export(data / path, options);
    const Series s = only_usable(scan);
    const auto loaded = read_series(scan, s, {});
    ASSERT_TRUE(loaded.ok());
    const Volume& v = loaded.value().volume;
    EXPECT_EQ(v.geometry.size[0], 512);
    EXPECT_EQ(v.geometry.size[1], rows);
    EXPECT_NE(std::find(v.flags.begin(), v.flags.end(), Code::TILT_RESAMPLED), v.flags.end());
    // Upright: the stack runs along the normal.
    const Vec3 stack = v.slice_origin_mm.back() - v.slice_origin_mm.front();
    EXPECT_LT(norm(cross(stack, v.geometry.axis[2])), 1e-6);
    EXPECT_TRUE(loaded.value().sop_instance_uids.front().empty());
    const auto refused = read_series(scan, s, {true, false});
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.rejection().code, Code::TILTED);
  }
}

TEST(RealGeometry, GapsAreNamedAndCanBeRefused) {
  WSP_REQUIRE_TEST_DATA(data);
  ScanOptions options;
  options.min_slices = 1;
  const auto path = data / "geometry/ge_missing_slice_gap_5-10-5";
  EXPECT_EQ(scan_export(path, options).series.front().flags, std::vector<Code>{Code::GAP});
  options.reject_gaps = true;
  EXPECT_EQ(scan_export(path, options).series.front().code, Code::GAPS);
  options.min_slices = 5;
  const Scan few = scan_export(path, options);
  EXPECT_EQ(few.series.front().code, Code::TOO_FEW_SLICES);
  EXPECT_EQ(few.files.front().code, Code::TOO_FEW_SLICES);
}

TEST(RealGeometry, UnevenSpacingIsThreeDistancesAlongTheNormal) {
  WSP_REQUIRE_TEST_DATA(data);
  ScanOptions options;
  const Scan scan = scan_export(data / "geometry/ge_hispeed_tilt+18.5_variable_spacing", options);
  const Series s = only_usable(scan);
  ASSERT_EQ(s.gaps_mm.size(), 27U);
  for (std::size_t k = 0; k < 13; ++k) EXPECT_NEAR(s.gaps_mm[k], 4.0019, 1e-4);
  EXPECT_NEAR(s.gaps_mm[13], 1.0811, 1e-4);
  for (std::size_t k = 14; k < 27; ++k) EXPECT_NEAR(s.gaps_mm[k], 6.9986, 1e-4);
}

TEST(RealEnhanced, FunctionalGroupsGiveTheGeometry) {
  WSP_REQUIRE_TEST_DATA(data);
  ScanOptions options;
  options.min_slices = 1;
  // The legacy converted object holds the same three slices as the classic files.
  const Scan classic = scan_export(data / "seg_rt/dcmqi_23x38x3/image", options);
  const Scan enhanced = scan_export(data / "seg_rt/dcmqi_23x38x3/multiframe", options);
  const auto a = read_series(classic, only_usable(classic), {});
  const auto b = read_series(enhanced, only_usable(enhanced), {});
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_TRUE(same_grid(a.value().volume.geometry, b.value().volume.geometry, 1e-6));
  EXPECT_EQ(a.value().volume.hu, b.value().volume.hu);
  EXPECT_EQ(a.value().volume.z_mm, b.value().volume.z_mm);
  // The perfusion map is derived; its geometry and pixels are there all the same.
  const Scan map = scan_export(data / "multiframe/eCT_Supplemental.dcm", options);
  ASSERT_EQ(map.series.size(), 1U);
  EXPECT_EQ(map.series.front().code, Code::DERIVED);
  EXPECT_NEAR(map.series.front().spacing_mm, 10, 1e-6);
  const auto sums = measure_series(map, map.series.front());
  ASSERT_TRUE(sums.ok());
  EXPECT_EQ(sums.value().sum, 199249408 - 1024LL * 2 * 512 * 512);
}

}  // namespace
}  // namespace wsp

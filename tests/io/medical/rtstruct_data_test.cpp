// RTSTRUCT of the shared data against the IBSI's mask and others.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "io/medical/image_file.hpp"
#include "mask_writer.hpp"
#include "support/test_data.hpp"

namespace wsp {
namespace {

using test::code_of;
using test::counts;
using test::named;
using test::total;

namespace fs = std::filesystem;

// True where the 3x3 neighbourhood in the slice holds both values: a voxel of the border.
bool on_border(const LiverMask& mask, std::int64_t x, std::int64_t y, std::int64_t z) {
  const auto slice = mask.slice(z);
  const auto nx = mask.geometry.size[0], ny = mask.geometry.size[1];
  bool any = false, all = true;
  for (std::int64_t b = std::max<std::int64_t>(y - 1, 0); b <= std::min(y + 1, ny - 1); ++b)
    for (std::int64_t a = std::max<std::int64_t>(x - 1, 0); a <= std::min(x + 1, nx - 1); ++a) {
      const bool set = slice[static_cast<std::size_t>(b * nx + a)] != 0;
      any |= set;
      all &= set;
    }
  return any && !all;
}

TEST(RtstructData, AgreesWithTheMaskOfTheIbsiButForItsBorder) {
  WSP_REQUIRE_TEST_DATA(data);
  const fs::path root = data / "seg_rt/ibsi_sts008_ct_rtstruct_nifti";
  const LoadedVolume ct = test::load_only_series(root / "dicom_ct");
  EXPECT_EQ(code_of(read_rtstruct_mask(root / "RS.dcm", ct, {})), "NO_LIVER_SEGMENT");
  const auto read = read_rtstruct_mask(root / "RS.dcm", ct, named("gtv_mass_ct"));
  ASSERT_TRUE(read) << read.rejection().detail;
  const LiverMask& mask = read.value();
  const auto file = read_mask_file(root / "CT_mask.nii.gz", ct, {});
  ASSERT_TRUE(file) << file.rejection().detail;
  const LiverMask& truth = file.value();
  EXPECT_TRUE(truth.flags.empty());  // the same grid, although its voxel axes differ
  EXPECT_EQ(total(truth), 8862);
  const auto mean = [&](const LiverMask& m) {
    double sum = 0;
    for (std::size_t i = 0; i < m.voxels.size(); ++i)
      if (m.voxels[i] != 0) sum += ct.volume.hu[i];
    return sum / total(m);
  };
  EXPECT_NEAR(mean(truth), 39.463, 5e-4);
  EXPECT_NEAR(mean(mask), 39.463, 0.05);

  const auto& size = mask.geometry.size;
  int both = 0, inner = 0;
  for (std::int64_t z = 0; z < size[2]; ++z)
    for (std::int64_t y = 0; y < size[1]; ++y)
      for (std::int64_t x = 0; x < size[0]; ++x) {
        const auto i = static_cast<std::size_t>((z * size[1] + y) * size[0] + x);
        both += mask.voxels[i] & truth.voxels[i];
        if (mask.voxels[i] != truth.voxels[i] && !on_border(truth, x, y, z)) ++inner;
      }
  EXPECT_EQ(inner, 0) << "voxels that differ away from the border";
  EXPECT_GE(2.0 * both / (total(mask) + total(truth)), 0.999);
  const auto slices = [](const LiverMask& m) {
    const auto n = counts(m);
    return std::count_if(n.begin(), n.end(), [](int c) { return c > 0; });
  };
  EXPECT_EQ(slices(mask), 19);
  EXPECT_EQ(slices(truth), 19);
}

TEST(RtstructData, PhantomOfMimCutsItsInnerContourOut) {
  WSP_REQUIRE_TEST_DATA(data);
  const fs::path root = data / "seg_rt/rtstruct_phantom_mim";
  const LoadedVolume ct = test::load_only_series(root);
  ASSERT_EQ(ct.volume.geometry.size, (std::array<std::int64_t, 3>{512, 512, 2}));
  const auto mask = read_rtstruct_mask(root / "rt.dcm", ct, named("ROI-1"));
  ASSERT_TRUE(mask) << mask.rejection().detail;
  // A 24 mm square without the octagon inside it (15 mm wide): area by the shoelace formula.
  const auto n = counts(mask.value());
  EXPECT_EQ(n[1], 0);
  const double pixel = 0.488281 * 0.488281;
  EXPECT_GT(n[0] * pixel, 24 * 24 - 15 * 15 - 12);
  EXPECT_LT(n[0] * pixel, 24 * 24 - 15 * 15 * 0.75 + 12);
  const auto at = [&](double x, double y) {
    const auto column = std::llround((x + 125) / 0.488281),
               row = std::llround((y + 125) / 0.488281);
    return static_cast<int>(mask.value().slice(0)[static_cast<std::size_t>(row * 512 + column)]);
  };
  EXPECT_EQ(at(-39.5, -39.5), 0);  // the hole
  EXPECT_EQ(at(-49.5, -39.5), 1);
  EXPECT_EQ(at(-28.5, -39.5), 1);
  EXPECT_EQ(at(-39.5, -49.5), 1);
  EXPECT_EQ(at(-52, -39.5), 0);
  EXPECT_EQ(at(-26, -39.5), 0);
}

TEST(RtstructData, SlicesThatAreNotThereAreNamed) {
  WSP_REQUIRE_TEST_DATA(data);
  const fs::path root = data / "seg_rt/rtstruct_phantom_mim";
  const LoadedVolume ct = test::load_only_series(root);
  for (const char* file : {"invalid_reference_rt.dcm", "non_existent_reference_rt.dcm"}) {
    const auto mask = read_rtstruct_mask(root / file, ct, named("ROI-1"));
    EXPECT_EQ(code_of(mask), "MASK_BAD_REFERENCE") << file;
    EXPECT_EQ(mask.rejection().detail, "1 of 3 contours lie on no slice of the series") << file;
  }
}

TEST(RtstructData, PydicomsObjectsGiveCodes) {
  WSP_REQUIRE_TEST_DATA(data);
  const LoadedVolume ct = test::load_only_series(data / "seg_rt/rtstruct_phantom_mim");
  const fs::path root = data / "seg_rt/pydicom_rt";
  for (const char* file : {"rtstruct.dcm", "rtplan.dcm", "rtdose.dcm"}) {
    EXPECT_EQ(code_of(read_rtstruct_mask(root / file, ct, {})), "NO_LIVER_SEGMENT") << file;
    EXPECT_EQ(code_of(read_seg_mask(root / file, ct, {})), "NO_LIVER_SEGMENT") << file;
    EXPECT_TRUE(read_mask_references(root / file, true)) << file;
  }
  EXPECT_EQ(code_of(read_rtstruct_mask(root / "rtstruct.dcm", ct, named("patient"))),
            "MASK_BAD_REFERENCE");
  EXPECT_EQ(code_of(read_rtstruct_mask(root / "rtstruct.dcm", ct, named("Isocenter 1"))),
            "NO_LIVER_SEGMENT");
  EXPECT_EQ(code_of(read_rtstruct_mask(data / "MANIFEST.md", ct, {})), "MASK_UNREADABLE");
}

}  // namespace
}  // namespace wsp

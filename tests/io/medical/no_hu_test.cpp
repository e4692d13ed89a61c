// Values that are no HU, by what the header says of them.
#include <dcmtk/config/osconfig.h>
#include <gtest/gtest.h>

#include "four_slices.hpp"
#include "io/medical/scan.hpp"
#include "support/test_data.hpp"

namespace wsp {
namespace {

namespace fs = std::filesystem;
using test::enhanced;
using test::expect_truth;
using test::group_item;
using test::has;
using test::kSlices;
using test::scan_all;
using test::stack;
using test::TemporaryDirectory;
using test::transform_of;
using test::verdict;
using test::write_stack;

TEST(NoHu, MissingRescaleRefusesTheWholeSeries) {
  for (const int slices : {1, kSlices}) {
    const TemporaryDirectory directory;
    const auto edit = [&](int k, DcmDataset& d) {
      if (k >= slices) return;
      delete d.remove(DCM_RescaleSlope);
      delete d.remove(DCM_RescaleIntercept);
    };
    const Scan scan = stack(directory, edit);
    EXPECT_EQ(verdict(scan), "RESCALE_MISSING: no RescaleSlope and RescaleIntercept (" +
                                 std::to_string(slices) + " of 4 slices)");
    EXPECT_FALSE(read_series(scan, scan.series.at(0), {}).ok());
    const Scan trusted = scan_all(directory.path(), true);
    ASSERT_EQ(to_string(trusted.series.at(0).code), "USED");
    EXPECT_TRUE(has(trusted.series[0].flags, Code::HU_OVERRULED));
    const auto read = read_series(trusted, trusted.series[0], {});
    ASSERT_TRUE(read.ok());
    EXPECT_EQ(read.value().volume.slice(0)[0], 1000);
    EXPECT_TRUE(has(read.value().volume.flags, Code::HU_OVERRULED));
  }
  const TemporaryDirectory half, empty;
  EXPECT_EQ(verdict(stack(half, [](int, DcmDataset& d) { delete d.remove(DCM_RescaleIntercept); })),
            "RESCALE_MISSING: no RescaleIntercept (4 of 4 slices)");
  EXPECT_EQ(
      verdict(stack(empty, [](int, DcmDataset& d) { d.putAndInsertString(DCM_RescaleSlope, ""); })),
      "RESCALE_MISSING: no RescaleSlope (4 of 4 slices)");
}

TEST(NoHu, TrustChangesNothingWhereNothingIsAmiss) {
  const TemporaryDirectory directory;
  const Scan scan = stack(
      directory, [](int, DcmDataset&) {}, true);
  expect_truth(scan);
  EXPECT_TRUE(scan.series[0].flags.empty());
}

TEST(NoHu, AFrameOfAnEnhancedImageCounts) {
  const TemporaryDirectory missing, other, shared;
  EXPECT_EQ(
      verdict(enhanced(missing,
                       [](DcmDataset& d) { delete transform_of(d, 2).remove(DCM_RescaleSlope); })),
      "RESCALE_MISSING: no RescaleSlope (4 of 4 slices)");
  EXPECT_EQ(verdict(enhanced(other,
                             [](DcmDataset& d) {
                               transform_of(d, 3).putAndInsertString(DCM_RescaleType, "MGML");
                             })),
            "NOT_HU: RescaleType is MGML (4 of 4 slices)");
  expect_truth(enhanced(shared, [](DcmDataset& d) {
    for (int f = 0; f < kSlices; ++f) {
      DcmItem* frame = nullptr;
      d.findAndGetSequenceItem(DCM_PerFrameFunctionalGroupsSequence, frame, f);
      delete frame->remove(DCM_PixelValueTransformationSequence);
    }
    DcmItem& transform = group_item(group_item(d, DCM_SharedFunctionalGroupsSequence),
                                    DCM_PixelValueTransformationSequence);
    transform.putAndInsertString(DCM_RescaleSlope, "2");
    transform.putAndInsertString(DCM_RescaleIntercept, "-1024");
    transform.putAndInsertString(DCM_RescaleType, "HU");
  }));
}

TEST(NoHu, OtherUnitsAreNamedFromTheStandardsTermsOnly) {
  for (const char* type : {"OD", "MGML", "Z_EFF", "ED", "EDW", "HU_MOD", "PCT"}) {
    const TemporaryDirectory directory;
    const Scan scan =
        stack(directory, [&](int, DcmDataset& d) { d.putAndInsertString(DCM_RescaleType, type); });
    EXPECT_EQ(verdict(scan), "NOT_HU: RescaleType is " + std::string(type) + " (4 of 4 slices)");
    const Scan trusted = scan_all(directory.path(), true);
    EXPECT_EQ(verdict(trusted), "USED: RescaleType is " + std::string(type));
    EXPECT_TRUE(has(trusted.series.at(0).flags, Code::HU_OVERRULED));
  }
  const TemporaryDirectory own;
  EXPECT_EQ(
      verdict(stack(own,
                    [](int, DcmDataset& d) { d.putAndInsertString(DCM_RescaleType, "MR SMITH"); })),
      "NOT_HU: RescaleType is another type (4 of 4 slices)");
  for (const char* type : {"HU", "hu", "US", "Hounsfield Units", ""}) {
    const TemporaryDirectory directory;
    expect_truth(
        stack(directory, [&](int, DcmDataset& d) { d.putAndInsertString(DCM_RescaleType, type); }));
  }
}

TEST(NoHu, AModalityLutIsRefusedAndAnEmptyOneIsNone) {
  const TemporaryDirectory directory, empty;
  const auto table = [](int, DcmDataset& d) {
    DcmItem& lut = group_item(d, DCM_ModalityLUTSequence);
    const std::vector<Uint16> descriptor{2, 1000, 16}, values{5, 6};
    lut.putAndInsertUint16Array(DCM_LUTDescriptor, descriptor.data(), 3);
    lut.putAndInsertUint16Array(DCM_LUTData, values.data(), 2);
  };
  EXPECT_EQ(verdict(stack(directory, table)),
            "NOT_HU: a Modality LUT stands for the rescale values (4 of 4 slices)");
  expect_truth(
      stack(empty, [](int, DcmDataset& d) { d.insertEmptyElement(DCM_ModalityLUTSequence); }));
}

TEST(NoHu, AMapBesideTheImagesInOneSeriesLeavesThemWhole) {
  const TemporaryDirectory directory;
  write_stack(directory.path(), [](int, DcmDataset&) {});
  fs::create_directory(directory.path() / "map");
  write_stack(directory.path() / "map",
              [](int, DcmDataset& d) { d.putAndInsertString(DCM_RescaleType, "ED"); });
  const Scan scan = scan_all(directory.path());
  ASSERT_EQ(scan.series.size(), 2U);
  int used = 0;
  for (const Series& s : scan.series) {
    if (s.code == Code::USED) {
      ++used;
      EXPECT_EQ(s.planes.size(), 4U);
    } else {
      EXPECT_EQ(to_string(s.code), "NOT_HU");
      EXPECT_EQ(s.detail, "RescaleType is ED (4 of 8 slices)");
    }
  }
  EXPECT_EQ(used, 1);
  // Between the slices, it shortens what is left of them: all are refused.
  const TemporaryDirectory woven;
  EXPECT_EQ(verdict(stack(woven,
                          [](int k, DcmDataset& d) {
                            if (k % 2 == 1) d.putAndInsertString(DCM_RescaleType, "ED");
                          })),
            "NOT_HU: RescaleType is ED (2 of 4 slices)");
}

TEST(NoHu, DerivedMapsAreKnownByImageTypeAndDescription) {
  for (const auto& [type, description, map] : std::vector<std::array<const char*, 3>>{
           {"DERIVED\\PRIMARY\\AXIAL\\ZEFF", "PORTAL VENOUS", "effective atomic number map"},
           {"ORIGINAL\\PRIMARY\\AXIAL\\EFF_ATOMIC_NUM", "", "effective atomic number map"},
           {"DERIVED\\PRIMARY\\AXIAL\\ELECTRON_DENSITY", "", "electron density map"},
           {"ORIGINAL\\PRIMARY\\AXIAL\\MAT_SPECIFIC", "", "material map"},
           {"DERIVED\\PRIMARY\\AXIAL\\VNC", "", "virtual non-contrast image"},
           {"ORIGINAL\\PRIMARY\\AXIAL", "Z Effective", "effective atomic number map"},
           {"ORIGINAL\\PRIMARY\\AXIAL", "DE_Rho/Z maps", "effective atomic number map"},
           {"ORIGINAL\\PRIMARY\\AXIAL", "Electron Density [%EDW]", "electron density map"},
           {"ORIGINAL\\PRIMARY\\AXIAL", "Iodine no Water", "material map"},
           {"ORIGINAL\\PRIMARY\\AXIAL", "MD Iodine(Water)", "material map"},
           {"ORIGINAL\\PRIMARY\\AXIAL", "ABD VNC 3mm", "virtual non-contrast image"},
           {"ORIGINAL\\PRIMARY\\AXIAL", "virtual non-contrast", "virtual non-contrast image"}}) {
    const TemporaryDirectory directory;
    const Scan scan = stack(directory, [t = type, text = description](int, DcmDataset& d) {
      d.putAndInsertString(DCM_ImageType, t);
      d.putAndInsertString(DCM_SeriesDescription, text);
    });
    EXPECT_EQ(verdict(scan), "DERIVED: " + std::string(map)) << type << description;
  }
  // Named by units and words: no HU, and no option overrules it.
  const TemporaryDirectory directory;
  stack(directory, [](int, DcmDataset& d) {
    d.putAndInsertString(DCM_ImageType, "DERIVED\\PRIMARY\\AXIAL\\ZEFF");
    d.putAndInsertString(DCM_RescaleType, "Z_EFF");
  });
  for (const bool trust : {false, true})
    EXPECT_EQ(verdict(scan_all(directory.path(), trust)),
              "NOT_HU: effective atomic number map: RescaleType is Z_EFF");
  // Words of the trade that are no map.
  for (const char* description :
       {"ABD W IODINE CONTRAST", "IOMERON PORTAL", "Z-AXIS", "BONE DENSITY", "LIVER MD", "ED CT"}) {
    const TemporaryDirectory sound;
    expect_truth(stack(sound, [&](int, DcmDataset& d) {
      d.putAndInsertString(DCM_SeriesDescription, description);
    }));
  }
}

TEST(NoHu, MonoenergeticImagesAreCtWithAFlag) {
  for (const auto& [type, description] : std::vector<std::array<const char*, 2>>{
           {"DERIVED\\PRIMARY\\AXIAL\\VMI", ""},
           {"ORIGINAL\\PRIMARY\\AXIAL\\MONO_70KEV", ""},
           {"ORIGINAL\\PRIMARY\\AXIAL\\GSI MONO", ""},
           {"ORIGINAL\\PRIMARY\\AXIAL", "Monoenergetic Plus 55 keV"},
           {"ORIGINAL\\PRIMARY\\AXIAL", "MonoE 70keV portal"},
           {"ORIGINAL\\PRIMARY\\AXIAL", "GSI MONO"}}) {
    const TemporaryDirectory directory;
    const Scan scan = stack(directory, [t = type, text = description](int, DcmDataset& d) {
      d.putAndInsertString(DCM_ImageType, t);
      d.putAndInsertString(DCM_SeriesDescription, text);
    });
    expect_truth(scan);
    EXPECT_TRUE(has(scan.series.at(0).flags, Code::MONOENERGETIC)) << type << description;
  }
  for (const char* description : {"MONO", "120KV PORTAL", "MONOPHASIC", "70 S"}) {
    const TemporaryDirectory directory;
    const Scan scan = stack(directory, [&](int, DcmDataset& d) {
      d.putAndInsertString(DCM_SeriesDescription, description);
    });
    EXPECT_FALSE(has(scan.series.at(0).flags, Code::MONOENERGETIC)) << description;
  }
}

}  // namespace
}  // namespace wsp

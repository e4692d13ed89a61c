// Series written for the purpose, with known truth.
#include <gtest/gtest.h>
#include <tbb/global_control.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <numbers>

#include "dicom_writer.hpp"
#include "io/medical/scan.hpp"
#include "support/test_data.hpp"

namespace wsp {
namespace {

using test::constant_pixels;
using test::DicomSlice;
using test::TemporaryDirectory;
using test::write_dicom;

Scan scan_all(const TemporaryDirectory& directory) {
  ScanOptions options;
  options.min_slices = 1;
  return scan_export(directory.path(), options);
}

DicomSlice slice_at(double z, int value) {
  DicomSlice s;
  s.position = {0, 0, z};
  s.pixels = constant_pixels(s, value);
  s.sop_uid = "1.2.3." + std::to_string(static_cast<int>(z * 10) + 1000) + "." +
              std::to_string(value + 5000);
  return s;
}

void write_numbered(const TemporaryDirectory& directory, const std::vector<DicomSlice>& slices) {
  for (std::size_t i = 0; i < slices.size(); ++i) {
    write_dicom(directory.path() / std::string("f").append(std::to_string(i)), slices[i]);
  }
}

TEST(Synthetic, EqualSlicesAreDroppedAndNamed) {
  TemporaryDirectory directory;
  write_numbered(directory, {slice_at(0, 1), slice_at(2, 2), slice_at(2, 2), slice_at(4, 3)});
  const Scan scan = scan_all(directory);
  ASSERT_EQ(scan.series.size(), 1U);
  EXPECT_EQ(scan.series[0].code, Code::USED);
  EXPECT_EQ(scan.series[0].planes.size(), 3U);
  EXPECT_EQ(scan.files[1].code, Code::USED);
  EXPECT_EQ(scan.files[2].code, Code::DUPLICATE_FILE);
  const auto loaded = read_series(scan, scan.series[0], {});
  ASSERT_TRUE(loaded.ok());
  EXPECT_EQ(loaded.value().duplicate_files, std::vector<std::size_t>{2});
  EXPECT_EQ(loaded.value().files, (std::vector<std::size_t>{0, 1, 3}));
}

TEST(Synthetic, DifferentSlicesAtOnePlaceAreRefused) {
  TemporaryDirectory directory;
  write_numbered(directory, {slice_at(0, 1), slice_at(2, 2), slice_at(2, 7), slice_at(4, 3)});
  const Scan scan = scan_all(directory);
  ASSERT_EQ(scan.series.size(), 1U);
  EXPECT_EQ(scan.series[0].code, Code::DUPLICATE_POSITION);
  EXPECT_FALSE(read_series(scan, scan.series[0], {}).ok());
}

TEST(Synthetic, AcquisitionsAreSplitOnlyWhereTheyCollide) {
  TemporaryDirectory directory;
  std::vector<DicomSlice> slices;
  for (int phase = 0; phase < 2; ++phase) {
    for (int k = 0; k < 3; ++k) {
      DicomSlice s = slice_at(2 * k, 10 * phase + k);
      s.edit = [phase](DcmDataset& d) {
        d.putAndInsertString(DCM_AcquisitionNumber, phase == 0 ? "1" : "2");
      };
      slices.push_back(s);
    }
  }
  write_numbered(directory, slices);
  const Scan split = scan_all(directory);
  ASSERT_EQ(split.series.size(), 2U);
  EXPECT_EQ(split.series[0].key, "1.2.3#1");
  EXPECT_EQ(split.series[1].key, "1.2.3#2");
  for (const Series& s : split.series) EXPECT_EQ(s.planes.size(), 3U);
  EXPECT_EQ(read_series(split, split.series[0], {}).value().volume.hu.front(), 0);
  EXPECT_EQ(read_series(split, split.series[1], {}).value().volume.hu.front(), 10);

  TemporaryDirectory stacked;
  for (std::size_t i = 3; i < 6; ++i) slices[i].position[2] += 6;
  write_numbered(stacked, slices);
  const Scan whole = scan_all(stacked);
  ASSERT_EQ(whole.series.size(), 1U);
  EXPECT_EQ(whole.series[0].key, "1.2.3");
  EXPECT_EQ(whole.series[0].planes.size(), 6U);
}

TEST(Synthetic, MatrixAndOrientationSplitASeries) {
  TemporaryDirectory directory;
  std::vector<DicomSlice> slices{slice_at(0, 1), slice_at(2, 2), slice_at(4, 3)};
  DicomSlice sagittal = slice_at(0, 4);
  sagittal.row_axis = {0, 1, 0};
  sagittal.column_axis = {0, 0, -1};
  slices.push_back(sagittal);
  DicomSlice small = slice_at(9, 5);
  small.columns = 4;
  small.pixels = constant_pixels(small, 5);
  slices.push_back(small);
  write_numbered(directory, slices);
  const Scan scan = scan_all(directory);
  ASSERT_EQ(scan.series.size(), 3U);
  EXPECT_EQ(scan.files[3].code, Code::NOT_AXIAL);
  EXPECT_EQ(scan.files[0].code, Code::USED);
}

TEST(Synthetic, EmptySeriesUidsFallBackToTheDirectory) {
  TemporaryDirectory directory;
  std::filesystem::create_directories(directory.path() / "a");
  std::filesystem::create_directories(directory.path() / "b");
  for (int k = 0; k < 3; ++k) {
    DicomSlice s = slice_at(k, k);
    s.series_uid = "";
    write_dicom(directory.path() / "a" / std::to_string(k), s);
    s.pixels = constant_pixels(s, 50 + k);
    write_dicom(directory.path() / "b" / std::to_string(k), s);
  }
  const Scan scan = scan_all(directory);
  ASSERT_EQ(scan.series.size(), 2U);
  EXPECT_NE(scan.series[0].key, scan.series[1].key);
  EXPECT_EQ(scan.series[0].planes.size(), 3U);
}

TEST(Synthetic, OrientationsBecomeCanonical) {
  // The same world function through every axis-aligned in-plane orientation.
  const auto truth = [](const Vec3& p) { return std::lround(3 * p[0] + 100 * p[1] + 1000 * p[2]); };
  const std::vector<std::pair<Vec3, Vec3>> orientations{
      {{1, 0, 0}, {0, 1, 0}},   {{-1, 0, 0}, {0, 1, 0}}, {{1, 0, 0}, {0, -1, 0}},
      {{-1, 0, 0}, {0, -1, 0}}, {{0, 1, 0}, {1, 0, 0}},  {{0, -1, 0}, {1, 0, 0}},
      {{0, 1, 0}, {-1, 0, 0}},  {{0, -1, 0}, {-1, 0, 0}}};
  for (const auto& [row, column] : orientations) {
    TemporaryDirectory directory;
    std::vector<DicomSlice> slices;
    for (const int k : {2, 0, 1}) {
      DicomSlice s = slice_at(2.5 * k, k);
      s.row_axis = row;
      s.column_axis = column;
      s.pixel_x_mm = 2;
      s.pixel_y_mm = 3;
      for (std::int64_t j = 0; j < s.rows; ++j) {
        for (std::int64_t i = 0; i < s.columns; ++i) {
          const Vec3 p = s.position + (2.0 * static_cast<double>(i)) * row +
                         (3.0 * static_cast<double>(j)) * column;
          s.pixels[static_cast<std::size_t>(j * s.columns + i)] =
              static_cast<std::uint16_t>(truth(p));
        }
      }
      slices.push_back(s);
    }
    write_numbered(directory, slices);
    const Scan scan = scan_all(directory);
    ASSERT_EQ(scan.series.size(), 1U);
    const auto loaded = read_series(scan, scan.series[0], {});
    ASSERT_TRUE(loaded.ok());
    const Volume& v = loaded.value().volume;
    EXPECT_GT(v.geometry.axis[0][0], 0.99);
    EXPECT_GT(v.geometry.axis[1][1], 0.99);
    EXPECT_GT(v.geometry.axis[2][2], 0.99);
    for (std::int64_t z = 0; z < 3; ++z) {
      for (std::int64_t y = 0; y < v.geometry.size[1]; ++y) {
        for (std::int64_t x = 0; x < v.geometry.size[0]; ++x) {
          const Vec3 p = v.geometry.world(
              {static_cast<double>(x), static_cast<double>(y), static_cast<double>(z)});
          ASSERT_EQ(v.slice(z)[static_cast<std::size_t>(y * v.geometry.size[0] + x)], truth(p));
        }
      }
    }
  }
}

TEST(Synthetic, TiltedPlanesKeepEveryPointInPlace) {
  // A linear function is met exactly by linear interpolation, wherever the grid lies.
  const double angle = 20 * std::numbers::pi / 180;
  const auto truth = [](const Vec3& p) { return 10 * p[0] + 7 * p[1] - 5 * p[2]; };
  TemporaryDirectory directory;
  std::vector<DicomSlice> slices;
  for (int k = 0; k < 7; ++k) {
    DicomSlice s = slice_at(0, k);
    s.columns = 20;
    s.rows = 30;
    s.column_axis = {0, std::cos(angle), -std::sin(angle)};
    s.position = {-10, -12.3, 4.0 * k + (k > 4 ? 1.5 : 0)};  // uneven, along the table
    s.pixels = constant_pixels(s, 0);
    s.sop_uid = "1.2.3.9." + std::to_string(k + 1);
    for (std::int64_t j = 0; j < s.rows; ++j) {
      for (std::int64_t i = 0; i < s.columns; ++i) {
        const Vec3 p = s.position + static_cast<double>(i) * s.row_axis +
                       static_cast<double>(j) * s.column_axis;
        s.pixels[static_cast<std::size_t>(j * s.columns + i)] =
            static_cast<std::uint16_t>(std::lround(truth(p)));
      }
    }
    slices.push_back(s);
  }
  write_numbered(directory, slices);
  const Scan scan = scan_all(directory);
  ASSERT_EQ(scan.series.size(), 1U);
  EXPECT_NEAR(scan.series[0].tilt_deg, 20, 1e-3);
  const auto loaded = read_series(scan, scan.series[0], {});
  ASSERT_TRUE(loaded.ok());
  const Volume& v = loaded.value().volume;
  std::int64_t inside = 0;
  for (std::int64_t z = 0; z < 7; ++z) {
    const double expected_z = slices[static_cast<std::size_t>(z)].position[2] * std::cos(angle) +
                              slices[static_cast<std::size_t>(z)].position[1] * std::sin(angle);
    EXPECT_NEAR(v.z_mm[static_cast<std::size_t>(z)], expected_z, 1e-6);
    for (std::int64_t y = 0; y < v.geometry.size[1]; ++y) {
      for (std::int64_t x = 0; x < v.geometry.size[0]; ++x) {
        const int hu = v.slice(z)[static_cast<std::size_t>(y * v.geometry.size[0] + x)];
        if (hu == -1024) continue;
        const Vec3 p = v.slice_origin_mm[static_cast<std::size_t>(z)] +
                       static_cast<double>(x) * v.geometry.axis[0] +
                       static_cast<double>(y) * v.geometry.axis[1];
        ASSERT_NEAR(hu, truth(p), 1.01);
        ++inside;
      }
    }
  }
  // At most one line per slice may fall between pixels.
  EXPECT_GE(inside, 7 * 20 * 29);
}

TEST(Synthetic, BitsOutsideBitsStoredAreDropped) {
  TemporaryDirectory directory;
  DicomSlice s = slice_at(0, 0);
  s.bits_stored = 12;
  s.slope = 0.5;
  s.intercept = -3;
  s.pixels = constant_pixels(s, 0xA000 | 0x0FFF);  // -1 in 12 bits, overlay bits above
  s.pixels[1] = 0x07FF;                            // 2047
  s.pixels[2] = 0x0001;                            // 0.5 - 3 = -2.5, half to even: -2
  s.pixels[3] = 0x0003;                            // 1.5 - 3 = -1.5: -2
  s.edit = [](DcmDataset& d) {
    d.putAndInsertUint16(DcmTag(0x6000, 0x0102, EVR_US), 13);  // OverlayBitPosition
  };
  write_dicom(directory.path() / "a", s);
  const Scan scan = scan_all(directory);
  const auto loaded = read_series(scan, scan.series.at(0), {});
  ASSERT_TRUE(loaded.ok());
  const auto& hu = loaded.value().volume.hu;
  EXPECT_EQ(hu[0], -4);    // -3.5 half to even
  EXPECT_EQ(hu[1], 1020);  // 1020.5 half to even
  EXPECT_EQ(hu[2], -2);
  EXPECT_EQ(hu[3], -2);
}

TEST(Synthetic, PaddingRangeBecomesAir) {
  TemporaryDirectory directory;
  DicomSlice s = slice_at(0, 40);
  s.pixels[0] = static_cast<std::uint16_t>(-2000);
  s.pixels[1] = static_cast<std::uint16_t>(-1995);
  s.pixels[2] = static_cast<std::uint16_t>(-1989);
  s.edit = [](DcmDataset& d) {
    d.putAndInsertSint16(DCM_PixelPaddingValue, -2000);
    d.putAndInsertSint16(DCM_PixelPaddingRangeLimit, -1990);
  };
  write_dicom(directory.path() / "a", s);
  const Scan scan = scan_all(directory);
  const auto loaded = read_series(scan, scan.series.at(0), {});
  ASSERT_TRUE(loaded.ok());
  EXPECT_EQ(loaded.value().stored.padding_voxels, 2);
  EXPECT_EQ(loaded.value().stored.minimum, -2000);
  EXPECT_EQ(loaded.value().volume.hu[0], -1024);
  EXPECT_EQ(loaded.value().volume.hu[1], -1024);
  EXPECT_EQ(loaded.value().volume.hu[2], -1989);
}

TEST(Synthetic, HeadersThatLieAreNamed) {
  TemporaryDirectory directory;
  DicomSlice rows = slice_at(0, 1);
  rows.edit = [](DcmDataset& d) { d.putAndInsertUint16(DCM_Rows, 4000); };
  write_dicom(directory.path() / "0", rows);
  DicomSlice spacing = slice_at(1, 1);
  spacing.edit = [](DcmDataset& d) { d.putAndInsertString(DCM_PixelSpacing, "0\\1"); };
  write_dicom(directory.path() / "1", spacing);
  DicomSlice position = slice_at(2, 1);
  position.edit = [](DcmDataset& d) { delete d.remove(DCM_ImagePositionPatient); };
  write_dicom(directory.path() / "2", position);
  DicomSlice frames = slice_at(3, 1);
  frames.edit = [](DcmDataset& d) { d.putAndInsertString(DCM_NumberOfFrames, "1000000000000"); };
  write_dicom(directory.path() / "3", frames);
  DicomSlice whole = slice_at(4, 1);
  write_dicom(directory.path() / "4", whole);
  std::filesystem::resize_file(directory.path() / "4",
                               std::filesystem::file_size(directory.path() / "4") - 10);
  std::ofstream(directory.path() / "5");
  DicomSlice mip = slice_at(6, 1);
  mip.image_type = "DERIVED\\SECONDARY\\AXIAL\\MIP";
  write_dicom(directory.path() / "6", mip);
  DicomSlice lossy = slice_at(7, 1);
  lossy.image_type = "DERIVED\\PRIMARY\\AXIAL";
  lossy.edit = [](DcmDataset& d) { d.putAndInsertString(DCM_LossyImageCompression, "01"); };
  write_dicom(directory.path() / "7", lossy);
  const Scan scan = scan_all(directory);
  const std::vector<Code> expected{
      Code::BAD_HEADER,     Code::BAD_HEADER, Code::NO_POSITION, Code::BAD_HEADER,
      Code::TRUNCATED_FILE, Code::EMPTY_FILE, Code::DERIVED,     Code::USED};
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(to_string(scan.files.at(i).code), to_string(expected[i]))
        << i << " " << scan.files[i].detail;
  }
  const auto used = std::find_if(scan.series.begin(), scan.series.end(),
                                 [](const Series& s) { return s.code == Code::USED; });
  ASSERT_NE(used, scan.series.end());
  EXPECT_EQ(used->flags, std::vector<Code>{Code::LOSSY_SOURCE});
}

TEST(Synthetic, FilesWithoutMetaHeaderAreRead) {
  for (const auto syntax :
       {EXS_LittleEndianImplicit, EXS_LittleEndianExplicit, EXS_BigEndianExplicit}) {
    TemporaryDirectory directory;
    write_dicom(directory.path() / "slice", slice_at(0, 321), syntax, false);
    const Scan scan = scan_all(directory);
    ASSERT_EQ(scan.series.size(), 1U) << scan.files.at(0).detail;
    const auto loaded = read_series(scan, scan.series[0], {});
    ASSERT_TRUE(loaded.ok());
    EXPECT_EQ(loaded.value().volume.hu.front(), 321);
  }
}

TEST(Synthetic, TextBecomesUtf8) {
  struct Charset {
    const char* name;
    const char* bytes;
    const char* utf8;
  };
  for (const auto& [name, bytes, utf8] :
       {Charset{"ISO_IR 100", "M\xFCller", "M\xC3\xBCller"},
        Charset{"ISO_IR 192", "M\xC3\xBCller", "M\xC3\xBCller"},
        Charset{"ISO_IR 144", "\xBB\xEE", "\xD0\x9B\xD1\x8E"},
        Charset{"ISO_IR 13", "\xD4\xCF", "\xEF\xBE\x94\xEF\xBE\x8F"},
        Charset{"ISO_IR 166", "\xA1", "\xE0\xB8\x81"},
        Charset{"GB18030", "\xCD\xF5", "\xE7\x8E\x8B"},
        Charset{"\\ISO 2022 IR 149", "\033$)C\xFB\xF3", "\xE6\xB4\xAA"},
        Charset{"", "M\xFCller", "M\xC3\xBCller"},
        Charset{"NONSENSE", "M\xFCller", "M\xC3\xBCller"}}) {
    TemporaryDirectory directory;
    DicomSlice s = slice_at(0, 1);
    s.patient_id = bytes;
    s.edit = [name = name](DcmDataset& d) { d.putAndInsertString(DCM_SpecificCharacterSet, name); };
    write_dicom(directory.path() / "a", s);
    EXPECT_EQ(scan_all(directory).series.at(0).patient_id, utf8) << name;
  }
}

DcmItem& group_item(DcmItem& holder, const DcmTagKey& macro) {
  DcmItem* item = nullptr;
  holder.findOrCreateSequenceItem(macro, item, 0);
  return *item;
}

TEST(Synthetic, EnhancedFramesHaveTheirOwnPositionAndRescale) {
  TemporaryDirectory directory;
  DicomSlice s;
  s.sop_class = UID_EnhancedCTImageStorage;
  s.columns = 4;
  s.rows = 3;
  const std::vector<double> heights{5, 0, 2.5};
  for (int f = 0; f < 3; ++f)
    s.pixels.insert(s.pixels.end(), 12, static_cast<std::uint16_t>(100 + f));
  s.edit = [&](DcmDataset& d) {
    for (const DcmTagKey& tag :
         {DCM_ImagePositionPatient, DCM_ImageOrientationPatient, DCM_PixelSpacing,
          DCM_SliceThickness, DCM_RescaleSlope, DCM_RescaleIntercept}) {
      delete d.remove(tag);
    }
    d.putAndInsertString(DCM_NumberOfFrames, "3");
    DcmItem* shared = nullptr;
    d.findOrCreateSequenceItem(DCM_SharedFunctionalGroupsSequence, shared, 0);
    group_item(*shared, DCM_PlaneOrientationSequence)
        .putAndInsertString(DCM_ImageOrientationPatient, "1\\0\\0\\0\\1\\0");
    DcmItem& measures = group_item(*shared, DCM_PixelMeasuresSequence);
    measures.putAndInsertString(DCM_PixelSpacing, "0.7\\0.8");
    measures.putAndInsertString(DCM_SliceThickness, "2.5");
    for (int f = 0; f < 3; ++f) {
      DcmItem* frame = nullptr;
      d.findOrCreateSequenceItem(DCM_PerFrameFunctionalGroupsSequence, frame, f);
      const std::string position = "1\\2\\" + std::to_string(heights[static_cast<std::size_t>(f)]);
      group_item(*frame, DCM_PlanePositionSequence)
          .putAndInsertString(DCM_ImagePositionPatient, position.c_str());
      DcmItem& transform = group_item(*frame, DCM_PixelValueTransformationSequence);
      transform.putAndInsertString(DCM_RescaleSlope, "2");
      transform.putAndInsertString(DCM_RescaleIntercept, std::to_string(-1000 * f).c_str());
    }
  };
  write_dicom(directory.path() / "enhanced", s);
  const Scan scan = scan_all(directory);
  ASSERT_EQ(scan.series.size(), 1U);
  EXPECT_EQ(scan.series[0].code, Code::USED) << scan.series[0].detail;
  const auto loaded = read_series(scan, scan.series[0], {});
  ASSERT_TRUE(loaded.ok());
  const Volume& v = loaded.value().volume;
  EXPECT_EQ(v.z_mm, (std::vector<double>{0, 2.5, 5}));
  EXPECT_NEAR(v.geometry.spacing_mm[0], 0.8, 1e-9);
  EXPECT_NEAR(v.geometry.spacing_mm[1], 0.7, 1e-9);
  EXPECT_EQ(v.slice(0)[0], 2 * 101 - 1000);
  EXPECT_EQ(v.slice(1)[0], 2 * 102 - 2000);
  EXPECT_EQ(v.slice(2)[0], 2 * 100);
}

Series scored(const std::string& description, const std::string& kernel,
              const std::string& acquired = "", const std::string& injected = "") {
  TemporaryDirectory directory;
  for (int k = 0; k < 3; ++k) {
    DicomSlice s = slice_at(2.5 * k, k);
    s.edit = [&](DcmDataset& d) {
      d.putAndInsertString(DCM_SeriesDescription, description.c_str());
      d.putAndInsertString(DCM_ConvolutionKernel, kernel.c_str());
      if (!acquired.empty()) d.putAndInsertString(DCM_AcquisitionTime, acquired.c_str());
      if (!injected.empty()) d.putAndInsertString(DCM_ContrastBolusStartTime, injected.c_str());
    };
    write_dicom(directory.path() / std::to_string(k), s);
  }
  return scan_all(directory).series.at(0);
}

TEST(Score, PhaseComesFromWordsOrTiming) {
  EXPECT_EQ(scored("Abdomen portal 3mm", "").phase, Phase::portal);
  EXPECT_EQ(scored("ABDO PV 1.25", "").phase, Phase::portal);
  EXPECT_EQ(scored("Foie temps veineux", "").phase, Phase::portal);
  EXPECT_EQ(scored("Leber ven\xF6s", "").phase, Phase::portal);
  EXPECT_EQ(scored("Arterial liver", "").phase, Phase::arterial);
  EXPECT_EQ(scored("tardif 5 min", "").phase, Phase::delayed);
  EXPECT_EQ(scored("sans injection", "").phase, Phase::unenhanced);
  EXPECT_EQ(scored("arterial and venous", "").phase, Phase::unknown);
  EXPECT_EQ(scored("", "", "101510", "101400").phase, Phase::portal);
  EXPECT_EQ(scored("", "", "101430", "101400").phase, Phase::arterial);
  EXPECT_EQ(scored("Thorax 70s", "").phase, Phase::portal);
  EXPECT_EQ(scored("ABDOMEN", "").phase, Phase::unknown);
}

TEST(Score, PortalSoftWinsAndReasonsHoldNoHeaderText) {
  const Series portal = scored("PORTAL secretname", "B30f");
  const Series arterial = scored("ARTERIAL secretname", "B30f");
  const Series sharp = scored("PORTAL secretname", "B70f");
  EXPECT_GT(portal.score, arterial.score);
  EXPECT_GT(portal.score, sharp.score);
  EXPECT_EQ(portal.kernel_class, "soft");
  EXPECT_EQ(sharp.kernel_class, "sharp");
  double total = 0;
  for (const ScoreReason& reason : portal.reasons) {
    total += reason.points;
    EXPECT_EQ(reason.why.find("secret"), std::string::npos);
    EXPECT_EQ(reason.why.find("B30"), std::string::npos);
  }
  EXPECT_DOUBLE_EQ(total, portal.score);
}

TEST(Determinism, ThreadsDoNotChangeTheScan) {
  WSP_REQUIRE_TEST_DATA(data);
  ScanOptions options;
  options.min_slices = 1;
  std::vector<std::string> texts;
  for (const std::size_t threads : {1, 2, 8}) {
    const tbb::global_control limit(tbb::global_control::max_allowed_parallelism, threads);
    const Scan scan = scan_export(data / "dicomdir", options);
    std::string text;
    for (const FileEntry& f : scan.files)
      text += f.relative_path + std::string(to_string(f.code)) + f.detail + "\n";
    for (const Series& s : scan.series) {
      text += s.key + s.relative_path + std::to_string(s.score);
      for (const Plane& p : s.planes) text.append(" ").append(std::to_string(p.file));
      if (s.code != Code::USED) continue;
      const auto hashes = read_series(scan, s, {false, false, true}).value().file_hashes;
      for (const Digest& hash : hashes) text += hex(hash);
    }
    texts.push_back(text);
  }
  EXPECT_EQ(texts[0], texts[1]);
  EXPECT_EQ(texts[0], texts[2]);
}

}  // namespace
}  // namespace wsp

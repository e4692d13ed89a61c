// Series written for the purpose, with known truth: which slices make one volume, and where.
#include <gtest/gtest.h>
#include <tbb/global_control.h>

#include <cmath>
#include <numbers>

#include "four_slices.hpp"
#include "synthetic_support.hpp"

namespace wsp {
namespace {

using test::constant_pixels;
using test::DicomSlice;
using test::group_item;
using test::scan_all;
using test::slice_at;
using test::TemporaryDirectory;
using test::write_dicom;

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

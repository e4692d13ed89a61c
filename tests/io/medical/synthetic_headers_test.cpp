// Headers written for the purpose: bits, padding, text, lies and scores.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "dicom_writer.hpp"
#include "io/medical/scan.hpp"
#include "support/test_data.hpp"
#include "synthetic_support.hpp"

namespace wsp {
namespace {

using test::constant_pixels;
using test::DicomSlice;
using test::scan_all;
using test::slice_at;
using test::TemporaryDirectory;
using test::write_dicom;

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

}  // namespace
}  // namespace wsp

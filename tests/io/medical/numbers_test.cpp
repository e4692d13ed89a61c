// Numbers that are none: the whole series is refused by the name of the element.
#include <dcmtk/config/osconfig.h>
#include <gtest/gtest.h>

#include "four_slices.hpp"
#include "io/medical/dicom_text.hpp"
#include "io/medical/scan.hpp"
#include "support/test_data.hpp"

namespace wsp {
namespace {

using test::expect_truth;
using test::scan_all;
using test::stack;
using test::TemporaryDirectory;
using test::verdict;

TEST(Number, IsParsedWhole) {
  const auto parsed = [](const char* text) { return dicom::parse_number(text); };
  EXPECT_EQ(parsed("-01.024000E+03"), -1024.0);
  EXPECT_EQ(parsed("000052"), 52.0);
  EXPECT_EQ(parsed("+1.5"), 1.5);
  EXPECT_EQ(parsed("2e-1"), 0.2);
  EXPECT_EQ(parsed(".5"), 0.5);
  EXPECT_EQ(parsed("5."), 5.0);
  for (const char* wrong : {"", "2,75", "1,5", "1.5mm", "1 024", "0x10", "inf", "nan", "+-1", "--1",
                            "1e", "1e999", "1.2.3", "1/2", "+"})
    EXPECT_FALSE(parsed(wrong)) << wrong;
}

TEST(Number, TimeIsParsedWhole) {
  const auto time = [](const char* text) { return dicom::seconds_of_day(text); };
  EXPECT_EQ(time("101510"), 36910.0);
  EXPECT_EQ(time("1015"), 36900.0);
  EXPECT_EQ(time("10"), 36000.0);
  EXPECT_DOUBLE_EQ(time("101510.25").value_or(0), 36910.25);
  EXPECT_EQ(time("10:15:10"), 36910.0);
  EXPECT_DOUBLE_EQ(time("20200102101510.5+0200").value_or(0), 36910.5);
  for (const char* wrong : {"", "1", "101", "24", "1060", "101510,5", "101510 ", "20200102",
                            "10:15 Uhr", "101510.", "1015101"})
    EXPECT_FALSE(time(wrong)) << wrong;
}

TEST(Number, ThatIsNoneRefusesTheWholeSeriesByTheElementsName) {
  struct Lie {
    DcmTagKey tag;
    const char* value;
    const char* detail;
  };
  for (const Lie& lie :
       {Lie{DCM_RescaleSlope, "1,5", "RescaleSlope is no number: a decimal comma"},
        Lie{DCM_RescaleIntercept, "-1024,0", "RescaleIntercept is no number: a decimal comma"},
        Lie{DCM_RescaleIntercept, "none", "RescaleIntercept is no number"},
        Lie{DCM_RescaleSlope, "1\\2", "RescaleSlope has 2 values, expected 1"},
        Lie{DCM_PixelSpacing, "0,7\\0,7", "PixelSpacing is no number: a decimal comma"},
        Lie{DCM_PixelSpacing, "1\\1\\1", "PixelSpacing has 3 values, expected 2"},
        Lie{DCM_ImagePositionPatient, "0\\0\\2,75",
            "ImagePositionPatient is no number: a decimal comma"},
        Lie{DCM_ImageOrientationPatient, "1\\0\\0\\0\\1\\0,0",
            "ImageOrientationPatient is no number: a decimal comma"}}) {
    // In one slice only: the others must not be taken without it.
    const TemporaryDirectory directory;
    const Scan scan = stack(directory, [&](int k, DcmDataset& d) {
      if (k == 2) d.putAndInsertString(lie.tag, lie.value);
    });
    if (lie.tag == DCM_PixelSpacing || lie.tag == DCM_ImageOrientationPatient) {
      for (const FileEntry& file : scan.files) EXPECT_EQ(to_string(file.code), "BAD_HEADER");
      for (const Series& s : scan.series)
        EXPECT_EQ(s.detail, std::string(lie.detail) + " (1 of 4 slices)");
    } else {
      EXPECT_EQ(verdict(scan), "BAD_HEADER: " + std::string(lie.detail) + " (1 of 4 slices)");
    }
    for (const Series& s : scan.series) EXPECT_FALSE(read_series(scan, s, {}).ok());
    EXPECT_EQ(scan.files.at(2).detail, lie.detail);
    // No option overrules a number that is none.
    for (const Series& s : scan_all(directory.path(), true).series)
      EXPECT_EQ(to_string(s.code), "BAD_HEADER");
  }
}

TEST(Number, MayBePaddedAndSigned) {
  const TemporaryDirectory directory;
  expect_truth(stack(directory, [](int k, DcmDataset& d) {
    d.putAndInsertString(DCM_RescaleSlope, " +2.0 ");
    d.putAndInsertString(DCM_RescaleIntercept, "-01.024000E+03");
    d.putAndInsertString(DCM_ImagePositionPatient,
                         ("+1 \\ 002.0\\ " + std::to_string(2 * k) + " ").c_str());
  }));
}

}  // namespace
}  // namespace wsp

// Stored words that contradict their header.
#include <dcmtk/config/osconfig.h>
#include <gtest/gtest.h>

#include "dicom_writer.hpp"
#include "four_slices.hpp"
#include "io/medical/scan.hpp"
#include "support/test_data.hpp"

namespace wsp {
namespace {

using test::constant_pixels;
using test::DicomSlice;
using test::Edit;
using test::scan_all;
using test::TemporaryDirectory;
using test::write_dicom;

/// A stack of one slice per vector of words.
struct Words {
  bool is_signed = true;
  int bits_stored = 12;
  double intercept = 0;
  std::vector<std::vector<int>> slices;
  Edit edit = [](int, DcmDataset&) {};
};

Outcome<LoadedVolume> read_words(const Words& words) {
  const TemporaryDirectory directory;
  for (std::size_t k = 0; k < words.slices.size(); ++k) {
    DicomSlice s;
    s.position[2] = 2.0 * static_cast<double>(k);
    s.thickness_mm = 2;
    s.sop_uid = "1.2.3." + std::to_string(k + 1);
    s.is_signed = words.is_signed;
    s.bits_stored = words.bits_stored;
    s.intercept = words.intercept;
    s.pixels = constant_pixels(s, 40);
    for (std::size_t i = 0; i < words.slices[k].size(); ++i)
      s.pixels[i] = static_cast<std::uint16_t>(words.slices[k][i]);
    s.edit = [&](DcmDataset& d) { words.edit(static_cast<int>(k), d); };
    write_dicom(directory.path() / std::to_string(k), s);
  }
  const Scan scan = scan_all(directory.path());
  return read_series(scan, scan.series.at(0), {});
}

std::string outcome(const Words& words) {
  const auto read = read_words(words);
  return read ? "USED" : std::string(to_string(read.rejection().code));
}

TEST(Words, ThatContradictTheHeaderRefuseTheSeries) {
  // Signed 12 bits declared over whole words: 2600 would be -1496. The sign of air in one slice and
  // the metal in another tell it together.
  EXPECT_EQ(outcome({true, 12, 0, {{-1000, -1000}, {2600}}}), "PIXELS_CONTRADICT");
  // Below what 12 bits hold, and above.
  EXPECT_EQ(outcome({true, 12, 0, {{-3024}, {40}}}), "PIXELS_CONTRADICT");
  EXPECT_EQ(outcome({false, 12, -1024, {{5000}, {40}}}), "PIXELS_CONTRADICT");
  EXPECT_EQ(outcome({true, 12, 0, {{5000}, {40}}}), "PIXELS_CONTRADICT");
  // Unsigned over signed words, with either intercept.
  EXPECT_EQ(outcome({false, 16, 0, {{-1000, -900}, {40}}}), "PIXELS_CONTRADICT");
  EXPECT_EQ(outcome({false, 16, -1024, {{-30}, {1064}}}), "PIXELS_CONTRADICT");
  EXPECT_EQ(outcome({false, 16, -1024, {{-2000}, {1064}}}), "PIXELS_CONTRADICT");
  // Signed over unsigned words of 12 bits: bone of 1176 HU and more would be -2920.
  EXPECT_EQ(outcome({true, 12, -1024, {{2200, 2300, 2400}, {1064}}}), "PIXELS_CONTRADICT");
  const auto read = read_words({false, 16, 0, {{-1000, -1000}, {40}}});
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(read.rejection().detail,
            "PixelRepresentation is unsigned, but 2 pixels are signed words: one reads 64536 HU");
}

TEST(Words, ThatAgreeWithTheHeaderAreRead) {
  // Signed 12 bits: with the sign extended, and without.
  EXPECT_EQ(outcome({true, 12, 0, {{-1000, -2000, 2047}, {40}}}), "USED");
  const auto bare = read_words({true, 12, 0, {{-1000 & 0xFFF, -2000 & 0xFFF, 2047}, {40}}});
  ASSERT_TRUE(bare.ok());
  EXPECT_EQ(bare.value().volume.hu[0], -1000);
  EXPECT_EQ(bare.value().volume.hu[1], -2000);
  // Noise below air, and a constant outside the field of view.
  EXPECT_EQ(outcome({true, 12, -1024, {{-1 & 0xFFF, -150 & 0xFFF, -90 & 0xFFF}, {1064}}}), "USED");
  EXPECT_EQ(outcome({true, 12, -1024, {{-2000 & 0xFFF, -2000 & 0xFFF}, {1064}}}), "USED");
  EXPECT_EQ(outcome({false, 12, -1024, {{0, 4095}, {1064}}}), "USED");
  // Unsigned 16 bits: metal on an extended scale, one saturated pixel.
  EXPECT_EQ(outcome({false, 16, -1024, {{31000, 65535}, {1064}}}), "USED");
  EXPECT_EQ(outcome({true, 16, 0, {{-32768, 32767}, {40}}}), "USED");
}

TEST(Words, OverlaysAndPaddingMayLieInTheHighBits) {
  const auto overlay = [](int, DcmDataset& d) {
    d.putAndInsertUint16(DcmTag(0x6000, 0x0100, EVR_US), 16);
    d.putAndInsertUint16(DcmTag(0x6000, 0x0102, EVR_US), 12);
  };
  const auto read = read_words({false, 12, -1024, {{1064 | 0x1000}, {1064}}, overlay});
  ASSERT_TRUE(read.ok()) << read.rejection().detail;
  EXPECT_EQ(read.value().volume.hu[0], 40);
  // Not declared, bit 12 may be the number's own; bit 15 cannot.
  EXPECT_EQ(outcome({false, 12, -1024, {{1064 | 0x1000}, {1064}}}), "PIXELS_CONTRADICT");
  EXPECT_EQ(outcome({false, 12, -1024, {{2064 | 0x8000}, {1064}}}), "USED");
  const auto padding = [](int, DcmDataset& d) {
    d.putAndInsertUint16(DCM_PixelPaddingValue, 63536);
  };
  for (const int bits : {12, 16}) {
    const auto padded = read_words({false, bits, -1024, {{-2000, 1064}, {1064}}, padding});
    ASSERT_TRUE(padded.ok()) << padded.rejection().detail;
    EXPECT_EQ(padded.value().volume.hu[0], -1024);
    EXPECT_EQ(padded.value().stored.padding_voxels, 1);
  }
}

TEST(Words, ReportedLiesAreRefused) {
  WSP_REQUIRE_TEST_DATA(data);
  for (const char* folder : {"04-signed12-lies", "05c-pixelrep-unsigned"}) {
    const Scan scan = scan_all(data / "reported" / folder / "in");
    ASSERT_EQ(scan.series.size(), 1U);
    const auto read = read_series(scan, scan.series[0], {});
    ASSERT_FALSE(read.ok()) << folder;
    EXPECT_EQ(to_string(read.rejection().code), "PIXELS_CONTRADICT") << read.rejection().detail;
  }
  for (const auto& [folder, expected] :
       {std::pair("05-rescale-missing/in", "RESCALE_MISSING"),
        std::pair("05d-rescaletype-ed/in", "NOT_HU"), std::pair("r-zeff/export", "NOT_HU"),
        std::pair("03-comma-ipp/in", "BAD_HEADER"),
        std::pair("03c-comma-slope/in", "BAD_HEADER")}) {
    const Scan scan = scan_all(data / "reported" / folder);
    ASSERT_EQ(scan.series.size(), 1U) << folder;
    EXPECT_EQ(to_string(scan.series[0].code), expected) << folder << scan.series[0].detail;
  }
}

}  // namespace
}  // namespace wsp

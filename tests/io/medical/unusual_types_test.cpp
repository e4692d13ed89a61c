// Elements under unusual types, and sequences nested without end: read exactly, or refused.
#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dcostrmb.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "four_slices.hpp"
#include "io/medical/dicom_load.hpp"
#include "io/medical/scan.hpp"
#include "medical_support.hpp"
#include "support/test_data.hpp"

namespace wsp {
namespace {

namespace fs = std::filesystem;
using test::enhanced;
using test::expect_truth;
using test::has;
using test::kSlices;
using test::scan_all;
using test::stack;
using test::TemporaryDirectory;
using test::transform_of;

/// Write an element as it is again, as UN, OB or whatever type `type` is of: the bytes are those of
/// implicit VR little endian.
void as_bytes(DcmItem& item, const DcmTagKey& tag, DcmEVR type = EVR_UN) {
  DcmElement* element = item.remove(tag);
  ASSERT_NE(element, nullptr);
  std::vector<Uint8> bytes(1 << 20);
  DcmOutputBufferStream stream(bytes.data(), static_cast<offile_off_t>(bytes.size()));
  element->transferInit();
  ASSERT_TRUE(element->write(stream, EXS_LittleEndianImplicit, EET_ExplicitLength, nullptr).good());
  element->transferEnd();
  void* data = nullptr;
  offile_off_t length = 0;
  stream.flushBuffer(data, length);
  delete element;
  auto unknown = std::make_unique<DcmOtherByteOtherWord>(DcmTag(tag, DcmVR(type)));
  unknown->putUint8Array(bytes.data() + 8, static_cast<unsigned long>(length - 8));
  item.insert(unknown.release(), OFTrue);
}

void as_text(DcmItem& item, const DcmTagKey& tag, DcmEVR type) {
  OFString value;
  ASSERT_TRUE(item.findAndGetOFStringArray(tag, value).good());
  delete item.remove(tag);
  DcmElement* element = nullptr;
  if (type == EVR_UT)
    element = new DcmUnlimitedText(DcmTag(tag, DcmVR(type)));
  else if (type == EVR_LO)
    element = new DcmLongString(DcmTag(tag, DcmVR(type)));
  else
    element = new DcmDecimalString(DcmTag(tag, DcmVR(type)));
  element->putString(value.c_str());
  item.insert(element, OFTrue);
}

const std::vector<DcmTagKey>& needed_tags() {
  static const std::vector<DcmTagKey> kTags{
      DCM_RescaleSlope,   DCM_RescaleIntercept,  DCM_ImagePositionPatient,
      DCM_PixelSpacing,   DCM_SliceThickness,    DCM_ImageOrientationPatient,
      DCM_SOPClassUID,    DCM_SeriesInstanceUID, DCM_PhotometricInterpretation,
      DCM_Rows,           DCM_Columns,           DCM_BitsAllocated,
      DCM_BitsStored,     DCM_HighBit,           DCM_PixelRepresentation,
      DCM_PatientID,      DCM_Modality,          DCM_ImageType,
      DCM_SamplesPerPixel};
  return kTags;
}

TEST(UnusualType, EveryElementIsReadFromUnknownBytes) {
  for (const DcmEVR type : {EVR_UN, EVR_OB})
    for (const DcmTagKey& tag : needed_tags()) {
      SCOPED_TRACE(DcmTag(tag).getTagName());
      const TemporaryDirectory directory;
      const Scan scan = stack(directory, [&](int, DcmDataset& d) { as_bytes(d, tag, type); });
      expect_truth(scan);
      EXPECT_EQ(scan.series.at(0).patient_id, "P");
    }
}

TEST(UnusualType, AllElementsAtOnce) {
  const TemporaryDirectory directory;
  expect_truth(stack(directory, [](int, DcmDataset& d) {
    for (const DcmTagKey& tag : needed_tags()) as_bytes(d, tag);
    as_bytes(d, DCM_PixelData);
  }));
}

TEST(UnusualType, NumbersAreReadFromTextTypesAndBinaryOnes) {
  for (const DcmEVR type : {EVR_LO, EVR_UT})
    for (const DcmTagKey& tag : {DCM_RescaleSlope, DCM_RescaleIntercept, DCM_ImagePositionPatient,
                                 DCM_PixelSpacing, DCM_ImageOrientationPatient, DCM_Rows}) {
      SCOPED_TRACE(DcmTag(tag).getTagName());
      const TemporaryDirectory directory;
      expect_truth(stack(directory, [&](int, DcmDataset& d) { as_text(d, tag, type); }));
    }
  const TemporaryDirectory directory;
  expect_truth(stack(directory, [](int, DcmDataset& d) {
    delete d.remove(DCM_RescaleSlope);
    auto slope = std::make_unique<DcmFloatingPointDouble>(DcmTag(DCM_RescaleSlope, DcmVR(EVR_FD)));
    slope->putFloat64(2);
    d.insert(slope.release());
    delete d.remove(DCM_RescaleIntercept);
    auto below =
        std::make_unique<DcmFloatingPointSingle>(DcmTag(DCM_RescaleIntercept, DcmVR(EVR_FL)));
    below->putFloat32(-1024);
    d.insert(below.release());
    delete d.remove(DCM_BitsStored);
    auto bits = std::make_unique<DcmSignedLong>(DcmTag(DCM_BitsStored, DcmVR(EVR_SL)));
    bits->putSint32(16);
    d.insert(bits.release());
  }));
}

TEST(UnusualType, SequencesAreReadFromUnknownBytesToo) {
  const TemporaryDirectory plain, inner, outer, both;
  expect_truth(enhanced(plain, [](DcmDataset&) {}));
  expect_truth(enhanced(inner, [](DcmDataset& d) {
    for (int f = 0; f < kSlices; ++f) as_bytes(transform_of(d, f), DCM_RescaleSlope);
  }));
  expect_truth(
      enhanced(outer, [](DcmDataset& d) { as_bytes(d, DCM_PerFrameFunctionalGroupsSequence); }));
  expect_truth(enhanced(both, [](DcmDataset& d) {
    as_bytes(d, DCM_PerFrameFunctionalGroupsSequence);
    as_bytes(d, DCM_SharedFunctionalGroupsSequence, EVR_OB);
  }));
}

TEST(UnusualType, ReportedFilesGiveTheControlsSums) {
  WSP_REQUIRE_TEST_DATA(data);
  for (const char* folder : {"00-control", "02-un-rescale", "02b-un-geometry",
                             "15-says-explicit-is-implicit", "12-rtstruct-un-64k"}) {
    const Scan scan = scan_all(data / "reported" / folder / "in");
    ASSERT_EQ(scan.series.size(), 1U) << folder;
    ASSERT_EQ(to_string(scan.series[0].code), "USED") << folder;
    const auto read = read_series(scan, scan.series[0], {});
    ASSERT_TRUE(read.ok()) << folder;
    EXPECT_EQ(read.value().stored.sum, -45675620) << folder;
    EXPECT_EQ(read.value().volume.z_mm.size(), 20U) << folder;
    EXPECT_EQ(has(scan.series[0].flags, Code::SYNTAX_REPAIRED),
              std::string(folder).starts_with("15"));
    EXPECT_EQ(scan.masks.size(), 1U) << folder;
  }
  // Contours of more than 64 KiB, which explicit VR can hold as UN only (PS3.5 6.2.2).
  const fs::path in = data / "reported/12-rtstruct-un-64k/in";
  const LoadedVolume volume = test::load_only_series(in);
  const auto mask = read_rtstruct_mask(in / "rt.dcm", volume, {});
  ASSERT_TRUE(mask.ok()) << mask.rejection().detail;
  EXPECT_EQ(std::count(mask.value().voxels.begin(), mask.value().voxels.end(), 1), 4954);
}

/// A CT's first element, then `levels` sequences in each other, of undefined or of stated length.
std::string nested(int levels, bool explicit_vr, bool stated) {
  const auto number = [](std::uint32_t value) {
    return std::string(reinterpret_cast<const char*>(&value), 4);
  };
  std::string inner;
  for (int i = 0; i < levels; ++i) {
    const std::string item =
        std::string("\xFE\xFF\x00\xE0", 4) +
        number(stated ? static_cast<std::uint32_t>(inner.size()) : 0xFFFFFFFF) + inner +
        (stated ? "" : std::string("\xFE\xFF\x0D\xE0\0\0\0\0", 8));
    inner = std::string("\x08\0\x40\x11", 4) + (explicit_vr ? std::string("SQ\0\0", 4) : "") +
            number(stated ? static_cast<std::uint32_t>(item.size()) : 0xFFFFFFFF) + item +
            (stated ? "" : std::string("\xFE\xFF\xDD\xE0\0\0\0\0", 8));
  }
  const std::string uid = "1.2.840.10008.5.1.4.1.1.2\0";
  return std::string("\x08\0\x16\0", 4) + (explicit_vr ? std::string("UI\x1A\0", 4) : number(26)) +
         std::string(uid.data(), 25) + std::string(1, '\0') + inner;
}

TEST(UnusualFiles, SequencesNestedWithoutEndAreRefusedBeforeTheyAreParsed) {
  const TemporaryDirectory work;
  int n = 0;
  for (const bool explicit_vr : {true, false})
    for (const bool stated : {true, false})
      for (const int levels : {20, 200, 3000}) {
        const fs::path path = work.path() / (std::to_string(n++) + ".dcm");
        if (stated && levels > 200) continue;  // quadratic to write
        std::ofstream(path, std::ios::binary) << nested(levels, explicit_vr, stated);
        DcmFileFormat file;
        const Rejection found = dicom::load(path, file);
        EXPECT_EQ(
            found.code == Code::UNREADABLE && found.detail.find("nested") != std::string::npos,
            levels > 64)
            << levels << (explicit_vr ? " explicit " : " implicit ") << to_string(found.code) << " "
            << found.detail;
      }
}

}  // namespace
}  // namespace wsp

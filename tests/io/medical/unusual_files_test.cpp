// Attributes under unusual types, numbers that are none, values that are no HU, words and transfer
// syntaxes that the header denies: read exactly, or refused by name with the whole series.
#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dcistrmb.h>
#include <dcmtk/dcmdata/dcostrmb.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>

#include "dicom_writer.hpp"
#include "io/medical/dicom_header.hpp"
#include "io/medical/dicom_load.hpp"
#include "io/medical/dicom_text.hpp"
#include "io/medical/scan.hpp"
#include "medical_support.hpp"
#include "support/test_data.hpp"

namespace wsp {
namespace {

namespace fs = std::filesystem;
using test::constant_pixels;
using test::DicomSlice;
using test::TemporaryDirectory;
using test::write_dicom;

constexpr int kSlices = 4;

Scan scan_all(const fs::path& root, bool trust_hu = false) {
  ScanOptions options;
  options.min_slices = 1;
  options.trust_hu = trust_hu;
  return scan_export(root, options);
}

using Edit = std::function<void(int, DcmDataset&)>;

/// Four slices 2 mm apart of 1000 + k stored, slope 2, intercept -1024.
void write_stack(const fs::path& root, const Edit& edit,
                 E_TransferSyntax syntax = EXS_LittleEndianExplicit) {
  initialise_medical_io();
  for (int k = 0; k < kSlices; ++k) {
    DicomSlice s;
    s.position = {1, 2, 2.0 * k};
    s.thickness_mm = 2;
    s.sop_uid = "1.2.3." + std::to_string(k + 1);
    s.pixels = constant_pixels(s, 1000 + k);
    s.slope = 2;
    s.intercept = -1024;
    s.edit = [&](DcmDataset& d) { edit(k, d); };
    write_dicom(root / std::to_string(k), s, syntax);
  }
}

Scan stack(const TemporaryDirectory& directory, const Edit& edit, bool trust_hu = false,
           E_TransferSyntax syntax = EXS_LittleEndianExplicit) {
  write_stack(directory.path(), edit, syntax);
  return scan_all(directory.path(), trust_hu);
}

bool has(const std::vector<Code>& flags, Code flag) {
  return std::find(flags.begin(), flags.end(), flag) != flags.end();
}

/// The code and detail of the only series, or how many there are; slices with other codes count.
std::string verdict(const Scan& scan) {
  if (scan.series.size() != 1) return std::to_string(scan.series.size()) + " series";
  const Series& s = scan.series[0];
  for (const FileEntry& file : scan.files)
    if (file.code != s.code) return "a file is " + std::string(to_string(file.code));
  return std::string(to_string(s.code)) + (s.detail.empty() ? "" : ": " + s.detail);
}

void expect_truth(const Scan& scan) {
  ASSERT_EQ(verdict(scan), "USED");
  const auto read = read_series(scan, scan.series[0], {});
  ASSERT_TRUE(read.ok()) << to_string(read.rejection().code) << read.rejection().detail;
  const Volume& v = read.value().volume;
  EXPECT_EQ(v.z_mm, (std::vector<double>{0, 2, 4, 6}));
  EXPECT_EQ(v.geometry.origin_mm, (Vec3{1, 2, 0}));
  EXPECT_EQ(v.geometry.spacing_mm, (Vec3{1, 1, 2}));
  for (int k = 0; k < kSlices; ++k) EXPECT_EQ(v.slice(k)[0], 2 * (1000 + k) - 1024);
}

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

DcmItem& group_item(DcmItem& holder, const DcmTagKey& macro) {
  DcmItem* item = nullptr;
  holder.findOrCreateSequenceItem(macro, item, 0);
  return *item;
}

/// An enhanced CT image of four frames; `edit` changes the data set at last.
Scan enhanced(const TemporaryDirectory& directory, const std::function<void(DcmDataset&)>& edit,
              bool trust_hu = false) {
  initialise_medical_io();
  DicomSlice s;
  s.sop_class = UID_EnhancedCTImageStorage;
  for (int f = 0; f < kSlices; ++f)
    s.pixels.insert(s.pixels.end(), 48, static_cast<std::uint16_t>(1000 + f));
  s.edit = [&](DcmDataset& d) {
    for (const DcmTagKey& tag :
         {DCM_ImagePositionPatient, DCM_ImageOrientationPatient, DCM_PixelSpacing,
          DCM_SliceThickness, DCM_RescaleSlope, DCM_RescaleIntercept})
      delete d.remove(tag);
    d.putAndInsertString(DCM_NumberOfFrames, "4");
    DcmItem& shared = group_item(d, DCM_SharedFunctionalGroupsSequence);
    group_item(shared, DCM_PlaneOrientationSequence)
        .putAndInsertString(DCM_ImageOrientationPatient, "1\\0\\0\\0\\1\\0");
    group_item(shared, DCM_PixelMeasuresSequence).putAndInsertString(DCM_PixelSpacing, "1\\1");
    for (int f = 0; f < kSlices; ++f) {
      DcmItem* frame = nullptr;
      d.findOrCreateSequenceItem(DCM_PerFrameFunctionalGroupsSequence, frame, f);
      group_item(*frame, DCM_PlanePositionSequence)
          .putAndInsertString(DCM_ImagePositionPatient, ("1\\2\\" + std::to_string(2 * f)).c_str());
      DcmItem& transform = group_item(*frame, DCM_PixelValueTransformationSequence);
      transform.putAndInsertString(DCM_RescaleSlope, "2");
      transform.putAndInsertString(DCM_RescaleIntercept, "-1024");
    }
    edit(d);
  };
  write_dicom(directory.path() / "enhanced", s);
  return scan_all(directory.path(), trust_hu);
}

DcmItem& transform_of(DcmDataset& d, int frame) {
  DcmItem* item = nullptr;
  d.findAndGetSequenceItem(DCM_PerFrameFunctionalGroupsSequence, item, frame);
  return group_item(*item, DCM_PixelValueTransformationSequence);
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

std::string bytes_of_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// The length of preamble, prefix and meta header.
std::size_t meta_size(const std::string& file) {
  const auto byte = [&](std::size_t i) { return std::size_t{static_cast<unsigned char>(file[i])}; };
  return 144 + byte(140) + (byte(141) << 8U);
}

/// Put another file's meta header before a data set.
void claim(const fs::path& data, const fs::path& meta, const fs::path& out) {
  const std::string d = bytes_of_file(data), m = bytes_of_file(meta);
  std::ofstream(out, std::ios::binary) << m.substr(0, meta_size(m)) << d.substr(meta_size(d));
}

TEST(TransferSyntaxClaim, NativeDataSetsAreReadAsTheyAreWritten) {
  const std::vector<E_TransferSyntax> native{EXS_LittleEndianImplicit, EXS_LittleEndianExplicit,
                                             EXS_BigEndianExplicit};
  for (const E_TransferSyntax written : native)
    for (const E_TransferSyntax named : native) {
      const TemporaryDirectory data, meta, out;
      write_stack(
          data.path(), [](int, DcmDataset&) {}, written);
      write_stack(
          meta.path(), [](int, DcmDataset&) {}, named);
      for (int k = 0; k < kSlices; ++k) {
        const std::string name = std::to_string(k);
        claim(data.path() / name, meta.path() / name, out.path() / name);
      }
      const Scan scan = scan_all(out.path());
      expect_truth(scan);
      EXPECT_EQ(scan.series.at(0).transfer_syntax, DcmXfer(written).getXferID());
      EXPECT_EQ(has(scan.series[0].flags, Code::SYNTAX_REPAIRED), written != named);
      EXPECT_EQ(
          has(read_series(scan, scan.series[0], {}).value().volume.flags, Code::SYNTAX_REPAIRED),
          written != named);
    }
}

TEST(TransferSyntaxClaim, CompressedPixelsAreKnownByTheirCodestream) {
  WSP_REQUIRE_TEST_DATA(data);
  initialise_medical_io();
  const auto file = [&](const std::string& uid) {
    for (const auto& e :
         fs::directory_iterator(data / "transfer_syntax/same_ct_image_15_encodings"))
      if (e.path().string().ends_with("_1.2.840.10008.1.2" + uid + ".dcm")) return e.path();
    return fs::path();
  };
  // Fragments under a native name, native pixels under the name of compression.
  for (const auto& [written, named, found] :
       std::vector<std::array<std::string, 3>>{{".5", ".1", ".5"},
                                               {".4.57", ".1", ".4.57"},
                                               {".4.70", ".1", ".4.57"},
                                               {".4.80", ".1", ".4.80"},
                                               {".4.90", ".1", ".4.90"},
                                               {".1", ".4.70", ".1"},
                                               {".1", ".4.90", ".1"},
                                               {".1", ".5", ".1"}}) {
    const TemporaryDirectory out;
    claim(file(written), file(named), out.path() / "image");
    const Scan scan = scan_all(out.path());
    ASSERT_EQ(verdict(scan), "USED") << written << named;
    EXPECT_EQ(scan.series[0].transfer_syntax, "1.2.840.10008.1.2" + found);
    EXPECT_TRUE(has(scan.series[0].flags, Code::SYNTAX_REPAIRED));
    const auto read = read_series(scan, scan.series[0], {});
    ASSERT_TRUE(read.ok()) << written << " as " << named << " " << read.rejection().detail;
    EXPECT_EQ(read.value().stored.sum, 19640763 - 1024 * 512 * 512) << written;
  }
}

TEST(TransferSyntaxClaim, MasksAreReadThroughTheSameDoor) {
  WSP_REQUIRE_TEST_DATA(data);
  initialise_medical_io();
  const fs::path in = data / "reported/12-rtstruct-un-64k/in";
  const LoadedVolume volume = test::load_only_series(in);
  const TemporaryDirectory meta, out;
  write_dicom(meta.path() / "implicit", {}, EXS_LittleEndianImplicit);
  claim(in / "rt.dcm", meta.path() / "implicit", out.path() / "rt.dcm");
  const auto mask = read_rtstruct_mask(out.path() / "rt.dcm", volume, {});
  ASSERT_TRUE(mask.ok()) << mask.rejection().detail;
  EXPECT_EQ(std::count(mask.value().voxels.begin(), mask.value().voxels.end(), 1), 4954);
}

TEST(TransferSyntaxClaim, WhatMakesNoSenseStaysUnreadable) {
  initialise_medical_io();
  const TemporaryDirectory directory;
  write_dicom(directory.path() / "slice", {});
  const std::string file = bytes_of_file(directory.path() / "slice");
  std::string noise = file.substr(0, meta_size(file));
  for (int i = 0; i < 500; ++i) noise.push_back(static_cast<char>(i * 37 + 11));
  std::ofstream(directory.path() / "noise.dcm", std::ios::binary) << noise;
  const Scan scan = scan_all(directory.path());
  EXPECT_EQ(to_string(scan.files.at(0).code), "UNREADABLE");
  EXPECT_EQ(to_string(scan.files.at(1).code), "USED");
}

struct Texts {
  const char *description = "", *protocol = "", *comments = "";
  const char *acquired = "", *injected = "";
};

Series scored(const Texts& texts) {
  const TemporaryDirectory directory;
  return stack(directory,
               [&](int, DcmDataset& d) {
                 d.putAndInsertString(DCM_SeriesDescription, texts.description);
                 d.putAndInsertString(DCM_ProtocolName, texts.protocol);
                 d.putAndInsertString(DCM_ImageComments, texts.comments);
                 d.putAndInsertString(DCM_AcquisitionTime, texts.acquired);
                 d.putAndInsertString(DCM_ContrastBolusStartTime, texts.injected);
               })
      .series.at(0);
}

std::string phase_reason(const Series& s) {
  for (const ScoreReason& reason : s.reasons)
    if (reason.criterion == "phase") return reason.why;
  return "none";
}

TEST(Phase, TheMostTellingSourceSpeaksFirst) {
  const char* protocol = "LIVER ART / PORTAL / DELAY";
  EXPECT_EQ(phase_reason(scored({"PORTAL VENOUS PHASE", protocol})),
            "portal from the series description");
  EXPECT_EQ(phase_reason(scored({"ABDOMEN", protocol, "", "101510", "101400"})),
            "portal from the delay of 70 s after the bolus");
  EXPECT_EQ(phase_reason(scored({"ABDOMEN", "ARTERIAL", "PORTAL", "101510", "101400"})),
            "portal from the delay of 70 s after the bolus");
  EXPECT_EQ(phase_reason(scored({"ABDOMEN", "ARTERIAL", "PORTAL"})),
            "arterial from the protocol name");
  EXPECT_EQ(phase_reason(scored({"ABDOMEN", protocol, "portal"})),
            "portal from the image comments");
  EXPECT_EQ(phase_reason(scored({protocol, "ARTERIAL"})), "arterial from the protocol name");
  EXPECT_EQ(phase_reason(scored({protocol})),
            "unknown from several phases in the series description");
  EXPECT_EQ(phase_reason(scored({"ABDOMEN 5.0 70s"})),
            "portal from a delay in the series description");
  EXPECT_EQ(phase_reason(scored({"ABDOMEN"})), "unknown from nothing in the header");
  // Over midnight.
  EXPECT_EQ(scored({"", "", "", "000020", "235910"}).phase, Phase::portal);
}

TEST(Phase, WordsMeanWhatTheyMeanWhereTheyStand) {
  const std::vector<std::pair<const char*, Phase>> texts{
      {"LATE ARTERIAL", Phase::arterial},
      {"Art\xE9riel tardif", Phase::arterial},
      {"SPAETARTERIELL", Phase::arterial},
      {"EARLY ARTERIAL", Phase::arterial},
      {"LATE PORTAL", Phase::portal},
      {"PORTAL VENOUS", Phase::portal},
      {"LIVER LATE", Phase::delayed},
      {"DELAY 5 MIN", Phase::delayed},
      {"DELAY 180S", Phase::delayed},
      {"PORTAL DELAY 70S", Phase::portal},
      {"DELAY 70 S", Phase::portal},
      {"35 SEC DELAY", Phase::arterial},
      {"ART 35S / PV 70S", Phase::unknown},
      {"ART / LATE", Phase::unknown},
      {"WITHOUT CONTRAST", Phase::unenhanced},
      {"ABD W/O", Phase::unenhanced},
      {"ABD W/O CONTRAST", Phase::unenhanced},
      {"NON CONTRAST", Phase::unenhanced},
      {"non-con", Phase::unenhanced},
      {"NONCONTRAST", Phase::unenhanced},
      {"SANS IV", Phase::unenhanced},
      {"SENZA MDC", Phase::unenhanced},
      {"SIN CONTRASTE", Phase::unenhanced},
      {"LIVER PRE", Phase::unenhanced},
      {"PRE CONTRAST", Phase::unenhanced},
      {"PREP", Phase::unknown},
      {"SMART PREP", Phase::unknown},
      {"PREMONITORING", Phase::unknown},
      {"PRE MONITORING", Phase::unknown},
      {"PRE TACE", Phase::unknown},
      {"PRE-OP PORTAL", Phase::portal},
      {"POST CONTRAST", Phase::unknown},
      {"PRE AND POST CONTRAST", Phase::unknown},
      {"W WO CONTRAST", Phase::unknown},
      {"WITH AND WITHOUT CONTRAST", Phase::unknown},
      {"NON IONIC", Phase::unknown},
      {"WITHOUT ORAL", Phase::unknown},
      {"TC DEL ABDOMEN", Phase::unknown},
      {"Abd_Routine 5.0 B31s", Phase::unknown},
      {"ABD 0.35 S", Phase::unknown},
      {"PORTABLE", Phase::unknown},
      {"LATERAL", Phase::unknown}};
  for (const auto& [text, phase] : texts) {
    const Series s = scored({text});
    EXPECT_EQ(to_string(s.phase), to_string(phase)) << text << ": " << phase_reason(s);
  }
}

TEST(Phase, APortalSeriesIsChosenThoughTheProtocolNamesAllPhases) {
  WSP_REQUIRE_TEST_DATA(data);
  const Scan scan = scan_all(data / "reported/r-proto/export");
  ASSERT_EQ(scan.series.size(), 3U);
  const auto best =
      std::max_element(scan.series.begin(), scan.series.end(),
                       [](const Series& a, const Series& b) { return a.score < b.score; });
  EXPECT_EQ(best->phase, Phase::portal);
  EXPECT_EQ(best->relative_path, "1/IM0000");
}

TEST(Phase, AConventionalImageGoesBeforeAMonoenergeticOne) {
  const Series plain = scored({"PORTAL"}), mono = scored({"PORTAL 70 KEV"});
  EXPECT_EQ(mono.phase, Phase::portal);
  EXPECT_GT(plain.score, mono.score);
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

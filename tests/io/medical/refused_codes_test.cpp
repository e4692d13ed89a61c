// Every refusal and remark of DICOM reading that the shared data has no file for, provoked by a
// header or a stream that lies.
#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dcpixel.h>
#include <dcmtk/dcmdata/dcpixseq.h>
#include <dcmtk/dcmdata/dcpxitem.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <memory>

#include "four_slices.hpp"
#include "io/medical/codec.hpp"

namespace wsp {
namespace {

namespace fs = std::filesystem;
using test::constant_pixels;
using test::DicomSlice;
using test::has;
using test::scan_all;
using test::TemporaryDirectory;
using test::write_dicom;

constexpr int kStack = 5;

/// Five slices, 2 mm apart and 2 mm thick; `edit` changes the slice k.
Scan stack(const TemporaryDirectory& directory, const std::function<void(int, DicomSlice&)>& edit) {
  for (int k = 0; k < kStack; ++k) {
    DicomSlice s;
    s.position = {0, 0, 2.0 * k};
    s.thickness_mm = 2;
    s.sop_uid = "1.2.3." + std::to_string(k + 1);
    s.pixels = constant_pixels(s, k);
    edit(k, s);
    write_dicom(directory.path() / std::to_string(k), s);
  }
  return scan_all(directory.path());
}

std::string code_of(const Scan& scan) {
  return scan.series.size() == 1 ? std::string(to_string(scan.series[0].code))
                                 : std::to_string(scan.series.size()) + " series";
}

TEST(RefusedCode, TheStackItselfIsFine) {
  const TemporaryDirectory directory;
  const Scan scan = stack(directory, [](int, DicomSlice&) {});
  EXPECT_EQ(code_of(scan), "USED");
  EXPECT_TRUE(scan.series.at(0).flags.empty());
}

TEST(RefusedCode, ColourIsNoCt) {
  const TemporaryDirectory directory;
  DicomSlice s;
  s.edit = [](DcmDataset& d) {
    d.putAndInsertUint16(DCM_SamplesPerPixel, 3);
    d.putAndInsertString(DCM_PhotometricInterpretation, "RGB");
    d.putAndInsertUint16(DCM_PlanarConfiguration, 0);
    d.putAndInsertUint16(DCM_BitsAllocated, 8);
    d.putAndInsertUint16(DCM_BitsStored, 8);
    d.putAndInsertUint16(DCM_HighBit, 7);
    d.putAndInsertUint16(DCM_PixelRepresentation, 0);
    const std::vector<Uint8> pixels(8 * 6 * 3, 9);
    d.putAndInsertUint8Array(DCM_PixelData, pixels.data(),
                             static_cast<unsigned long>(pixels.size()));
  };
  write_dicom(directory.path() / "rgb", s);
  const Scan scan = scan_all(directory.path());
  EXPECT_EQ(to_string(scan.files.at(0).code), "NOT_MONOCHROME");
  EXPECT_EQ(code_of(scan), "NOT_MONOCHROME");
  EXPECT_FALSE(read_series(scan, scan.series.at(0), {}).ok());
}

TEST(RefusedCode, InvertedGrayIsStillHu) {
  const TemporaryDirectory directory;
  DicomSlice s;
  s.edit = [](DcmDataset& d) {
    d.putAndInsertString(DCM_PhotometricInterpretation, "MONOCHROME1");
  };
  write_dicom(directory.path() / "inverted", s);
  const Scan scan = scan_all(directory.path());
  // Its HU are as valid as those of MONOCHROME2: the tag tells how to show them.
  EXPECT_EQ(code_of(scan), "USED");
}

/// Write a slice whose pixel data is one encapsulated fragment.
void write_fragment(const fs::path& path, const DicomSlice& s, E_TransferSyntax syntax,
                    std::vector<Uint8> bytes) {
  if (bytes.size() % 2 != 0) bytes.push_back(0);
  DicomSlice encapsulated = s;
  encapsulated.edit = [&](DcmDataset& d) {
    if (s.edit) s.edit(d);
    auto sequence = std::make_unique<DcmPixelSequence>(DcmTag(DCM_PixelData, EVR_OB));
    for (const bool table : {true, false}) {
      auto item = std::make_unique<DcmPixelItem>(DcmTag(DCM_Item, EVR_OB));
      if (!table) item->putUint8Array(bytes.data(), static_cast<unsigned long>(bytes.size()));
      sequence->insert(item.release());
    }
    auto pixels = std::make_unique<DcmPixelData>(DCM_PixelData);
    pixels->putOriginalRepresentation(syntax, nullptr, sequence.release());
    d.insert(pixels.release(), OFTrue);
  };
  write_dicom(path, encapsulated, syntax);
}

TEST(RefusedCode, StreamsThatAreNoneFailToDecode) {
  initialise_medical_io();
  for (const auto syntax :
       {EXS_RLELossless, EXS_JPEGProcess14SV1, EXS_JPEGLSLossless, EXS_JPEG2000LosslessOnly}) {
    const TemporaryDirectory directory;
    std::vector<Uint8> noise(300);
    for (std::size_t i = 0; i < noise.size(); ++i) noise[i] = static_cast<Uint8>(7 * i + 1);
    write_fragment(directory.path() / "noise", {}, syntax, noise);
    const Scan scan = scan_all(directory.path());
    EXPECT_EQ(code_of(scan), "DECODE_FAILED") << DcmXfer(syntax).getXferName();
    const auto read = read_series(scan, scan.series[0], {});
    ASSERT_FALSE(read.ok());
    EXPECT_EQ(to_string(read.rejection().code), "DECODE_FAILED") << DcmXfer(syntax).getXferName();
    const auto measured = measure_series(scan, scan.series[0]);
    ASSERT_FALSE(measured.ok());
    EXPECT_EQ(to_string(measured.rejection().code), "DECODE_FAILED");
  }
}

TEST(RefusedCode, ACodestreamOfMoreBitsThanItsWordsContradictsTheHeader) {
  WSP_REQUIRE_TEST_DATA(data);
  const TemporaryDirectory directory;
  DcmFileFormat file;
  ASSERT_TRUE(
      file.loadFile((data / "transfer_syntax/nema_ct1_j2k_three_fragments/CT1_J2KR").c_str())
          .good());
  DcmDataset& d = *file.getDataset();
  d.putAndInsertUint16(DCM_BitsAllocated, 8);
  d.putAndInsertUint16(DCM_BitsStored, 8);
  d.putAndInsertUint16(DCM_HighBit, 7);
  ASSERT_TRUE(file.saveFile((directory.path() / "j2k").c_str(), EXS_JPEG2000LosslessOnly).good());
  const Scan scan = scan_all(directory.path());
  EXPECT_EQ(code_of(scan), "SIGN_MISMATCH");
  const auto read = read_series(scan, scan.series[0], {});
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(to_string(read.rejection().code), "SIGN_MISMATCH") << read.rejection().detail;
}

TEST(RefusedCode, OriginsOffTheLineAreMixedGeometry) {
  const TemporaryDirectory directory;
  // The third slice is shifted by 4 mm in its plane: another field of view under one UID.
  const Scan scan = stack(directory, [](int k, DicomSlice& s) {
    if (k == 2) s.position[0] = 4;
  });
  EXPECT_EQ(code_of(scan), "MIXED_GEOMETRY");
  EXPECT_FALSE(read_series(scan, scan.series.at(0), {}).ok());
  for (const FileEntry& file : scan.files) EXPECT_EQ(to_string(file.code), "MIXED_GEOMETRY");
}

TEST(RefusedCode, AnAbsurdMatrixIsNeverAllocated) {
  initialise_medical_io();
  const TemporaryDirectory directory;
  DicomSlice s;
  s.edit = [](DcmDataset& d) {
    d.putAndInsertUint16(DCM_Rows, 65535);
    d.putAndInsertUint16(DCM_Columns, 65535);
    d.putAndInsertUint16(DCM_BitsAllocated, 32);
    d.putAndInsertUint16(DCM_BitsStored, 32);
    d.putAndInsertUint16(DCM_HighBit, 31);
  };
  // Encapsulated pixels: their length does not tell that the header lies.
  write_fragment(directory.path() / "huge", s, EXS_JPEGProcess14SV1, std::vector<Uint8>(100, 1));
  const Scan scan = scan_all(directory.path());
  EXPECT_EQ(to_string(scan.files.at(0).code), "BAD_HEADER") << scan.files[0].detail;
  EXPECT_TRUE(scan.series.empty());
  // A decoder of its own that is given the file refuses it as well.
  const std::array<std::int32_t, 1> first{0};
  const auto decoded = dicom::make_frame_decoder()->decode(directory.path() / "huge", first);
  ASSERT_FALSE(decoded.ok());
  EXPECT_EQ(to_string(decoded.rejection().code), "TOO_LARGE") << decoded.rejection().detail;
}

TEST(RefusedCode, AVolumeThatFitsInNoMemoryIsTooLarge) {
  const TemporaryDirectory directory;
  Scan scan = stack(directory, [](int, DicomSlice&) {});
  Series series = scan.series.at(0);
  series.planes.resize(1);
  series.columns = series.rows = std::int64_t{1} << 31;
  const auto read = read_series(scan, series, {});
  ASSERT_FALSE(read.ok());
  EXPECT_EQ(to_string(read.rejection().code), "TOO_LARGE");
}

TEST(RefusedCode, WhatCannotBeOpenedIsNamed) {
  const TemporaryDirectory directory;
  write_dicom(directory.path() / "slice", {});
  fs::create_directory(directory.path() / "closed");
  write_dicom(directory.path() / "closed/inside", {});
  if (::geteuid() != 0) {
    fs::permissions(directory.path() / "slice", fs::perms::none);
    fs::permissions(directory.path() / "closed", fs::perms::none);
  }
  const Scan scan = scan_all(directory.path());
  fs::permissions(directory.path() / "closed", fs::perms::owner_all);
  std::vector<std::string> denied;
  for (const FileEntry& file : scan.files)
    if (file.code == Code::PERMISSION_DENIED) denied.push_back(file.relative_path);
  using Names = std::vector<std::string>;
  EXPECT_EQ(denied, ::geteuid() == 0 ? Names{} : (Names{"closed", "slice"}));  // root may open all
}

TEST(Remark, UnevenSpacingIsIrregularAndNoGap) {
  const TemporaryDirectory directory;
  const Scan scan = stack(directory, [](int k, DicomSlice& s) {
    if (k > 2) s.position[2] += 0.5;  // 2, 2, 2.5, 2 mm
  });
  ASSERT_EQ(code_of(scan), "USED");
  EXPECT_TRUE(has(scan.series[0].flags, Code::SPACING_IRREGULAR));
  EXPECT_FALSE(has(scan.series[0].flags, Code::GAP));
  EXPECT_TRUE(
      has(read_series(scan, scan.series[0], {}).value().volume.flags, Code::SPACING_IRREGULAR));
  // A hole of a whole number of slices is a gap instead, and rounding of positions is neither.
  const TemporaryDirectory holed;
  const Scan gap = stack(holed, [](int k, DicomSlice& s) { s.position[2] += k > 2 ? 2 : 0; });
  EXPECT_TRUE(has(gap.series.at(0).flags, Code::GAP));
  EXPECT_FALSE(has(gap.series.at(0).flags, Code::SPACING_IRREGULAR));
  const TemporaryDirectory rounded;
  const Scan even = stack(rounded, [](int k, DicomSlice& s) { s.position[2] += 0.01 * (k % 2); });
  EXPECT_TRUE(even.series.at(0).flags.empty());
}

TEST(Remark, SlicesThickerThanTheirDistanceOverlap) {
  const TemporaryDirectory directory;
  const Scan scan = stack(directory, [](int, DicomSlice& s) { s.thickness_mm = 2.5; });
  ASSERT_EQ(code_of(scan), "USED");
  EXPECT_EQ(scan.series[0].flags, std::vector<Code>{Code::OVERLAPPING_SLICES});
  const TemporaryDirectory thin;
  const Scan apart = stack(thin, [](int, DicomSlice& s) { s.thickness_mm = 1; });
  EXPECT_TRUE(apart.series.at(0).flags.empty());
}

TEST(Remark, FeetFirstIsFlaggedAndTurnsNothing) {
  for (const char* position : {"FFS", "ffp", "FFDL"}) {
    const TemporaryDirectory directory;
    const Scan scan = stack(directory, [&](int, DicomSlice& s) {
      s.edit = [position](DcmDataset& d) { d.putAndInsertString(DCM_PatientPosition, position); };
    });
    ASSERT_EQ(code_of(scan), "USED");
    EXPECT_EQ(scan.series[0].flags, std::vector<Code>{Code::FEET_FIRST});
    const auto read = read_series(scan, scan.series[0], {});
    ASSERT_TRUE(read.ok());
    // Positions are in the patient's own axes: the lowest slice comes first, however he lay.
    EXPECT_EQ(read.value().volume.z_mm.front(), 0);
    EXPECT_EQ(read.value().volume.slice(0)[0], 0);
    EXPECT_EQ(read.value().volume.slice(kStack - 1)[0], kStack - 1);
  }
}

TEST(Remark, TheMakerOfAScannerIsAClassAndNeverHeaderText) {
  for (const auto& [manufacturer, expected] :
       {std::pair("GE MEDICAL SYSTEMS", "GE"), std::pair("SIEMENS", "Siemens"),
        std::pair("Siemens Healthineers", "Siemens"), std::pair("Philips", "Philips"),
        std::pair("TOSHIBA", "Canon"), std::pair("Canon Medical Systems", "Canon"),
        std::pair("UIH", "United Imaging"), std::pair("General Hospital of Mr Smith", "other"),
        std::pair("", "unknown")}) {
    const TemporaryDirectory directory;
    for (int k = 0; k < 3; ++k) {
      DicomSlice s;
      s.position[2] = k;
      s.edit = [name = manufacturer](DcmDataset& d) {
        d.putAndInsertString(DCM_Manufacturer, name);
      };
      write_dicom(directory.path() / std::to_string(k), s);
    }
    const Scan scan = scan_all(directory.path());
    ASSERT_EQ(scan.series.size(), 1U);
    EXPECT_EQ(scan.series[0].scanner, expected);
  }
}

TEST(Remark, AnEnhancedFileTellsItsKernelInAFunctionalGroup) {
  for (const auto& [kernel, expected] : {std::pair("B70f", "sharp"), std::pair("STANDARD", "soft"),
                                         std::pair("", "unknown"), std::pair("-", "unknown")}) {
    const TemporaryDirectory directory;
    DicomSlice s;
    s.sop_class = UID_EnhancedCTImageStorage;
    s.pixels.resize(2 * 8 * 6);
    s.edit = [kernel = kernel](DcmDataset& d) {
      d.putAndInsertString(DCM_NumberOfFrames, "2");
      DcmItem *item = nullptr, *inner = nullptr;
      d.findOrCreateSequenceItem(DCM_SharedFunctionalGroupsSequence, item, 0);
      item->findOrCreateSequenceItem(DCM_CTReconstructionSequence, inner, 0);
      inner->putAndInsertString(DCM_ConvolutionKernel, kernel);
      for (int f = 0; f < 2; ++f) {
        d.findOrCreateSequenceItem(DCM_PerFrameFunctionalGroupsSequence, item, f);
        item->findOrCreateSequenceItem(DCM_PlanePositionSequence, inner, 0);
        inner->putAndInsertString(DCM_ImagePositionPatient, f == 0 ? "0\\0\\0" : "0\\0\\2");
      }
    };
    write_dicom(directory.path() / "enhanced", s);
    const Scan scan = scan_all(directory.path());
    ASSERT_EQ(code_of(scan), "USED") << scan.files.at(0).detail;
    EXPECT_EQ(scan.series[0].kernel_class, expected);
  }
}

}  // namespace
}  // namespace wsp

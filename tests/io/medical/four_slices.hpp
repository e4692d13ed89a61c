#pragma once
#include <dcmtk/config/osconfig.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "dicom_writer.hpp"
#include "io/medical/scan.hpp"
#include "support/test_data.hpp"

/// Series of four slices, changed at will, and what the scan makes of them.
namespace wsp::test {

namespace fs = std::filesystem;

inline constexpr int kSlices = 4;

inline Scan scan_all(const fs::path& root, bool trust_hu = false) {
  ScanOptions options;
  options.min_slices = 1;
  options.trust_hu = trust_hu;
  return scan_export(root, options);
}

using Edit = std::function<void(int, DcmDataset&)>;

/// Four slices 2 mm apart of 1000 + k stored, slope 2, intercept -1024.
inline void write_stack(const fs::path& root, const Edit& edit,
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

inline Scan stack(const TemporaryDirectory& directory, const Edit& edit, bool trust_hu = false,
                  E_TransferSyntax syntax = EXS_LittleEndianExplicit) {
  write_stack(directory.path(), edit, syntax);
  return scan_all(directory.path(), trust_hu);
}

inline bool has(const std::vector<Code>& flags, Code flag) {
  return std::find(flags.begin(), flags.end(), flag) != flags.end();
}

/// The code and detail of the only series, or how many there are; slices with other codes count.
inline std::string verdict(const Scan& scan) {
  if (scan.series.size() != 1) return std::to_string(scan.series.size()) + " series";
  const Series& s = scan.series[0];
  for (const FileEntry& file : scan.files)
    if (file.code != s.code) return "a file is " + std::string(to_string(file.code));
  return std::string(to_string(s.code)) + (s.detail.empty() ? "" : ": " + s.detail);
}

inline void expect_truth(const Scan& scan) {
  ASSERT_EQ(verdict(scan), "USED");
  const auto read = read_series(scan, scan.series[0], {});
  ASSERT_TRUE(read.ok()) << to_string(read.rejection().code) << read.rejection().detail;
  const Volume& v = read.value().volume;
  EXPECT_EQ(v.z_mm, (std::vector<double>{0, 2, 4, 6}));
  EXPECT_EQ(v.geometry.origin_mm, (Vec3{1, 2, 0}));
  EXPECT_EQ(v.geometry.spacing_mm, (Vec3{1, 1, 2}));
  for (int k = 0; k < kSlices; ++k) EXPECT_EQ(v.slice(k)[0], 2 * (1000 + k) - 1024);
}

inline DcmItem& group_item(DcmItem& holder, const DcmTagKey& macro) {
  DcmItem* item = nullptr;
  holder.findOrCreateSequenceItem(macro, item, 0);
  return *item;
}

/// An enhanced CT image of four frames; `edit` changes the data set at last.
inline Scan enhanced(const TemporaryDirectory& directory,
                     const std::function<void(DcmDataset&)>& edit, bool trust_hu = false) {
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

inline DcmItem& transform_of(DcmDataset& d, int frame) {
  DcmItem* item = nullptr;
  d.findAndGetSequenceItem(DCM_PerFrameFunctionalGroupsSequence, item, frame);
  return group_item(*item, DCM_PixelValueTransformationSequence);
}

}  // namespace wsp::test

#pragma once
#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "io/core/geometry.hpp"

namespace wsp::test {

/// A CT slice to write with DCMTK; every value can be made to lie.
struct DicomSlice {
  std::int64_t columns = 8, rows = 6;
  Vec3 position{0, 0, 0};
  Vec3 row_axis{1, 0, 0}, column_axis{0, 1, 0};
  double pixel_x_mm = 1, pixel_y_mm = 1, thickness_mm = 1;
  std::string sop_class = UID_CTImageStorage;
  std::string sop_uid = "1.2.3.4", series_uid = "1.2.3", study_uid = "1.2", patient_id = "P";
  std::string image_type = "ORIGINAL\\PRIMARY\\AXIAL";
  bool is_signed = true;
  int bits_stored = 16;
  double slope = 1, intercept = 0;
  std::vector<std::uint16_t> pixels;      ///< stored words, rows x columns; empty writes zeros
  std::function<void(DcmDataset&)> edit;  ///< last change before writing
};

inline std::string decimals(const Vec3& v) {
  std::string text;
  for (const double x : v) {
    char number[32];
    std::snprintf(number, sizeof number, "%s%.10g", text.empty() ? "" : "\\", x);
    text += number;
  }
  return text;
}

/// Write one slice; throws when DCMTK refuses.
inline void write_dicom(const std::filesystem::path& path, const DicomSlice& s,
                        E_TransferSyntax syntax = EXS_LittleEndianExplicit, bool with_meta = true) {
  DcmFileFormat file;
  DcmDataset& d = *file.getDataset();
  const auto put = [&](const DcmTagKey& tag, const std::string& value) {
    if (d.putAndInsertString(tag, value.c_str()).bad()) throw std::runtime_error("put failed");
  };
  put(DCM_SOPClassUID, s.sop_class);
  put(DCM_SOPInstanceUID, s.sop_uid);
  put(DCM_SeriesInstanceUID, s.series_uid);
  put(DCM_StudyInstanceUID, s.study_uid);
  put(DCM_PatientID, s.patient_id);
  put(DCM_Modality, "CT");
  put(DCM_ImageType, s.image_type);
  put(DCM_ImagePositionPatient, decimals(s.position));
  put(DCM_ImageOrientationPatient, decimals(s.row_axis) + "\\" + decimals(s.column_axis));
  put(DCM_PixelSpacing, std::to_string(s.pixel_y_mm) + "\\" + std::to_string(s.pixel_x_mm));
  put(DCM_SliceThickness, std::to_string(s.thickness_mm));
  put(DCM_RescaleSlope, std::to_string(s.slope));
  put(DCM_RescaleIntercept, std::to_string(s.intercept));
  put(DCM_PhotometricInterpretation, "MONOCHROME2");
  d.putAndInsertUint16(DCM_SamplesPerPixel, 1);
  d.putAndInsertUint16(DCM_Rows, static_cast<Uint16>(s.rows));
  d.putAndInsertUint16(DCM_Columns, static_cast<Uint16>(s.columns));
  d.putAndInsertUint16(DCM_BitsAllocated, 16);
  d.putAndInsertUint16(DCM_BitsStored, static_cast<Uint16>(s.bits_stored));
  d.putAndInsertUint16(DCM_HighBit, static_cast<Uint16>(s.bits_stored - 1));
  d.putAndInsertUint16(DCM_PixelRepresentation, s.is_signed ? 1 : 0);
  std::vector<std::uint16_t> pixels = s.pixels;
  if (pixels.empty()) pixels.resize(static_cast<std::size_t>(s.columns * s.rows));
  d.putAndInsertUint16Array(DCM_PixelData, pixels.data(),
                            static_cast<unsigned long>(pixels.size()));
  if (s.edit) s.edit(d);
  const OFCondition saved = with_meta ? file.saveFile(OFFilename(path.c_str()), syntax)
                                      : d.saveFile(OFFilename(path.c_str()), syntax);
  if (saved.bad()) throw std::runtime_error(saved.text());
}

/// Words that differ from slice to slice.
inline std::vector<std::uint16_t> constant_pixels(const DicomSlice& s, int value) {
  return std::vector<std::uint16_t>(static_cast<std::size_t>(s.columns * s.rows),
                                    static_cast<std::uint16_t>(value));
}

}  // namespace wsp::test

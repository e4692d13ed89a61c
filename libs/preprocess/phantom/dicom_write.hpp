#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "preprocess/phantom/anatomy.hpp"

namespace wsp::phantom {

/// What stands in the headers of one series.
struct SeriesHeader {
  // Texts are written as they are: encoded in `character_set` already.
  std::string patient_name, patient_id, birth_date, sex = "O", accession, study_uid, series_uid,
                                                    frame_uid;
  std::string study_date = "20200101";
  std::string description, kernel = "B30f", image_type = "ORIGINAL\\PRIMARY\\AXIAL",
                           character_set = "ISO_IR 100";
  std::string position = "HFS";
  std::string
      secret;  ///< an identifying string for free text, private and nested elements; empty: none
  std::string bolus;  ///< contrast agent
  double acquisition_seconds = 0, bolus_seconds = 0;
  int series_number = 1;
  std::string transfer_syntax = "1.2.840.10008.1.2.1";
  bool is_unsigned = false;  ///< BitsStored 12 without a sign; else 16 with one
  int intercept = 0;         ///< RescaleIntercept of signed storage; unsigned storage has -1024
  bool padded = false;       ///< pixels outside the reconstruction circle hold PixelPaddingValue
  bool secondary_capture = false;  ///< Secondary Capture Image Storage: a screen, not a slice
};

/// One written file, as a DICOMDIR lists it.
struct InstanceRecord {
  std::string path;  ///< below export/, '/'-separated; the writers leave it to their caller
  std::string sop_class, sop_uid, transfer_syntax;
  int number = 1;  ///< InstanceNumber
};
/// The files of one series.
struct SeriesRecord {
  SeriesHeader header;
  std::string modality;
  std::vector<InstanceRecord> instances;
};

/// SOP instance of plane `plane` of a classic series.
std::string slice_uid(const SeriesHeader& header, std::size_t plane);

/// Register DCMTK's encoders; call once.
void register_encoders();
/// Write one CT slice (classic CT Image Storage). Throws Error(output).
InstanceRecord write_slice(const std::filesystem::path& path, const SeriesHeader& header,
                           const Stack& stack, std::size_t plane,
                           const std::vector<std::int16_t>& hu);
/// Write all planes as one Enhanced CT file.
InstanceRecord write_enhanced(const std::filesystem::path& path, const SeriesHeader& header,
                              const Stack& stack,
                              const std::vector<std::vector<std::int16_t>>& planes);
/// Write a structured dose report: an object without pixels.
InstanceRecord write_report(const std::filesystem::path& path, const SeriesHeader& header);

/// Write the DICOMDIR of a file set: patients, studies, series and images, with offsets. Series of
/// one patient and study must follow each other. The bytes depend on the arguments alone.
void write_dicomdir(const std::filesystem::path& path, const std::string& uid,
                    const std::vector<SeriesRecord>& series);

}  // namespace wsp::phantom

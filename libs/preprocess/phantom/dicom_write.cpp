#include "preprocess/phantom/dicom_write.hpp"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dcrleerg.h>
#include <dcmtk/dcmdata/dctk.h>
#include <dcmtk/dcmjpeg/djencode.h>
#include <dcmtk/dcmjpeg/djrplol.h>
#include <dcmtk/dcmjpls/djencode.h>
#include <fmt/format.h>

#include <algorithm>

#include "io/core/error.hpp"

namespace wsp::phantom {
namespace {

void must(const OFCondition& status, const std::filesystem::path& path) {
  if (status.bad())
    throw Error(ErrorCode::output, "cannot write " + path.string() + ": " + status.text());
}

std::string decimals(std::initializer_list<double> values) {
  std::string text;
  for (const double v : values) text += (text.empty() ? "" : "\\") + fmt::format("{:.10g}", v);
  return text;
}

void put(DcmItem& item, const DcmTagKey& tag, const std::string& value) {
  item.putAndInsertString(tag, value.c_str());
}

std::string clock(double seconds) {
  const int s = static_cast<int>(seconds);
  return fmt::format("{:02d}{:02d}{:02d}", s / 3600, s / 60 % 60, s % 60);
}

void put_common(DcmDataset& d, const SeriesHeader& h, const std::string& sop_class,
                const std::string& instance, const std::string& modality) {
  put(d, DCM_SpecificCharacterSet, h.character_set);
  put(d, DCM_SOPClassUID, sop_class);
  put(d, DCM_SOPInstanceUID, instance);
  put(d, DCM_Modality, modality);
  put(d, DCM_PatientName, h.patient_name);
  put(d, DCM_PatientID, h.patient_id);
  put(d, DCM_PatientBirthDate, h.birth_date);
  put(d, DCM_PatientSex, h.sex);
  put(d, DCM_AccessionNumber, h.accession);
  put(d, DCM_StudyInstanceUID, h.study_uid);
  put(d, DCM_SeriesInstanceUID, h.series_uid);
  put(d, DCM_StudyDate, h.study_date);
  put(d, DCM_StudyTime, "100000");
  put(d, DCM_SeriesNumber, std::to_string(h.series_number));
  put(d, DCM_SeriesDescription, h.description);
  put(d, DCM_Manufacturer, "WSP PHANTOM");
  if (h.secret.empty()) return;
  // Identifying text in every kind of element: plain, nested and private.
  put(d, DCM_InstitutionName, "INST " + h.secret);
  put(d, DCM_InstitutionAddress, "address " + h.secret);
  put(d, DCM_InstitutionalDepartmentName, "dept " + h.secret);
  put(d, DCM_PerformingPhysicianName, "PERF^" + h.secret);
  put(d, DCM_NameOfPhysiciansReadingStudy, "READ^" + h.secret);
  put(d, DCM_PatientBirthName, "BORN^" + h.secret);
  put(d, DCM_PatientTelephoneNumbers, "tel " + h.secret);
  put(d, DCM_AdditionalPatientHistory, "history " + h.secret);
  put(d, DCM_ProtocolName, "protocol " + h.secret);
  put(d, DCM_DeviceSerialNumber, "serial " + h.secret);
  put(d, DCM_ReferringPhysicianName, "REF^" + h.secret);
  put(d, DCM_OperatorsName, "OP^" + h.secret);
  put(d, DCM_StationName, h.secret.substr(0, 16));
  put(d, DCM_StudyDescription, "CT ABDOMEN " + h.secret);
  put(d, DCM_PatientComments, "comment " + h.secret);
  put(d, DCM_PatientAddress, "street " + h.secret);
  put(d, DCM_StudyID, h.secret.substr(0, 16));
  DcmItem* nested = nullptr;
  if (d.findOrCreateSequenceItem(DCM_OtherPatientIDsSequence, nested, 0).good())
    put(*nested, DCM_PatientID, "ID" + h.secret);
  if (d.findOrCreateSequenceItem(DCM_RequestAttributesSequence, nested, 0).good())
    put(*nested, DCM_RequestedProcedureDescription, "req " + h.secret);
  DcmItem* code = nullptr;
  if (nested != nullptr &&
      nested->findOrCreateSequenceItem(DCM_RequestedProcedureCodeSequence, code, 0).good())
    put(*code, DCM_CodeMeaning, "nested twice " + h.secret);
  d.putAndInsertString(DcmTag(0x0009, 0x0010, EVR_LO), "PHANTOM PRIVATE");
  d.putAndInsertString(DcmTag(0x0009, 0x1001, EVR_LO), ("private " + h.secret).c_str());
}

void put_pixels(DcmDataset& d, const SeriesHeader& h, std::vector<std::int16_t> stored) {
  d.putAndInsertUint16(DCM_SamplesPerPixel, 1);
  put(d, DCM_PhotometricInterpretation, "MONOCHROME2");
  d.putAndInsertUint16(DCM_BitsAllocated, 16);
  d.putAndInsertUint16(DCM_BitsStored, h.is_unsigned ? 12 : 16);
  d.putAndInsertUint16(DCM_HighBit, h.is_unsigned ? 11 : 15);
  d.putAndInsertUint16(DCM_PixelRepresentation, h.is_unsigned ? 0 : 1);
  d.putAndInsertUint16Array(DCM_PixelData, reinterpret_cast<const Uint16*>(stored.data()),
                            static_cast<unsigned long>(stored.size()));
}

// Below every stored value of signed storage.
constexpr std::int16_t kPadding = -2000;

int intercept(const SeriesHeader& h) { return h.is_unsigned ? -1024 : h.intercept; }

std::vector<std::int16_t> to_stored(const std::vector<std::int16_t>& hu, const SeriesHeader& h,
                                    const Stack& s) {
  std::vector<std::int16_t> stored(hu);
  for (auto& v : stored) v = static_cast<std::int16_t>(v - intercept(h));
  if (!h.padded) return stored;
  const std::int64_t reach =
      std::min(s.rows, s.columns);  // diameter; doubled coordinates keep it in integers
  for (std::int64_t y = 0; y < s.rows; ++y)
    for (std::int64_t x = 0; x < s.columns; ++x) {
      const std::int64_t dx = 2 * x + 1 - s.columns, dy = 2 * y + 1 - s.rows;
      if (dx * dx + dy * dy > reach * reach)
        stored[static_cast<std::size_t>(y * s.columns + x)] = kPadding;
    }
  return stored;
}

void save(DcmFileFormat& file, const std::filesystem::path& path, const std::string& uid) {
  std::filesystem::create_directories(path.parent_path());
  const E_TransferSyntax syntax = DcmXfer(uid.c_str()).getXfer();
  const DJ_RPLossless lossless(1, 0);
  const DcmRepresentationParameter* parameter =
      syntax == EXS_JPEGProcess14SV1 ? &lossless : nullptr;
  must(file.getDataset()->chooseRepresentation(syntax, parameter), path);
  must(file.saveFile(path.c_str(), syntax), path);
}

}  // namespace

void register_encoders() {
  DcmRLEEncoderRegistration::registerCodecs();
  DJEncoderRegistration::registerCodecs();
  DJLSEncoderRegistration::registerCodecs();
}

void write_slice(const std::filesystem::path& path, const SeriesHeader& h, const Stack& s,
                 std::size_t k, const std::vector<std::int16_t>& hu) {
  DcmFileFormat file;
  DcmDataset& d = *file.getDataset();
  put_common(d, h, h.secondary_capture ? UID_SecondaryCaptureImageStorage : UID_CTImageStorage,
             h.series_uid + "." + std::to_string(k + 1), h.secondary_capture ? "OT" : "CT");
  put(d, DCM_ImageType, h.image_type);
  put(d, DCM_FrameOfReferenceUID, h.frame_uid);
  put(d, DCM_InstanceNumber, std::to_string(s.origins.size() - k));
  put(d, DCM_PatientPosition, h.position);
  const Vec3& o = s.origins[k];
  put(d, DCM_ImagePositionPatient, decimals({o[0], o[1], o[2]}));
  put(d, DCM_ImageOrientationPatient,
      decimals({s.row_axis[0], s.row_axis[1], s.row_axis[2], s.column_axis[0], s.column_axis[1],
                s.column_axis[2]}));
  put(d, DCM_PixelSpacing, decimals({s.pixel_mm, s.pixel_mm}));
  put(d, DCM_SliceThickness, decimals({s.thickness_mm}));
  put(d, DCM_KVP, "120");
  put(d, DCM_AcquisitionNumber, "1");
  put(d, DCM_ConvolutionKernel, h.kernel);
  put(d, DCM_AcquisitionTime, clock(h.acquisition_seconds));
  if (!h.bolus.empty()) {
    put(d, DCM_ContrastBolusAgent, h.bolus);
    put(d, DCM_ContrastBolusStartTime, clock(h.bolus_seconds));
  }
  d.putAndInsertUint16(DCM_Rows, static_cast<Uint16>(s.rows));
  d.putAndInsertUint16(DCM_Columns, static_cast<Uint16>(s.columns));
  put(d, DCM_RescaleIntercept, std::to_string(intercept(h)));
  put(d, DCM_RescaleSlope, "1");
  put(d, DCM_RescaleType, "HU");
  if (h.padded)
    must(d.putAndInsertSint16(
             DcmTag(DCM_PixelPaddingValue.getGroup(), DCM_PixelPaddingValue.getElement(), EVR_SS),
             kPadding),
         path);
  put_pixels(d, h, to_stored(hu, h, s));
  save(file, path, h.transfer_syntax);
}

void write_enhanced(const std::filesystem::path& path, const SeriesHeader& h, const Stack& s,
                    const std::vector<std::vector<std::int16_t>>& planes) {
  DcmFileFormat file;
  DcmDataset& d = *file.getDataset();
  put_common(d, h, UID_EnhancedCTImageStorage, h.series_uid + ".1", "CT");
  put(d, DCM_ImageType, "ORIGINAL\\PRIMARY\\VOLUME\\NONE");
  put(d, DCM_FrameOfReferenceUID, h.frame_uid);
  put(d, DCM_PatientPosition, h.position);
  put(d, DCM_NumberOfFrames, std::to_string(planes.size()));
  d.putAndInsertUint16(DCM_Rows, static_cast<Uint16>(s.rows));
  d.putAndInsertUint16(DCM_Columns, static_cast<Uint16>(s.columns));
  DcmItem *shared = nullptr, *item = nullptr;
  must(d.findOrCreateSequenceItem(DCM_SharedFunctionalGroupsSequence, shared, 0), path);
  must(shared->findOrCreateSequenceItem(DCM_PixelMeasuresSequence, item, 0), path);
  put(*item, DCM_PixelSpacing, decimals({s.pixel_mm, s.pixel_mm}));
  put(*item, DCM_SliceThickness, decimals({s.thickness_mm}));
  must(shared->findOrCreateSequenceItem(DCM_PlaneOrientationSequence, item, 0), path);
  put(*item, DCM_ImageOrientationPatient, decimals({1, 0, 0, 0, 1, 0}));
  must(shared->findOrCreateSequenceItem(DCM_PixelValueTransformationSequence, item, 0), path);
  put(*item, DCM_RescaleIntercept, std::to_string(intercept(h)));
  put(*item, DCM_RescaleSlope, "1");
  put(*item, DCM_RescaleType, "HU");
  must(shared->findOrCreateSequenceItem(DCM_CTImageFrameTypeSequence, item, 0), path);
  put(*item, DCM_FrameType, "ORIGINAL\\PRIMARY\\VOLUME\\NONE");
  std::vector<std::int16_t> all;
  for (std::size_t k = 0; k < planes.size(); ++k) {
    DcmItem* frame = nullptr;
    must(d.findOrCreateSequenceItem(DCM_PerFrameFunctionalGroupsSequence, frame,
                                    static_cast<long>(k)),
         path);
    must(frame->findOrCreateSequenceItem(DCM_PlanePositionSequence, item, 0), path);
    const Vec3& o = s.origins[k];
    put(*item, DCM_ImagePositionPatient, decimals({o[0], o[1], o[2]}));
    const auto stored = to_stored(planes[k], h, s);
    all.insert(all.end(), stored.begin(), stored.end());
  }
  put_pixels(d, h, std::move(all));
  save(file, path, h.transfer_syntax);
}

void write_plain(const std::filesystem::path& path, const SeriesHeader& h,
                 const std::string& sop_class, const std::string& modality) {
  DcmFileFormat file;
  put_common(*file.getDataset(), h, sop_class, h.series_uid + ".1", modality);
  save(file, path, "1.2.840.10008.1.2.1");
}

}  // namespace wsp::phantom

#include "preprocess/phantom/dicom_write.hpp"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dcrleerg.h>
#include <dcmtk/dcmjpeg/djencode.h>
#include <dcmtk/dcmjpls/djencode.h>

#include <algorithm>

#include "preprocess/phantom/dicom_element.hpp"

namespace wsp::phantom {
namespace {

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

/// What a converter leaves beside each frame: comments, times, the classic header's attributes.
void plant_frame(DcmItem& frame, const SeriesHeader& h, std::size_t k) {
  DcmItem& content = item_of(frame, DCM_FrameContentSequence);
  put(content, DCM_FrameAcquisitionNumber, "1");
  if (h.secret.empty()) return;
  put(content, DCM_FrameAcquisitionDateTime, h.study_date + clock(h.acquisition_seconds));
  put(content, DCM_FrameReferenceDateTime, h.study_date + clock(h.acquisition_seconds));
  put(content, DCM_FrameLabel, "frame " + std::to_string(k + 1) + " of " + h.secret);
  put(content, DCM_FrameComments, "frame comment " + h.secret);
  DcmItem& classic = item_of(frame, DCM_UnassignedPerFrameConvertedAttributesSequence);
  put(classic, DCM_ImageComments, "converted " + h.secret);
  put(classic, DCM_OperatorsName, "OP^" + h.secret);
  put(item_of(frame, DCM_ConversionSourceAttributesSequence), DCM_ReferencedSOPInstanceUID,
      h.series_uid + ".99." + std::to_string(k + 1));
  frame.putAndInsertString(DcmTag(0x0021, 0x0010, EVR_LO), "PHANTOM PRIVATE");
  frame.putAndInsertString(DcmTag(0x0021, 0x1001, EVR_LO), ("frame private " + h.secret).c_str());
}

}  // namespace

void register_encoders() {
  DcmRLEEncoderRegistration::registerCodecs();
  DJEncoderRegistration::registerCodecs();
  DJLSEncoderRegistration::registerCodecs();
}

std::string slice_uid(const SeriesHeader& h, std::size_t plane) {
  return h.series_uid + "." + std::to_string(plane + 1);
}

InstanceRecord write_slice(const std::filesystem::path& path, const SeriesHeader& h, const Stack& s,
                           std::size_t k, const std::vector<std::int16_t>& hu) {
  DcmFileFormat file;
  DcmDataset& d = *file.getDataset();
  const InstanceRecord record{
      "", h.secondary_capture ? UID_SecondaryCaptureImageStorage : UID_CTImageStorage,
      slice_uid(h, k), h.transfer_syntax, static_cast<int>(s.origins.size() - k)};
  put_common(file, h, record.sop_class, record.sop_uid, h.secondary_capture ? "OT" : "CT");
  put(d, DCM_ImageType, h.image_type);
  put(d, DCM_FrameOfReferenceUID, h.frame_uid);
  put(d, DCM_InstanceNumber, std::to_string(record.number));
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
    put(d, DCM_ContrastBolusAgent, h.bolus + (h.secret.empty() ? "" : " " + h.secret));
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
  return record;
}

InstanceRecord write_enhanced(const std::filesystem::path& path, const SeriesHeader& h,
                              const Stack& s,
                              const std::vector<std::vector<std::int16_t>>& planes) {
  DcmFileFormat file;
  DcmDataset& d = *file.getDataset();
  const InstanceRecord record{"", UID_EnhancedCTImageStorage, slice_uid(h, 0), h.transfer_syntax,
                              1};
  put_common(file, h, record.sop_class, record.sop_uid, "CT");
  put(d, DCM_ImageType, "ORIGINAL\\PRIMARY\\VOLUME\\NONE");
  put(d, DCM_FrameOfReferenceUID, h.frame_uid);
  put(d, DCM_PatientPosition, h.position);
  put(d, DCM_NumberOfFrames, std::to_string(planes.size()));
  d.putAndInsertUint16(DCM_Rows, static_cast<Uint16>(s.rows));
  d.putAndInsertUint16(DCM_Columns, static_cast<Uint16>(s.columns));
  put(d, DCM_InstanceNumber, "1");
  DcmItem& shared = item_of(d, DCM_SharedFunctionalGroupsSequence);
  DcmItem& measures = item_of(shared, DCM_PixelMeasuresSequence);
  put(measures, DCM_PixelSpacing, decimals({s.pixel_mm, s.pixel_mm}));
  put(measures, DCM_SliceThickness, decimals({s.thickness_mm}));
  put(item_of(shared, DCM_PlaneOrientationSequence), DCM_ImageOrientationPatient,
      decimals({1, 0, 0, 0, 1, 0}));
  DcmItem& transform = item_of(shared, DCM_PixelValueTransformationSequence);
  put(transform, DCM_RescaleIntercept, std::to_string(intercept(h)));
  put(transform, DCM_RescaleSlope, "1");
  put(transform, DCM_RescaleType, "HU");
  put(item_of(shared, DCM_CTImageFrameTypeSequence), DCM_FrameType,
      "ORIGINAL\\PRIMARY\\VOLUME\\NONE");
  put(item_of(shared, DCM_CTReconstructionSequence), DCM_ConvolutionKernel, h.kernel);
  std::vector<std::int16_t> all;
  for (std::size_t k = 0; k < planes.size(); ++k) {
    DcmItem& frame = item_of(d, DCM_PerFrameFunctionalGroupsSequence, static_cast<long>(k));
    const Vec3& o = s.origins[k];
    put(item_of(frame, DCM_PlanePositionSequence), DCM_ImagePositionPatient,
        decimals({o[0], o[1], o[2]}));
    plant_frame(frame, h, k);
    const auto stored = to_stored(planes[k], h, s);
    all.insert(all.end(), stored.begin(), stored.end());
  }
  put_pixels(d, h, std::move(all));
  save(file, path, h.transfer_syntax);
  return record;
}

InstanceRecord write_report(const std::filesystem::path& path, const SeriesHeader& h) {
  DcmFileFormat file;
  DcmDataset& d = *file.getDataset();
  const InstanceRecord record{"", UID_XRayRadiationDoseSRStorage, slice_uid(h, 0),
                              "1.2.840.10008.1.2.1", 1};
  put_common(file, h, record.sop_class, record.sop_uid, "SR");
  put(d, DCM_InstanceNumber, "1");
  put(d, DCM_ValueType, "CONTAINER");
  put(d, DCM_CompletionFlag, "COMPLETE");
  put(d, DCM_VerificationFlag, "UNVERIFIED");
  put_code(d, DCM_ConceptNameCodeSequence, "113701", "DCM", "X-Ray Radiation Dose Report");
  DcmItem& text = item_of(d, DCM_ContentSequence, 0);
  put(text, DCM_RelationshipType, "CONTAINS");
  put(text, DCM_ValueType, "TEXT");
  put_code(text, DCM_ConceptNameCodeSequence, "121106", "DCM", "Comment");
  put(text, DCM_TextValue, "dose as planned " + h.secret);
  DcmItem& person = item_of(d, DCM_ContentSequence, 1);
  put(person, DCM_RelationshipType, "HAS OBS CONTEXT");
  put(person, DCM_ValueType, "PNAME");
  put_code(person, DCM_ConceptNameCodeSequence, "121008", "DCM", "Person Observer Name");
  put(person, DCM_PersonName, "OBS^" + h.secret);
  save(file, path, record.transfer_syntax);
  return record;
}

}  // namespace wsp::phantom

#include "io/medical/dicom_header.hpp"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dcpixel.h>
#include <dcmtk/dcmdata/dctk.h>

#include <cmath>
#include <set>
#include <string_view>

#include "io/medical/dicom_load.hpp"
#include "io/medical/dicom_text.hpp"
#include "io/medical/image_kind.hpp"
#include "io/medical/isolated.hpp"
#include "io/medical/transfer_syntax.hpp"

namespace wsp::dicom {
namespace {

constexpr std::string_view kCt = "1.2.840.10008.5.1.4.1.1.2";
constexpr std::string_view kEnhancedCt = "1.2.840.10008.5.1.4.1.1.2.1";
constexpr std::string_view kLegacyEnhancedCt = "1.2.840.10008.5.1.4.1.1.2.2";
constexpr std::string_view kSecondaryCapture = "1.2.840.10008.5.1.4.1.1.7";
constexpr std::string_view kSegmentation = "1.2.840.10008.5.1.4.1.1.66.4";
constexpr std::string_view kRtStructureSet = "1.2.840.10008.5.1.4.1.1.481.3";
constexpr std::string_view kDirectory = "1.2.840.10008.1.3.10";

/// A file of more frames than this is taken for a lie of its header.
constexpr std::int64_t kMaxFrames = 100000;
/// And an image of more pixels: 8192 x 8192, more than any CT matrix.
constexpr std::int64_t kMaxPixels = std::int64_t{1} << 26;

bool is_ct_class(const std::string& uid) {
  return uid == kCt || uid == kEnhancedCt || uid == kLegacyEnhancedCt;
}

bool is_secondary_capture(const std::string& uid) {
  return uid == kSecondaryCapture || uid.starts_with(std::string(kSecondaryCapture) + ".");
}

/// NumberOfFrames: "1A" is no number. 1 when absent.
std::optional<std::int64_t> frame_count(DcmItem& item) {
  if (ascii(item, DCM_NumberOfFrames).empty()) return 1;
  const auto count = number(item, DCM_NumberOfFrames);
  if (!count || *count != std::floor(*count) || *count < 1 || *count > kMaxFrames)
    return std::nullopt;
  return static_cast<std::int64_t>(*count);
}

void read_identity(DcmItem& item, Header& header) {
  header.patient_id = text(item, DCM_PatientID);
  header.issuer = text(item, DCM_IssuerOfPatientID);
  header.patient_sex = text(item, DCM_PatientSex);
  header.patient_birth_date = ascii(item, DCM_PatientBirthDate);
  header.accession = text(item, DCM_AccessionNumber);
  header.study_uid = ascii(item, DCM_StudyInstanceUID);
  header.series_uid = ascii(item, DCM_SeriesInstanceUID);
  header.sop_instance_uid = ascii(item, DCM_SOPInstanceUID);
  header.frame_of_reference_uid = ascii(item, DCM_FrameOfReferenceUID);
  header.modality = upper(ascii(item, DCM_Modality));
  header.patient_position = upper(ascii(item, DCM_PatientPosition));
  header.kernel = upper(text(item, DCM_ConvolutionKernel));
  header.manufacturer = upper(text(item, DCM_Manufacturer));
  header.image_type = upper(ascii(item, DCM_ImageType));
  header.description = upper(text(item, DCM_SeriesDescription));
  header.protocol =
      upper(text(item, DCM_ProtocolName) + " / " + text(item, DCM_AcquisitionProtocolDescription));
  header.comments = upper(text(item, DCM_ImageComments));
  header.contrast_agent = text(item, DCM_ContrastBolusAgent);
  if (header.contrast_agent.empty() && item.tagExistsWithValue(DCM_ContrastBolusAgentSequence)) {
    header.contrast_agent = "SEQUENCE";
  }
  header.acquisition_seconds = seconds_of_day(ascii(item, DCM_AcquisitionTime));
  if (!header.acquisition_seconds) {
    header.acquisition_seconds = seconds_of_day(ascii(item, DCM_AcquisitionDateTime));
  }
  header.bolus_seconds = seconds_of_day(ascii(item, DCM_ContrastBolusStartTime));
  header.series_number = ascii(item, DCM_SeriesNumber);
  header.acquisition_uid = ascii(item, DCM_AcquisitionUID);
  header.scan_options = upper(ascii(item, DCM_ScanOptions));
  header.patient_name = upper(text(item, DCM_PatientName));
}

/// What an enhanced object says of its first frame only.
void read_frame_level(DcmDataset& dataset, Header& header) {
  const FrameGroups groups(dataset);
  if (header.kernel.empty())
    header.kernel = upper(text(groups.in(0, DCM_CTReconstructionSequence), DCM_ConvolutionKernel));
  if (!header.acquisition_seconds)
    header.acquisition_seconds =
        seconds_of_day(ascii(groups.in(0, DCM_FrameContentSequence), DCM_FrameAcquisitionDateTime));
}

Header& refuse(Header& header, Code code, std::string detail = {}) {
  header.code = code;
  header.detail = std::move(detail);
  return header;
}

/// Check the values that decoding needs and the length of native pixels; empty when all is well.
std::string check_pixel_header(DcmDataset& dataset, const Header& header) {
  const auto allocated = bits16(dataset, DCM_BitsAllocated).value_or(0);
  const auto stored = bits16(dataset, DCM_BitsStored).value_or(allocated);
  const auto high = bits16(dataset, DCM_HighBit).value_or(static_cast<std::uint16_t>(stored - 1));
  const auto samples = bits16(dataset, DCM_SamplesPerPixel).value_or(1);
  if (header.rows < 1 || header.columns < 1) return "Rows or Columns missing or zero";
  if (header.rows * header.columns > kMaxPixels) {
    return std::to_string(header.columns) + " x " + std::to_string(header.rows) + " pixels";
  }
  if (samples < 1 || samples > 4) return "SamplesPerPixel is " + std::to_string(samples);
  if (allocated != 1 && allocated != 8 && allocated != 16 && allocated != 32) {
    return "BitsAllocated is " + std::to_string(allocated);
  }
  if (stored < 1 || stored > allocated || high >= allocated || high + 1 < stored) {
    return "BitsStored is " + std::to_string(stored) + " and HighBit " + std::to_string(high) +
           " with BitsAllocated " + std::to_string(allocated);
  }
  DcmElement* pixels = nullptr;
  if (dataset.findAndGetElement(DCM_PixelData, pixels).bad()) return {};
  E_TransferSyntax written = EXS_Unknown;
  const DcmRepresentationParameter* parameter = nullptr;
  if (auto* data = dynamic_cast<DcmPixelData*>(pixels); data != nullptr)
    data->getOriginalRepresentationKey(written, parameter);
  if (pixels->getLengthField() == DCM_UndefinedLength || is_encapsulated(written)) return {};
  const auto bits = static_cast<std::uint64_t>(header.rows * header.columns) * samples * allocated *
                    static_cast<std::uint64_t>(header.frames);
  // Subsampled colour is shorter than its header says; it is not ours to read.
  if (samples > 1) return {};
  if (pixels->getLengthField() < (bits + 7) / 8) {
    return "pixel data of " + std::to_string(pixels->getLengthField()) + " bytes, expected " +
           std::to_string((bits + 7) / 8);
  }
  return {};
}

/// Why this image is no part of an original CT volume, or USED.
Code classify_image(DcmDataset& dataset, const Header& header) {
  if (is_video_syntax(header.transfer_syntax)) return Code::NOT_CT;
  if (!is_supported_syntax(header.transfer_syntax)) return Code::UNSUPPORTED_TRANSFER_SYNTAX;
  const bool ct =
      header.modality == "CT" || (header.modality.empty() && is_ct_class(header.sop_class_uid));
  const bool capture = is_secondary_capture(header.sop_class_uid);
  if (!ct && !capture) return Code::NOT_CT;
  if (upper(ascii(dataset, DCM_BurnedInAnnotation)) == "YES") return Code::BURNED_IN;
  if (capture) return Code::SECONDARY_CAPTURE;
  if (!is_ct_class(header.sop_class_uid)) return Code::NOT_CT;
  if (bits16(dataset, DCM_SamplesPerPixel).value_or(1) != 1 ||
      !upper(ascii(dataset, DCM_PhotometricInterpretation)).starts_with("MONOCHROME")) {
    return Code::NOT_MONOCHROME;
  }
  if (is_localizer_type(header.image_type)) return Code::LOCALIZER;
  if (is_derived_type(header.image_type)) return Code::DERIVED;
  return Code::USED;
}

/// A RescaleType that is not HU, by the standard's defined terms (PS3.3 C.11.1.1.2); empty where it
/// is HU, unspecified or absent: CT must name any other.
std::string other_units(DcmItem& item) {
  static const std::set<std::string> kHu{
      "", "HU", "US", "UNSPECIFIED", "HOUNSFIELD", "HOUNSFIELD UNIT", "HOUNSFIELD UNITS"};
  static const std::set<std::string> kTerms{"OD", "MGML", "Z_EFF", "ED", "EDW", "HU_MOD", "PCT"};
  const std::string type = upper(text(item, DCM_RescaleType));
  if (kHu.contains(type)) return {};
  return kTerms.contains(type) ? type : "another type";
}

Header parse_header(const std::filesystem::path& path) {
  Header header;
  DcmFileFormat file;
  bool syntax_repaired = false;
  Rejection loaded = load(path, file, &syntax_repaired);
  if (loaded.code != Code::USED) return refuse(header, loaded.code, std::move(loaded.detail));

  DcmDataset& dataset = *file.getDataset();
  header.transfer_syntax = transfer_syntax(file);
  header.sop_class_uid = ascii(dataset, DCM_SOPClassUID);
  const std::string media_class =
      file.getMetaInfo() != nullptr ? ascii(*file.getMetaInfo(), DCM_MediaStorageSOPClassUID) : "";
  if (media_class == kDirectory || dataset.tagExists(DCM_DirectoryRecordSequence)) {
    return refuse(header, Code::DICOMDIR);
  }
  if (header.sop_class_uid.empty()) header.sop_class_uid = media_class;
  read_identity(dataset, header);

  if (header.sop_class_uid == kSegmentation || header.sop_class_uid == kLabelMapSegmentation) {
    header.kind = FileKind::seg;
    return refuse(header, Code::MASK_UNREFERENCED);
  }
  if (header.sop_class_uid == kRtStructureSet) {
    header.kind = FileKind::rtstruct;
    return refuse(header, Code::MASK_UNREFERENCED);
  }
  if (!dataset.tagExists(DCM_PixelData)) {
    if (is_ct_class(header.sop_class_uid) && dataset.tagExists(DCM_Rows)) {
      return refuse(header, Code::TRUNCATED_FILE, "a CT image without pixel data");
    }
    return refuse(header, Code::NO_PIXELS);
  }
  header.rows = bits16(dataset, DCM_Rows).value_or(0);
  header.columns = bits16(dataset, DCM_Columns).value_or(0);
  const auto frames = frame_count(dataset);
  if (!frames) return refuse(header, Code::BAD_HEADER, "NumberOfFrames is no count");
  header.frames = *frames;
  if (std::string wrong = check_pixel_header(dataset, header); !wrong.empty()) {
    return refuse(header, Code::BAD_HEADER, std::move(wrong));
  }
  const std::string lossy = ascii(dataset, DCM_LossyImageCompression);
  header.lossy = lossy == "01" || is_lossy_syntax(header.transfer_syntax);
  header.kind = FileKind::image;
  header.code = classify_image(dataset, header);
  if (header.code == Code::UNSUPPORTED_TRANSFER_SYNTAX) {
    header.detail = named_syntax(header.transfer_syntax);
  }
  const std::string wrong = read_planes(dataset, header);
  read_frame_level(dataset, header);
  if (header.code != Code::USED && header.code != Code::DERIVED) return header;
  if (syntax_repaired) header.flags.push_back(Code::SYNTAX_REPAIRED);
  std::string map = derived_map(header.image_type, header.description);
  bool mono = false;
  for (const FrameHeader& plane : header.planes) {
    if (is_localizer_type(plane.image_type)) return refuse(header, Code::LOCALIZER);
    if (is_derived_type(plane.image_type)) header.code = Code::DERIVED;
    if (map.empty()) map = derived_map(plane.image_type, {});
    mono = mono || is_monoenergetic(plane.image_type, header.description);
  }
  if (mono) header.flags.push_back(Code::MONOENERGETIC);
  // Maps that say so in their units too are named by them: nothing overrules that.
  if (!map.empty() && header.fault == Code::NOT_HU)
    return refuse(header, Code::NOT_HU, map + ": " + header.fault_detail);
  if (!map.empty() || header.code == Code::DERIVED)
    return refuse(header, Code::DERIVED, std::move(map));
  if (!wrong.empty()) return refuse(header, Code::BAD_HEADER, wrong);
  for (const FrameHeader& plane : header.planes)
    if (!plane.has_position && header.fault != Code::BAD_HEADER)
      return refuse(header, Code::NO_POSITION);
  header.detail = header.fault_detail;
  if (const auto native = find_native_pixels(path, file))
    header.native = std::make_shared<NativePixels>(*native);
  return header;
}

}  // namespace

Header read_header(const std::filesystem::path& path) {
  try {
    return isolated_or_lost<parse_header>([&] { return seconds_for(path); }, path);
  } catch (const WorkerLost& lost) {
    Header header;
    Rejection refusal = refusal_of(lost, "scan");
    return refuse(header, refusal.code, std::move(refusal.detail));
  }
}

Rescale read_rescale(DcmDataset& dataset, DcmItem& holder) {
  const auto slope = number(holder, DCM_RescaleSlope);
  const auto intercept = number(holder, DCM_RescaleIntercept);
  Rescale rescale{slope.value_or(1), intercept.value_or(0), Code::USED, {}};
  const auto fault = [&](Code code, std::string detail) {
    rescale.fault = code;
    rescale.detail = std::move(detail);
    return rescale;
  };
  for (const DcmTagKey& tag : {DCM_RescaleSlope, DCM_RescaleIntercept})
    if (std::string wrong = number_fault(holder, tag); !wrong.empty())
      return fault(Code::BAD_HEADER, std::move(wrong));
  DcmSequenceOfItems* table = nullptr;
  if (dataset.findAndGetSequence(DCM_ModalityLUTSequence, table).good() && table != nullptr &&
      table->card() > 0)
    return fault(Code::NOT_HU, "a Modality LUT stands for the rescale values");
  if (const std::string units = other_units(holder); !units.empty())
    return fault(Code::NOT_HU, "RescaleType is " + units);
  if (!slope || !intercept)
    return fault(Code::RESCALE_MISSING, slope       ? "no RescaleIntercept"
                                        : intercept ? "no RescaleSlope"
                                                    : "no RescaleSlope and RescaleIntercept");
  if (*slope == 0 || std::abs(*slope) >= 1e6 || std::abs(*intercept) >= 1e9)
    return fault(Code::BAD_HEADER, "RescaleSlope or RescaleIntercept is absurd");
  return rescale;
}

}  // namespace wsp::dicom

#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/core/codes.hpp"
#include "io/core/geometry.hpp"
#include "io/medical/native_pixels.hpp"

class DcmItem;
class DcmTagKey;
class DcmDataset;

/// What one DICOM file says of itself, as plain values. Internal to io/medical.
namespace wsp::dicom {

/// Label Map Segmentation Storage, which DCMTK 3.6.7 does not know.
inline constexpr const char* kLabelMapSegmentation = "1.2.840.10008.5.1.4.1.1.66.7";

/// Geometry and identity of one frame; classic files have one.
struct FrameHeader {
  std::int32_t frame = 0;
  bool has_position = false;
  Vec3 position{};
  Vec3 row_axis{1, 0, 0}, column_axis{0, 1, 0};
  double pixel_x_mm = 0, pixel_y_mm = 0, thickness_mm = 0;
  /// Keys that may separate images which lie at the same position, each empty when absent.
  std::string image_type, acquisition, temporal, phase, time;
  std::string stack, kernel, kvp, contrast, event_uid;  ///< likewise
};

enum class FileKind { none, image, seg, rtstruct };

struct Header {
  Code code = Code::NOT_DICOM;
  std::string detail;
  FileKind kind = FileKind::none;
  std::string patient_id, issuer, patient_sex, patient_birth_date, accession;
  std::string study_uid, series_uid, sop_instance_uid, sop_class_uid, frame_of_reference_uid;
  std::string transfer_syntax, modality, patient_position, kernel, manufacturer, image_type;
  std::string description;  ///< SeriesDescription, upper case: for words only
  std::string contrast_agent;
  std::optional<double> acquisition_seconds, bolus_seconds;
  std::int64_t columns = 0, rows = 0, frames = 1;
  bool lossy = false;
  std::vector<FrameHeader> planes;
  /// What keeps the whole series from being a volume of HU though this is an image of one: USED
  /// when nothing does, else BAD_HEADER (a value that is no number), RESCALE_MISSING or NOT_HU.
  Code fault = Code::USED;
  std::string fault_detail;
  std::vector<Code> flags;         ///< SYNTAX_REPAIRED, MONOENERGETIC
  std::string protocol, comments;  ///< further free text, upper case: for words only
  std::string series_number, acquisition_uid, scan_options;
  std::string patient_name;  ///< upper case, to tell persons apart; goes no further
  std::shared_ptr<const NativePixels> native;  ///< where the pixels lie as they are, or null
};

/// How stored values become HU, of one frame: from its functional groups in an enhanced object.
struct Rescale {
  double slope = 1, intercept = 0;
  Code fault = Code::USED;  ///< BAD_HEADER, RESCALE_MISSING or NOT_HU: slope and intercept as far
                            ///< as they are there, else 1 and 0
  std::string detail;
};
/// `holder` is where the frame keeps them (FrameGroups).
Rescale read_rescale(DcmDataset& dataset, DcmItem& holder);

/// Read one file's header, in a worker process where there is a pool; never throws on bad data but
/// std::bad_alloc. `header.code` is USED for a CT image that can be part of a volume,
/// MASK_UNREFERENCED for SEG and RTSTRUCT, else why the file is not usable.
Header read_header(const std::filesystem::path& path);

/// Fill header.planes from the data set: classic attributes, or the functional groups of an
/// enhanced object (shared and per-frame). Returns an empty string, or what is wrong (BAD_HEADER's
/// detail).
std::string read_planes(DcmDataset& dataset, Header& header);

/// The attributes of the frames, found wherever the object keeps them (PS3.3 C.7.6.16). Borrows the
/// data set; made once for all frames.
class FrameGroups {
 public:
  explicit FrameGroups(DcmDataset& dataset);
  /// True where the object has functional groups, shared or per frame.
  [[nodiscard]] bool enhanced() const { return enhanced_; }
  [[nodiscard]] std::size_t per_frame() const { return per_frame_.size(); }
  /// Where frame `frame` finds the attributes of a functional group macro: in its own group, else
  /// in the shared one, else at the top level.
  [[nodiscard]] DcmItem& in(std::int64_t frame, const DcmTagKey& macro) const;

 private:
  DcmDataset& dataset_;
  DcmItem* shared_ = nullptr;
  std::vector<DcmItem*> per_frame_;
  bool enhanced_;
};

}  // namespace wsp::dicom

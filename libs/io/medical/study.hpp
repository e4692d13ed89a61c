#pragma once
#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/core/codes.hpp"
#include "io/core/geometry.hpp"

/// Plain values that describe an export; no DCMTK type stands here.
namespace wsp {

namespace dicom {
struct NativePixels;
class KeptImage;
}  // namespace dicom

/// One file of the export and what became of it.
struct FileEntry {
  std::string relative_path;  ///< '/'-separated, below the export's root
  std::uint64_t bytes = 0;
  Code code = Code::NOT_DICOM;
  std::string detail;  ///< sizes, values, transfer syntax; no identifiers
  std::shared_ptr<const dicom::NativePixels>
      native{};                              ///< where its pixels lie as they are, or null
  std::shared_ptr<dicom::KeptImage> kept{};  ///< its one compressed image, if decoded, or null
  /// The system failed on it (an input/output error, a file that vanished): no word on the file,
  /// and what else it hides is unknown.
  bool system_failed = false;
};

/// One image plane: a file, or one frame of a multi-frame file.
struct Plane {
  std::size_t file = 0;    ///< index into Scan::files
  std::int32_t frame = 0;  ///< 0-based
  Vec3 position_mm{};      ///< ImagePositionPatient
  double z_mm = 0;         ///< position along the group's normal pointing to the head
  std::string sop_instance_uid;
};

/// Why a series got the score it has.
struct ScoreReason {
  std::string criterion;  ///< coverage, thickness, kernel, image_type, phase, ...
  double points = 0;
  std::string why;  ///< from an allow-list of words and numbers; never header free text
};

enum class Phase { unknown, unenhanced, arterial, portal, delayed };
std::string_view to_string(Phase phase);

/// Why the planes of one series became several volumes.
struct SplitReason {
  std::vector<std::string> attributes;  ///< names of those that tell the parts apart; no values
  std::vector<std::size_t> slices;      ///< of each part
  std::vector<double> spacing_mm;       ///< median distance within each part
};

/// One candidate volume: planes of one series that share orientation, acquisition, phase and
/// geometry.
struct Series {
  std::string key;  ///< stable and unique in the scan: series UID plus "#k" when the series was
                    ///< split, or the path of a NIfTI/NRRD file
  bool is_dicom = true;
  std::string patient_id, issuer, patient_sex, patient_birth_date, accession;
  std::string study_uid, series_uid, frame_of_reference_uid;
  std::string relative_path;    ///< first file's
  std::string transfer_syntax;  ///< UID; several are joined by '+'
  std::int64_t columns = 0, rows = 0;
  Vec3 row_axis{1, 0, 0},
      column_axis{0, 1, 0};  ///< IOP: direction of increasing column, of increasing row
  Vec3 normal{0, 0, 1};      ///< points to the head
  double pixel_x_mm = 1, pixel_y_mm = 1;  ///< between columns, between rows
  double thickness_mm = 0;
  std::vector<Plane> planes;  ///< sorted by z_mm ascending, duplicates dropped
  std::vector<std::size_t>
      duplicate_files;          ///< indices into Scan::files: same position, same pixels
  std::vector<double> gaps_mm;  ///< distances along the normal between neighbours, planes-1 values
  double spacing_mm = 0;        ///< median of gaps_mm
  std::vector<std::size_t> missing_after;  ///< plane indices k after which slices are missing
  double tilt_deg = 0;     ///< angle between the slice normal and the stack direction, >= 0
  bool irregular = false;  ///< spacing varies beyond tolerance
  bool feet_first = false, lossy = false;
  Phase phase = Phase::unknown;
  bool contrast = false;
  std::string kernel_class = "unknown";  ///< soft | sharp | unknown
  std::string scanner =
      "unknown";  ///< its maker: GE | Siemens | ... | other | unknown, never header text
  double score = 0;
  std::vector<ScoreReason> reasons;
  Code code =
      Code::USED;  ///< USED: eligible; else why the series is not (rejected or ignored code)
  std::string detail;
  std::vector<Code> flags;
  std::vector<std::size_t> data_files;  ///< indices into Scan::files: voxels beside the planes' own
                                        ///< file (.img, .raw)
  std::vector<SplitReason> split_by;    ///< what told this volume from others of its series
  bool several_persons = false;         ///< its IDs are shared with another person's images
};

/// Voxels of the volume that read_series() makes, the upright grid of a tilted stack included. A
/// double: hostile headers may ask for more than an integer holds.
[[nodiscard]] double volume_voxels(const Series& series);

/// Every file that a series is read from, as indices into Scan::files: those of the planes in the
/// order of their first use, then data_files.
[[nodiscard]] std::vector<std::size_t> source_files(const Series& series);

/// A SEG or RTSTRUCT object of the export.
struct MaskObject {
  std::size_t file = 0;
  bool is_rtstruct = false;
  std::vector<std::string> series_uids;        ///< referenced series
  std::vector<std::string> sop_instance_uids;  ///< of its frames or contours, else of the series
  std::string patient_id, study_uid, frame_of_reference_uid;
  /// Where it lies: the centres of each SEG frame's corner pixels, or a point of each contour.
  std::vector<std::array<Vec3, 4>> frame_corners_mm;
  std::vector<Vec3> contour_points_mm;
  double bytes = 0;  ///< of memory that the pixels of a SEG take when they are read
};

/// Everything found below one root. Deterministic: files by relative path, series by key.
struct Scan {
  std::filesystem::path root;
  std::vector<FileEntry> files;
  std::vector<Series> series;
  std::vector<MaskObject> masks;
};

}  // namespace wsp

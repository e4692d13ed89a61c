#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/medical/dicom_text.hpp"
#include "io/medical/masks.hpp"
#include "io/medical/seg_write.hpp"

/// What SEG and RTSTRUCT reading share. Internal to io/medical.
namespace wsp::dicom {

/// What a code sequence says of the organ.
enum class LiverCode { none, whole, part };
/// Read a code sequence: a code of the organ (liver: SCT 10200004, or the older SRT T-62000) is the
/// whole of it, with a modifier (right lobe) a part.
LiverCode liver_code(DcmItem& parent, const DcmTagKey& sequence, const Organ& organ);
/// True where an item of a code sequence is one of (scheme, value).
bool holds_code(DcmItem& parent, const DcmTagKey& sequence,
                const std::vector<std::pair<std::string, std::string>>& codes);
/// The ReferencedSOPInstanceUIDs of a sequence's items.
std::vector<std::string> referenced_instances(DcmItem& parent, const DcmTagKey& sequence);

/// A segment or ROI that may be the organ.
struct LiverCandidate {
  int number = 0;
  LiverCode code = LiverCode::none;  ///< says more than any name; a part is never chosen
  std::vector<std::string> names;    ///< the label first
};
/// Choose the one organ: the coded one, else the one whose name *is* a wanted one, a label before
/// other names. Names are compared whole, without regard to case; as a wanted name the organ's own
/// ("liver") stands for a short list of the whole ("Whole_Liver"; not "non-liver", "Liver_PRV5").
/// Several codes are told apart by name. NO_LIVER_SEGMENT or MASK_AMBIGUOUS.
Outcome<int> choose_liver(const std::vector<LiverCandidate>& candidates,
                          const std::vector<std::string>& wanted, const std::string& organ);

/// Distances that differ by less are the same: SEG positions often have 2 decimals.
inline constexpr double kRoundedMm = 0.02;

/// Position along the volume's slice normal.
double position_mm(const Volume& volume, const Vec3& point);
/// The one slice that an object names: one SOP instance that stands for exactly one slice.
std::optional<std::int64_t> named_slice(const LoadedVolume& volume,
                                        const std::vector<std::string>& sop_instances);
/// The slice nearest to a position along the normal; halfway between two, the upper one.
std::int64_t nearest_slice(const Volume& volume, double z_mm);
/// The slice of the volume that an object refers to; -1 where there is none. The named_slice()
/// decides, unless the position denies it by more than half a slice distance; several instances, or
/// all frames of one multi-frame image, leave it to the position along the normal within
/// `tolerance_mm`.
std::int64_t find_slice(const LoadedVolume& volume, const std::vector<std::string>& sop_instances,
                        const Vec3& position, double tolerance_mm);

/// Where the pixels of a SEG frame lie.
struct FramePlane {
  Vec3 position{}, row{1, 0, 0}, column{0, 1, 0};
  double dx = 0, dy = 0;
  double spacing_mm = 0, thickness_mm = 0;  ///< SpacingBetweenSlices, SliceThickness; 0: not given
  bool placed = false, oriented = false;

  /// Take what a functional group says; the per-frame one after the shared one.
  void update(DcmItem& group);
  [[nodiscard]] bool complete() const { return placed && oriented && dx > 0 && dy > 0; }
};

/// read_seg_mask(), read_rtstruct_mask() and seg_object(), in this process.
Outcome<LiverMask> rasterise_seg(const std::filesystem::path& path, const LoadedVolume& loaded,
                                 const MaskOptions& options);
Outcome<LiverMask> rasterise_rtstruct(const std::filesystem::path& path, const LoadedVolume& loaded,
                                      const MaskOptions& options);
Outcome<std::vector<std::uint8_t>> build_seg(const std::filesystem::path& source,
                                             const LoadedVolume& loaded, const LiverMask& mask,
                                             const Organ& organ, const SegStyle& style);

}  // namespace wsp::dicom

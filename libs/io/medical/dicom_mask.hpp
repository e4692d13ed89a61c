#pragma once
#include <optional>
#include <string>
#include <vector>

#include "io/medical/dicom_text.hpp"
#include "io/medical/masks.hpp"

/// What SEG and RTSTRUCT reading share. Internal to io/medical.
namespace wsp::dicom {

/// The items of a sequence; empty when it is absent.
std::vector<DcmItem*> items(DcmItem& parent, const DcmTagKey& tag);
/// True where a code sequence item says Liver (SCT 10200004, or the older SRT T-62000).
bool is_liver_code(DcmItem& parent, const DcmTagKey& sequence);
/// The ReferencedSOPInstanceUIDs of a sequence's items.
std::vector<std::string> referenced_instances(DcmItem& parent, const DcmTagKey& sequence);

/// A segment or ROI that may be the liver.
struct LiverCandidate {
  int number = 0;
  bool coded = false;              ///< by a code, which says more than any name
  std::vector<std::string> names;  ///< the label first
};
/// Choose the one liver: the coded one, else the one whose label is a wanted name, else the one
/// that holds a wanted name as a whole word and no word that makes it a part or a lesion ("liver
/// tumor", "Liver-GTV"). Several codes are told apart by name. NO_LIVER_SEGMENT or MASK_AMBIGUOUS.
Outcome<int> choose_liver(const std::vector<LiverCandidate>& candidates,
                          const std::vector<std::string>& wanted);

/// The slice of the volume that an object refers to; -1 where there is none. One SOP instance that
/// stands for exactly one slice decides, unless the position denies it by more than half a slice
/// distance; several, or all frames of one multi-frame image, leave it to the position along the
/// normal within `tolerance_mm`.
std::int64_t find_slice(const LoadedVolume& volume, const std::vector<std::string>& sop_instances,
                        const Vec3& position, double tolerance_mm);

}  // namespace wsp::dicom

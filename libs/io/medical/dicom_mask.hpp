#pragma once
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
/// True where a name holds one of the wanted ones as a whole word, whatever the case.
bool name_matches(const std::string& name, const std::vector<std::string>& wanted);
/// The slice of the volume with this SOP instance, else the one at this position along the normal within
/// `tolerance_mm`; -1 where there is none.
std::int64_t find_slice(const LoadedVolume& volume, const std::string& sop_instance_uid, const Vec3& position,
                        double tolerance_mm);

}  // namespace wsp::dicom

#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "io/core/organ.hpp"
#include "io/core/outcome.hpp"
#include "io/core/volume.hpp"
#include "io/medical/scan.hpp"

namespace wsp {

/// How a mask is written, and who drew it.
struct SegStyle {
  std::string algorithm;     ///< the model's name
  std::string tool_version;  ///< of the toolkit
  bool label_map = false;    ///< LABELMAP (a byte for each voxel), else BINARY (a bit)
};

/// The bytes of a DICOM SEG object (BINARY: PS3.3 A.51, LABELMAP: A.101; one segment, one frame per
/// slice that holds the mask) of a mask on the volume's grid. Patient, study and frame of reference
/// are those of `source`, a file of the series, so it says who the patient is. Each frame names the
/// slice that it lies on, where slices are single images. Its UIDs follow from the mask and the
/// slices: the same mask gives the same object, but for its dates. `source`, and the volume, must
/// be of a DICOM series. Rejects MASK_UNREADABLE where the source lacks what a SEG must have (a
/// frame of reference, say), and TILT_RESAMPLED where the volume's slices are not the acquired
/// ones.
Outcome<std::vector<std::uint8_t>> seg_object(const std::filesystem::path& source,
                                              const LoadedVolume& loaded, const LiverMask& mask,
                                              const Organ& organ, const SegStyle& style);

}  // namespace wsp

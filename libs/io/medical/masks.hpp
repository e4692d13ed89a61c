#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "io/core/organ.hpp"
#include "io/core/outcome.hpp"
#include "io/core/volume.hpp"
#include "io/medical/mask_directory.hpp"
#include "io/medical/scan.hpp"

namespace wsp {

struct MaskOptions {
  Organ organ;
  /// Whole names, in any case; the organ's name stands for those of the whole ("Whole Liver").
  std::vector<std::string> liver_roi{"liver"};
  std::vector<std::int64_t> liver_labels{1};  ///< values in label-map files
};

/// Find and read referenced series and instances of a SEG or RTSTRUCT header (for Scan::masks), and
/// where it lies.
Outcome<MaskObject> read_mask_references(const std::filesystem::path& path, bool is_rtstruct);

/// Rasterise a DICOM SEG (BINARY, FRACTIONAL >= 0.5, LABELMAP) onto the volume; every voxel takes
/// the nearest pixel of its slice's frame in world space, and absent frames are empty.
/// Frames of the slices' own distance are matched by SOP instance, else by plane position within
/// 0.01 mm of rounding. Where the frames' grid has another distance (SpacingBetweenSlices, or the
/// regular distance of the frames, at most SliceThickness), or lies between the slices, a frame is
/// a slab of that height: a slice takes the frame whose slab holds its centre, on a border the
/// upper (flag MASK_RESAMPLED). The liver is the one coded segment, else the one named. Rejects
/// NO_LIVER_SEGMENT, MASK_AMBIGUOUS, MASK_UNREADABLE, and MASK_BAD_REFERENCE where a frame that
/// holds liver lies on no slice.
Outcome<LiverMask> read_seg_mask(const std::filesystem::path& path, const LoadedVolume& volume,
                                 const MaskOptions& options);
/// Rasterise CLOSED_PLANAR contours (pixel centres, even-odd = XOR holes) onto the volume's slices,
/// matched like SEG frames with half a slice distance of tolerance; an exact copy of a
/// CLOSED_PLANAR contour counts once. Contours on fewer planes than the volume are interpolated
/// where their distance is regular and at most 15 mm (MASK_INTERPOLATED), of thinner ones a slice
/// takes the nearest (MASK_RESAMPLED): contour_planes.hpp. Rejects like read_seg_mask(), and
/// MASK_BAD_REFERENCE where contours of several planes fall on one slice at irregular distances.
Outcome<LiverMask> read_rtstruct_mask(const std::filesystem::path& path, const LoadedVolume& volume,
                                      const MaskOptions& options);
/// Read a NIfTI/NRRD label map; resampled (nearest, each slice at its own position) where its grid
/// differs (flag MASK_RESAMPLED): a voxel of the mask reaches half its size to each side, on a
/// border the upper counts. NO_LIVER where no voxel has a wanted label. MASK_MISMATCH where none of
/// its liver lies inside the volume, and where a liver in over a quarter of its full width is cut
/// by the end of its file more than 1.5 slices inside the volume; nearer to the volume's end that
/// is flagged LIVER_TRUNCATED.
Outcome<LiverMask> read_mask_file(const std::filesystem::path& path, const LoadedVolume& volume,
                                  const MaskOptions& options);

}  // namespace wsp

#pragma once
#include <cstdint>
#include <filesystem>
#include <string_view>
#include <vector>

#include "io/medical/image_file.hpp"

/// Header guards that come before ITK. Internal to io/medical.
namespace wsp::image {

/// Check a NIfTI header's raw bytes before any library sees the file, and take the transform from
/// it (sform where its code is positive, else qform; NIfTI-1 §"orientation"). Gzip is undone by
/// zlib.
struct NiftiHeader {
  ImageHeader image;
  bool swapped = false;        ///< the file has the other byte order
  std::filesystem::path data;  ///< the file with the voxels, perhaps gzipped
  std::int64_t offset = 0;     ///< of the first voxel, in bytes
  int voxel_bytes = 0;
  double slope = 1, intercept = 0;
};
Outcome<NiftiHeader> read_nifti_header(const std::filesystem::path& path);
/// The voxels as stored, in this machine's byte order; file order, x fastest. Through zlib.
Outcome<std::vector<char>> read_nifti_voxels(const NiftiHeader& header);
/// Check a NRRD header's text; the transform comes from ITK afterwards, so the geometry is empty.
Outcome<ImageHeader> check_nrrd_header(const std::filesystem::path& path);
[[nodiscard]] bool is_nrrd(const std::filesystem::path& path);
/// Whether the file name has this ending (in small letters) in any case, and more before it.
[[nodiscard]] bool has_ending(const std::filesystem::path& path, std::string_view ending);

/// Refuse voxel sizes, origins and axes that make no grid: not finite, not positive, or axes that
/// are more than half a degree off a right angle (BAD_HEADER).
Outcome<Geometry> check_geometry(const Geometry& geometry);
/// Refuse a header that asks for more bytes than its file can hold (TRUNCATED_FILE); compressed
/// data cannot shrink below a thousandth. USED where it can.
Rejection check_bytes(const std::filesystem::path& file, double needed, bool compressed);

}  // namespace wsp::image

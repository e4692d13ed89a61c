#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "io/core/bytes.hpp"
#include "io/medical/image_file.hpp"
#include "io/medical/refuse.hpp"

/// Headers of images and their voxels as stored. Internal to io/medical.
namespace wsp::image {

inline constexpr std::int64_t kMaxVoxels = std::int64_t{1} << 32;

[[nodiscard]] std::string lower(std::string text);
/// Whether the file name has this ending (in small letters) in any case, and more before it.
[[nodiscard]] bool has_ending(const std::filesystem::path& path, std::string_view ending);
[[nodiscard]] bool is_nrrd(const std::filesystem::path& path);

/// Check a NIfTI header's raw bytes and take the transform from
/// it (sform where its code is positive and it is one, else qform; NIfTI-1 §"orientation"), in mm
/// by xyzt_units. Gzip is known by its magic and undone by zlib.
struct NiftiHeader {
  ImageHeader image;
  bool swapped = false;        ///< the file has the other byte order
  std::filesystem::path data;  ///< the file with the voxels, perhaps gzipped
  std::int64_t offset = 0;     ///< of the first voxel, in bytes
  int voxel_bytes = 0;
  double slope = 1, intercept = 0;
};
Outcome<NiftiHeader> read_nifti_header(const std::filesystem::path& path);
/// The voxels as stored, in this machine's byte order; file order, x fastest. Through zlib, whose
/// checksums hold to the file's end (TRUNCATED_FILE, DECODE_FAILED).
Outcome<SharedSpan<char>> read_nifti_voxels(const NiftiHeader& header);
/// The file with the voxels of a pair's header: .img or .img.gz beside it, the one that is packed
/// as the header is before the other, in any case. Empty where there is none, and for a header
/// that holds its voxels itself.
[[nodiscard]] std::filesystem::path pair_data(const std::filesystem::path& header);

/// What a NRRD header says. No library sees such a file: teem's buffers overflow on a long field.
struct NrrdHeader {
  enum class Encoding { raw, gzip, text, hex };
  ImageHeader image;
  std::size_t voxel_bytes = 0;
  Encoding encoding = Encoding::raw;
  bool swapped = false;                      ///< the voxels have the other byte order
  std::vector<std::filesystem::path> files;  ///< with the voxels, an equal share in each
  std::int64_t start = 0;                    ///< of the voxels in their file: behind the header
  std::int64_t line_skip = 0;                ///< lines to leave out from there
  std::int64_t byte_skip = 0;                ///< bytes after those, unpacked; -1: all but the last
  std::vector<LabelImage::Segment> segments;
};
Outcome<NrrdHeader> read_nrrd_header(const std::filesystem::path& path);
/// The voxels in this machine's byte order; file order, x fastest.
Outcome<SharedSpan<char>> read_nrrd_voxels(const NrrdHeader& header);
/// The detached data files of a NRRD header that are there.
[[nodiscard]] std::vector<std::filesystem::path> nrrd_data(const std::filesystem::path& header);

/// Refuse voxel sizes, origins and axes that make no grid of a body: not finite, voxels under
/// 0.01 mm or over 100 mm, or axes that are more than half a degree off a right angle (BAD_HEADER).
Outcome<Geometry> check_geometry(const Geometry& geometry);
/// Refuse a header that asks for more bytes than its file can hold (TRUNCATED_FILE); compressed
/// data cannot shrink below a thousandth. USED where it can.
Rejection check_bytes(const std::filesystem::path& file, double needed, bool compressed);

}  // namespace wsp::image

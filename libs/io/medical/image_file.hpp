#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "io/core/outcome.hpp"
#include "io/core/volume.hpp"

/// NIfTI-1/2 and NRRD, read here byte by byte. Not DICOM.
namespace wsp {

/// True by name, in any case: .nii, .nii.gz, .hdr, .hdr.gz (NIfTI or Analyze pair), .nrrd, .nhdr.
[[nodiscard]] bool is_image_file_name(const std::filesystem::path& path);

/// The file name without the ending of an image: that of a volume, of a pair's pixels (.img) or of
/// 3D Slicer's segmentation (.seg.nrrd). "Case.7.NII.GZ" -> "Case.7"; any other name stays whole.
[[nodiscard]] std::string image_stem(const std::filesystem::path& path);

/// Every file that is read for the image with this header: itself, then the voxels behind it (the
/// .img of a .hdr; a NRRD's data files). Best effort: a header that is refused still names the
/// files that would go with it. Files that are not there are left out.
[[nodiscard]] std::vector<std::filesystem::path> image_files(const std::filesystem::path& header);

struct ImageHeader {
  Geometry geometry;          ///< file's own axis order, LPS mm (NIfTI's RAS converted)
  std::string component;      ///< e.g. "int16", "float64"
  std::vector<Code> flags{};  ///< ORIENTATION_CONFLICT
};
/// Read and check the header only; refuses complex, RGB, 4-D, no-affine and absurd headers by code,
/// without allocating pixels.
Outcome<ImageHeader> read_image_header(const std::filesystem::path& path);

struct ImageVolume {
  Volume volume;                                   ///< canonical orientation
  std::int64_t minimum = 0, maximum = 0, sum = 0;  ///< of the rounded values as stored
  bool whole = true;                               ///< no value had a fraction
};
/// Read as canonical HU (float rounded half to even).
Outcome<ImageVolume> read_image_volume(const std::filesystem::path& path);

/// A label map in canonical orientation.
struct LabelImage {
  Geometry geometry;
  std::vector<std::int32_t> values;
  std::vector<std::uint8_t> bytes;  ///< instead of `values`, from read_labels()
  /// What the values mean, where the file says so itself (3D Slicer's .seg.nrrd).
  struct Segment {
    std::string name;
    std::int32_t value = 0;
  };
  std::vector<Segment> segments;
  std::vector<Code> flags;  ///< of the header
};
/// Bytes of memory that read_label_image() will take by the file's header; 0 where it has none that
/// can be read.
double label_image_bytes(const std::filesystem::path& path);
/// Refuses values that are no whole numbers, as those of a probability map, and NaN
/// (MASK_UNREADABLE); a thousandth of rounding is allowed.
Outcome<LabelImage> read_label_image(const std::filesystem::path& path);
/// The same, but values that the file holds as unsigned bytes stay bytes.
Outcome<LabelImage> read_labels(const std::filesystem::path& path);

/// A canonical mask's voxels in the axis order and directions of a file with this header, so that
/// write_nifti() puts them on the file's own grid. Throws Error(failure) where the sizes do not
/// fit.
std::vector<std::uint8_t> in_file_order(const LiverMask& mask, const Geometry& file);

/// Write NIfTI-1 (.nii or .nii.gz); LPS geometry is converted to RAS. Throws Error(output).
void write_nifti(const std::filesystem::path& path, const Geometry& geometry,
                 const std::vector<std::int16_t>& values);
void write_nifti(const std::filesystem::path& path, const Geometry& geometry,
                 const std::vector<std::uint8_t>& values);

}  // namespace wsp

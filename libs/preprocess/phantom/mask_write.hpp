#pragma once
#include <cstdint>
#include <filesystem>
#include <utility>
#include <vector>

#include "preprocess/phantom/dicom_write.hpp"

namespace wsp::phantom {

/// The images that a mask object refers to: the planes of `stack` and the instance of each (empty
/// where the plane was not written). An enhanced series has one instance and frames.
struct MaskSource {
  const SeriesHeader* header = nullptr;
  const Stack* stack = nullptr;
  std::vector<std::string> instances;
  std::string sop_class;
  bool frames = false;  ///< planes are frames of the one instance
};

/// Outlines of a mask as closed polygons along pixel borders, in units of pixels with (0, 0) the
/// centre of the first pixel: by the even-odd rule they hold exactly the pixels that are set.
std::vector<std::vector<std::pair<double, double>>> trace_outlines(
    const std::vector<std::uint8_t>& mask, std::int64_t columns, std::int64_t rows);

/// Write the liver as a BINARY DICOM SEG, a frame per plane that holds liver, beside a second
/// segment of another name. `liver[k]` is the mask of plane k.
InstanceRecord write_seg(const std::filesystem::path& path, const SeriesHeader& header,
                         const MaskSource& source,
                         const std::vector<std::vector<std::uint8_t>>& liver);
/// Write the liver as an RTSTRUCT of closed planar contours, beside a second ROI.
InstanceRecord write_rtstruct(const std::filesystem::path& path, const SeriesHeader& header,
                              const MaskSource& source,
                              const std::vector<std::vector<std::uint8_t>>& liver);

}  // namespace wsp::phantom

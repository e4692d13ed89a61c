#pragma once
#include <cstdint>
#include <filesystem>

#include "io/medical/image_file.hpp"

namespace wsp::image {

/// Check a NIfTI header's raw bytes before any library sees the file, and take the transform from it
/// (sform where its code is positive, else qform; NIfTI-1 §"orientation"). Gzip is undone by zlib.
Outcome<ImageHeader> read_nifti_header(const std::filesystem::path& path);
/// Check a NRRD header's text; the transform comes from ITK afterwards.
Outcome<ImageHeader> check_nrrd_header(const std::filesystem::path& path);
[[nodiscard]] bool is_nrrd(const std::filesystem::path& path);

}  // namespace wsp::image

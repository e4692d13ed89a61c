#pragma once
#include <cstdint>
#include <filesystem>
#include <vector>

#include "io/medical/nrrd_text.hpp"

/// Where a NRRD header says that its voxels lie. Internal to io/medical.
namespace wsp::image {

/// The detached files of `data file`, be it a name, a pattern or a list, all below the header's
/// folder, there or not; none where the voxels follow the header. BAD_HEADER for a file elsewhere
/// and for an absurd list, UNSUPPORTED_ENCODING for a pattern that is not read here.
Outcome<std::vector<std::filesystem::path>> nrrd_files(const std::filesystem::path& header,
                                                       const NrrdText& text);

/// Whether so many detached files can hold `sizes` voxels: one slice each, or by the field's last
/// number parts of that many dimensions. True of a single named file.
[[nodiscard]] bool files_fit(std::size_t files, const NrrdText& text,
                             const std::vector<std::int64_t>& sizes);

}  // namespace wsp::image

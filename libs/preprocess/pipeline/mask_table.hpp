#pragma once
#include <filesystem>
#include <optional>
#include <string>

#include "io/medical/masks.hpp"

namespace wsp {

/// The masks of --masks and --masks-table, where any are given. A table is a CSV file with the
/// columns "case" (a volume by its path, or by series UID, study UID, accession number or patient
/// ID) and "mask" (a file, relative to --masks or to the table); --masks may name one too.
/// organ: Organ::name. Throws Error(usage) for a malformed table, and by number for rows whose file
/// does not exist; Error(no_input) for a directory that cannot be read.
std::optional<MaskDirectory> open_masks(const std::optional<std::filesystem::path>& masks,
                                        const std::optional<std::filesystem::path>& table,
                                        bool follow_links, const std::string& organ);

}  // namespace wsp

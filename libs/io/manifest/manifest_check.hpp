#pragma once
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

namespace wsp {

/// Say in plain words what of a manifest, and of the table beside it, does not fit; empty where all
/// does. Names fields of the manifest, columns and rows by number, never a cell. Throws
/// Error(usage) where a file cannot be read at all.
std::vector<std::string> check_manifest(const std::filesystem::path& manifest,
                                        const std::optional<std::filesystem::path>& table);

/// The same of the manifest's fields alone, against the schema's rules.
std::vector<std::string> check_manifest_fields(const nlohmann::json& manifest);

}  // namespace wsp

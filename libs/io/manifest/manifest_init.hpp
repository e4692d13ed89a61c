#pragma once
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

namespace wsp {

/// A manifest made from a label table, and what to check in it.
struct ManifestDraft {
  std::string json;                ///< the file's text; its "guessed" repeats the notes
  std::vector<std::string> notes;  ///< plain words for people: columns and counts, no cells
};
/// Guess which column of a label table names the cases, which are labels, what their words mean and
/// which stand for unknown. Every word of a label column has a class in the draft, so that it can
/// be used as it is. Throws Error(usage) where the table has no header row, or no column that could
/// be the key or a label.
ManifestDraft draft_manifest(const std::filesystem::path& table);

/// Say in plain words what of a manifest, and of the table beside it, does not fit; empty where all
/// does. Names fields of the manifest, columns and rows by number, never a cell. Throws Error(usage)
/// where a file cannot be read at all.
std::vector<std::string> check_manifest(const std::filesystem::path& manifest,
                                        const std::optional<std::filesystem::path>& table);

/// The same of the manifest's fields alone, against the schema's rules.
std::vector<std::string> check_manifest_fields(const nlohmann::json& manifest);

}  // namespace wsp

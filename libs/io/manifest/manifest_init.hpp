#pragma once
#include <filesystem>
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

}  // namespace wsp

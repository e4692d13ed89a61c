#pragma once
#include <optional>
#include <string>
#include <string_view>

/// What a cell of a label table looks like, where no manifest says what it is. Internal to
/// io/manifest.
namespace wsp::cell {

/// ASCII letters in lower case.
[[nodiscard]] std::string lower(const std::string& text);
/// Empty, "n/a", "?", "unbekannt" and the like.
[[nodiscard]] bool means_unknown(const std::string& cell);
/// A whole number of 0 or more, also as "2.0"; nothing for any other text.
[[nodiscard]] std::optional<int> whole_number(std::string_view text);
[[nodiscard]] bool is_number(const std::string& cell);
/// A number that is not whole ("3.5", "3,5", "1e3"): a measurement, no class.
[[nodiscard]] bool is_measurement(const std::string& cell);
[[nodiscard]] bool is_any_number(const std::string& cell);
/// The class of a word that is known to stand for one ("no" and "yes", "none" to "severe", "F3",
/// "stage 4"), 0 the least; nothing for any other text.
[[nodiscard]] std::optional<int> known_class(const std::string& cell);
[[nodiscard]] bool is_known(const std::string& cell);
/// Digits and at least three dots.
[[nodiscard]] bool is_uid(const std::string& cell);
/// A path, or the name of a NIfTI or NRRD file.
[[nodiscard]] bool is_file(const std::string& cell);

}  // namespace wsp::cell

#pragma once
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace wsp {

/// Refuse a crosswalk that could not be written at the end of a run: Error(output) where its
/// directory is missing or not writable, and where a file stands there that is no crosswalk of
/// ours. Touches nothing.
void check_crosswalk(const std::filesystem::path& path);

/// "pseudonym original", tab-separated, one header line, in the order given. In both columns a
/// backslash, tab, line feed and carriage return stand as \\ \t \n \r, so that a file name cannot
/// break a row.
std::string crosswalk_text(const std::vector<std::pair<std::string, std::string>>& rows);

}  // namespace wsp

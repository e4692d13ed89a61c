#include "preprocess/pipeline/mask_table.hpp"

#include <algorithm>
#include <cctype>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/manifest/csv.hpp"
#include "preprocess/pipeline/name_hints.hpp"

namespace wsp {
namespace {

namespace fs = std::filesystem;

bool is_table(const fs::path& path) {
  std::string end = path.extension().string();
  std::transform(end.begin(), end.end(), end.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  std::error_code ec;
  return end == ".csv" && fs::is_regular_file(path, ec);
}

// A cell may name a patient: rows are told by number.
std::vector<MaskRow> read_rows(const fs::path& file, const fs::path& root) {
  std::error_code ec;
  if (!fs::is_regular_file(file, ec))
    throw Error(ErrorCode::usage,
                "expected the mask table (a CSV file with the columns 'case' and 'mask') at " +
                    file.string() + ", found " + (fs::exists(file, ec) ? "no file" : "nothing"));
  const CsvTable table = parse_csv(read_file(file), file.string());
  const auto column = [&](const std::string& name) {
    const auto at = std::find(table.header.begin(), table.header.end(), name);
    if (at == table.header.end() || std::count(table.header.begin(), table.header.end(), name) != 1)
      throw Error(ErrorCode::usage,
                  "the mask table " + file.string() + " has no single column '" + name +
                      "'; expected a header row with the columns 'case' (path of the volume, "
                      "series UID or patient ID) and 'mask' (its file)");
    return static_cast<std::size_t>(at - table.header.begin());
  };
  const std::size_t volume = column("case"), mask = column("mask");
  std::vector<MaskRow> rows;
  std::vector<std::size_t> missing;
  for (std::size_t r = 0; r < table.rows.size(); ++r) {
    const std::string& name = table.rows[r][volume];
    const std::string& path = table.rows[r][mask];
    if (name.empty() || path.empty())
      throw Error(ErrorCode::usage, file.string() + ", " + table.place(r) +
                                        ": found an empty cell, expected a case and its mask");
    fs::path found = root / path;
    if (!fs::is_regular_file(found, ec)) found = file.parent_path() / path;
    if (!fs::is_regular_file(found, ec)) missing.push_back(r + 1);
    rows.push_back({name, fs::absolute(found).lexically_normal()});
  }
  if (!missing.empty())
    throw Error(ErrorCode::usage,
                "the mask table " + file.string() + " names files that do not exist, in row" +
                    (missing.size() == 1 ? " " : "s ") + list_of_numbers(missing) +
                    " (numbered without the header); paths are relative to "
                    "--masks or to the table");
  return rows;
}

}  // namespace

std::optional<MaskDirectory> open_masks(const std::optional<fs::path>& masks,
                                        const std::optional<fs::path>& table, bool follow_links,
                                        const std::string& organ) {
  if (masks && is_table(*masks)) {
    if (table)
      throw Error(ErrorCode::usage, "--masks and --masks-table both name a table; give one");
    const fs::path root = fs::absolute(*masks).parent_path();
    return MaskDirectory(root, read_rows(*masks, root), false, false, organ);
  }
  if (table) {
    const fs::path root = masks ? fs::absolute(*masks) : fs::absolute(*table).parent_path();
    return MaskDirectory(root, read_rows(*table, root), masks.has_value(), follow_links, organ);
  }
  if (masks) return MaskDirectory(*masks, follow_links, organ);
  return std::nullopt;
}

}  // namespace wsp

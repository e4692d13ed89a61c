#include <algorithm>
#include <charconv>
#include <optional>
#include <regex>
#include <string_view>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/log.hpp"
#include "io/manifest/csv.hpp"
#include "io/manifest/manifest.hpp"

namespace wsp {
namespace {

std::string file_name(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

std::string list_of(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "'" : ", '") + word + "'";
  return text;
}

std::size_t find_column(const CsvTable& table, const std::string& name, const std::string& file) {
  const auto count = std::count(table.header.begin(), table.header.end(), name);
  if (count == 1)
    return static_cast<std::size_t>(std::find(table.header.begin(), table.header.end(), name) -
                                    table.header.begin());
  throw Error(ErrorCode::usage,
              "the label table " + file + " has " +
                  (count == 0 ? "no column" : std::to_string(count) + " columns") + " '" + name +
                  "', expected one; it has " + list_of(table.header) +
                  ". Name the right column in the manifest, or correct the table");
}

// A whole number, also as "2.0": tables that went through pandas hold classes like that.
std::optional<std::int64_t> integer_of(std::string_view text) {
  if (text.ends_with(".0")) text.remove_suffix(2);
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// A cell may hold a patient's name where a class belongs: it is told at debug level only.
[[noreturn]] void refuse_cell(const std::string& where, const std::string& text,
                              const std::string& expected) {
  log::debug(where + ": found '" + text + "'");
  throw Error(ErrorCode::usage, where + ": expected " + expected + "; found other text of " +
                                    std::to_string(text.size()) +
                                    " bytes (--log-level debug shows it)");
}

std::int64_t class_of(const LabelColumn& label, const std::string& text, const std::string& where) {
  if (text.empty() || (!label.missing.empty() && text == label.missing)) return -1;
  if (!label.values.empty()) {
    const auto hit = label.values.find(text);
    if (hit != label.values.end()) return hit->second;
    std::vector<std::string> known;
    for (const auto& [word, value] : label.values) known.push_back(word);
    refuse_cell(where, text,
                "one of " + list_of(known) + " or an empty cell (the manifest's values for '" +
                    label.name + "')");
  }
  constexpr std::int64_t kMost = 32767;  // a date or an ID in the label's place is caught
  const auto value = integer_of(text);
  if (!value || *value < -1 || *value > kMost)
    refuse_cell(where, text,
                "a class, an integer from -1 (unknown) to " + std::to_string(kMost) +
                    " (for words give the manifest a 'values' map)");
  return *value;
}

// A split is copied into the dataset as it stands: only a short plain word may pass.
std::string split_of(const std::string& text, const std::string& where) {
  constexpr std::size_t kLongest = 32;
  const bool plain = std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
  });
  if (!plain || text.size() > kLongest)
    refuse_cell(where, text,
                "the name of a split such as train, val or test (letters, digits, '_' and '-', at "
                "most 32)");
  return text;
}

// The first group of the pattern where it is found in the path.
std::optional<std::string> first_group(const std::string& pattern, const std::string& path) {
  if (pattern.empty()) return std::nullopt;
  try {
    std::smatch match;
    if (std::regex_search(path, match, std::regex(pattern)) && match.size() > 1 && match[1].matched)
      return match[1].str();
    return std::nullopt;
  } catch (const std::regex_error& e) {
    throw Error(ErrorCode::usage,
                "the manifest's pattern '" + pattern + "' cannot be matched: " + e.what());
  }
}

std::string trimmed(const std::string& text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string::npos) return "";
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

// What the table may call this case, best first.
std::vector<std::string> candidates(const DataManifest& manifest, const CaseKeys& keys) {
  if (manifest.key == "accession") return {keys.accession};
  if (manifest.key == "study_uid") return {keys.study_uid};
  if (manifest.key == "series_uid") return {keys.series_uid};
  std::vector<std::string> wanted;
  if (manifest.key == "path") {
    if (auto group = first_group(manifest.path_pattern, keys.relative_path))
      wanted.push_back(*std::move(group));
    wanted.push_back(keys.relative_path);
    wanted.push_back(file_name(keys.relative_path));
    return wanted;
  }
  if (!keys.patient_id.empty()) return {keys.patient_id};
  // In NIfTI exports the subject is known by the manifest's pattern, else by the file's stem.
  if (auto group = first_group(manifest.subject_pattern, keys.relative_path))
    wanted.push_back(*std::move(group));
  const std::string file = file_name(keys.relative_path);
  wanted.push_back(file.substr(0, file.find('.')));
  return wanted;
}

}  // namespace

LabelTable LabelTable::load(const std::filesystem::path& csv, const DataManifest& manifest) {
  const std::string file = csv.string();
  std::error_code ec;
  if (!std::filesystem::is_regular_file(csv, ec))
    throw Error(ErrorCode::usage, "expected the label table (a CSV file) at " + file + ", found " +
                                      (std::filesystem::exists(csv, ec) ? "no file" : "nothing"));
  const CsvTable table = parse_csv(read_file(csv), file);
  LabelTable labels;
  labels.manifest_ = manifest;
  const std::size_t key = find_column(table, manifest.key_column, file);
  std::vector<std::size_t> columns;
  for (const LabelColumn& label : manifest.labels)
    columns.push_back(find_column(table, label.column, file));
  const bool has_split = !manifest.split_column.empty();
  const std::size_t split = has_split ? find_column(table, manifest.split_column, file) : 0;
  for (std::size_t r = 0; r < table.rows.size(); ++r) {
    const std::string where = file + ", " + table.place(r) + ", column '";
    Row row;
    row.key = table.rows[r][key];
    if (row.key.empty())
      throw Error(ErrorCode::usage, where + manifest.key_column +
                                        "': found an empty cell, expected the " + manifest.key +
                                        " of a case (the key)");
    for (std::size_t l = 0; l < columns.size(); ++l)
      row.labels.values.push_back(class_of(manifest.labels[l], table.rows[r][columns[l]],
                                           where + manifest.labels[l].column + "'"));
    if (has_split)
      row.labels.split = split_of(table.rows[r][split], where + manifest.split_column + "'");
    labels.by_key_.emplace(row.key, labels.rows_.size());
    labels.rows_.push_back(std::move(row));
  }
  return labels;
}

LabelTable::Lookup LabelTable::find(const CaseKeys& keys) {
  Lookup lookup;
  for (const std::string& candidate : candidates(manifest_, keys)) {
    const std::string key = trimmed(candidate);
    if (key.empty()) continue;
    const auto [begin, end] = by_key_.equal_range(key);
    for (auto it = begin; it != end; ++it) {
      Row& row = rows_[it->second];
      row.used = true;
      if (lookup.state == Lookup::State::missing) {
        lookup.state = Lookup::State::found;
        lookup.labels = row.labels;
        lookup.row = it->second + 1;
      } else if (row.labels.values != lookup.labels.values ||
                 row.labels.split != lookup.labels.split) {
        lookup.state = Lookup::State::ambiguous;
      }
    }
    if (lookup.state != Lookup::State::missing) break;
  }
  return lookup;
}

std::size_t LabelTable::rows() const { return rows_.size(); }
std::size_t LabelTable::unmatched_rows() const { return unmatched_row_numbers().size(); }
std::vector<std::size_t> LabelTable::unmatched_row_numbers() const {
  std::vector<std::size_t> numbers;
  for (std::size_t i = 0; i < rows_.size(); ++i)
    if (!rows_[i].used) numbers.push_back(i + 1);
  return numbers;
}

}  // namespace wsp

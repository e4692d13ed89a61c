#include <algorithm>
#include <charconv>
#include <regex>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
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
  const auto at = std::find(table.header.begin(), table.header.end(), name);
  if (at == table.header.end())
    throw Error(ErrorCode::usage, "the label table " + file + " has no column '" + name + "'; it has " +
                                      list_of(table.header) + ". Name the column in the manifest");
  return static_cast<std::size_t>(at - table.header.begin());
}

std::int64_t class_of(const LabelColumn& label, const std::string& text, const std::string& where) {
  if (text.empty() || (!label.missing.empty() && text == label.missing)) return -1;
  if (!label.values.empty()) {
    const auto hit = label.values.find(text);
    if (hit != label.values.end()) return hit->second;
    std::vector<std::string> known;
    for (const auto& [word, value] : label.values) known.push_back(word);
    throw Error(ErrorCode::usage, where + ": found '" + text + "', expected one of " + list_of(known) +
                                      " (the manifest's values for '" + label.name + "')");
  }
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < -1)
    throw Error(ErrorCode::usage, where + ": found '" + text +
                                      "', expected an integer class; give the manifest a 'values' map for words");
  return value;
}

}  // namespace

LabelTable LabelTable::load(const std::filesystem::path& csv, const DataManifest& manifest) {
  const CsvTable table = parse_csv(read_file(csv), csv.string());
  LabelTable labels;
  labels.manifest_ = manifest;
  const std::size_t key = find_column(table, manifest.key_column, csv.string());
  std::vector<std::size_t> columns;
  for (const LabelColumn& label : manifest.labels) columns.push_back(find_column(table, label.column, csv.string()));
  const std::size_t split =
      manifest.split_column.empty() ? 0 : find_column(table, manifest.split_column, csv.string());
  for (std::size_t r = 0; r < table.rows.size(); ++r) {
    Row row;
    row.key = table.rows[r][key];
    if (row.key.empty())
      throw Error(ErrorCode::usage, csv.string() + ", row " + std::to_string(r + 1) + ": the key column '" +
                                        manifest.key_column + "' is empty");
    for (std::size_t l = 0; l < columns.size(); ++l)
      row.labels.values.push_back(class_of(manifest.labels[l], table.rows[r][columns[l]],
                                           csv.string() + ", row " + std::to_string(r + 1) + ", column '" +
                                               manifest.labels[l].column + "'"));
    if (!manifest.split_column.empty()) row.labels.split = table.rows[r][split];
    labels.by_key_.emplace(row.key, labels.rows_.size());
    labels.rows_.push_back(std::move(row));
  }
  return labels;
}

LabelTable::Lookup LabelTable::find(const CaseKeys& keys) {
  std::vector<std::string> wanted;
  if (manifest_.key == "patient_id") wanted = {keys.patient_id};
  if (manifest_.key == "accession") wanted = {keys.accession};
  if (manifest_.key == "study_uid") wanted = {keys.study_uid};
  if (manifest_.key == "series_uid") wanted = {keys.series_uid};
  if (manifest_.key == "path") {
    wanted = {keys.relative_path, file_name(keys.relative_path)};
    std::smatch match;
    if (!manifest_.path_pattern.empty() &&
        std::regex_search(keys.relative_path, match, std::regex(manifest_.path_pattern)) && match.size() > 1)
      wanted.insert(wanted.begin(), match[1].str());
  }
  // In NIfTI exports the subject is known by the manifest's pattern, else by the file's stem.
  if (manifest_.key == "patient_id" && keys.patient_id.empty()) {
    std::smatch match;
    if (!manifest_.subject_pattern.empty() &&
        std::regex_search(keys.relative_path, match, std::regex(manifest_.subject_pattern)) && match.size() > 1)
      wanted.push_back(match[1].str());
    std::string stem = file_name(keys.relative_path);
    stem.resize(std::min(stem.find('.'), stem.size()));
    wanted.push_back(stem);
  }
  Lookup lookup;
  for (const std::string& key : wanted) {
    if (key.empty()) continue;
    const auto [begin, end] = by_key_.equal_range(key);
    for (auto it = begin; it != end; ++it) {
      Row& row = rows_[it->second];
      row.used = true;
      if (lookup.state == Lookup::State::missing) {
        lookup.state = Lookup::State::found;
        lookup.labels = row.labels;
      } else if (row.labels.values != lookup.labels.values || row.labels.split != lookup.labels.split) {
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

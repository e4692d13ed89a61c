#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <regex>
#include <set>
#include <string_view>

#include "io/core/error.hpp"
#include "io/core/log.hpp"
#include "io/core/names.hpp"
#include "io/manifest/csv.hpp"
#include "io/manifest/manifest.hpp"

namespace wsp {
namespace {

std::size_t find_column(const CsvTable& table, const std::string& name,
                        const DataManifest& manifest, const std::string& file) {
  const auto count = std::count(table.header.begin(), table.header.end(), name);
  if (count == 1)
    return static_cast<std::size_t>(std::find(table.header.begin(), table.header.end(), name) -
                                    table.header.begin());
  std::vector<std::string> expected{manifest.key_column};
  for (const LabelColumn& label : manifest.labels)
    if (!label.column.empty()) expected.push_back(label.column);
  for (const ContinuousColumn& numbers : manifest.continuous) expected.push_back(numbers.column);
  const std::string it_has =
      has_header(table, expected)
          ? "it has " + quoted(table.header) +
                ". Name the right column in the manifest, or correct the table"
          // Its first row may be a patient's: no cell of it is told.
          : "none of its " + std::to_string(table.header.size()) +
                " columns has a name that is known here. If the first row is data, put a header "
                "row "
                "above it: " +
                quoted(expected) + "; if it is a header, name its columns in the manifest";
  throw Error(ErrorCode::usage,
              "the label table " + file + " has " +
                  (count == 0 ? "no column" : std::to_string(count) + " columns") + " '" + name +
                  "', expected one; " + it_has);
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

constexpr std::int64_t kMost = 32767;  // a date or an ID in the label's place is caught

std::int64_t class_of(const LabelColumn& label, const std::string& text, const std::string& where) {
  if (const auto value = class_of_cell(label, text)) return *value;
  if (label.values.empty())
    refuse_cell(where, text,
                "a class, an integer from -1 (unknown) to " + std::to_string(kMost) +
                    " (for words give the manifest a 'values' map)");
  std::vector<std::string> known;
  for (const auto& [word, value] : label.values) known.push_back(word);
  refuse_cell(where, text,
              "one of " + quoted(known) + " or an empty cell (the manifest's values for '" +
                  label.name + "')");
}

// All of the text, or none.
std::optional<double> finite_number(std::string text, char decimal) {
  if (decimal != '.') {
    if (text.find('.') != std::string::npos) return std::nullopt;
    std::replace(text.begin(), text.end(), decimal, '.');
  }
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value))
    return std::nullopt;
  return value;
}

std::string to_text(char decimal) {
  return decimal == '.' ? "a decimal point, such as 7.3," : "a decimal comma, such as 7,3,";
}

double number_of(const ContinuousColumn& column, const std::string& text,
                 const std::string& where) {
  if (const auto value = number_of_cell(column, text)) return *value;
  refuse_cell(where, text,
              std::string("a number alone, with ") + to_text(column.decimal) +
                  " and without a unit, or an empty cell (words that mean unknown stand in the "
                  "manifest's 'missing' of '" +
                  column.name + "', the sign in its 'decimal')");
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

// What the table may call this case, as it stands.
std::vector<std::string> whole_names(const DataManifest& manifest, const CaseKeys& keys) {
  if (manifest.key == "accession") return {keys.accession};
  if (manifest.key == "study_uid") return {keys.study_uid};
  if (manifest.key == "series_uid") return {keys.series_uid};
  if (manifest.key == "path") {
    std::vector<std::string> names{keys.relative_path};
    if (auto group = first_group(manifest.path_pattern, keys.relative_path))
      names.push_back(*std::move(group));
    return names;
  }
  if (!keys.path_stem.empty())
    if (auto group = first_group(manifest.subject_pattern, keys.relative_path)) return {*group};
  return {keys.patient_id};
}

// And the paths of which a row may give the end, with the folders that it wants.
std::vector<PathName> path_names(const DataManifest& manifest, const CaseKeys& keys) {
  if (keys.path_stem.empty() || (manifest.key != "path" && manifest.key != "patient_id")) return {};
  std::vector<PathName> names = volume_names(path_name(keys.path_stem));
  names.push_back(path_name(keys.relative_path));  // a row may write the extension
  return names;
}

constexpr int kWhole = 1'000'000;  // above every folder_agreement()

}  // namespace

std::optional<std::int64_t> class_of_cell(const LabelColumn& label, const std::string& text) {
  // Also as a number: "2.0" is the manifest's "2".
  const auto number = integer_of(text);
  const auto is_cell = [&](const std::string& word) {
    return word == text || (number && integer_of(word) == number);
  };
  if (text.empty() || std::any_of(label.missing.begin(), label.missing.end(), is_cell)) return -1;
  if (!label.values.empty()) {
    if (const auto hit = label.values.find(text); hit != label.values.end()) return hit->second;
    for (const auto& [word, value] : label.values)
      if (is_cell(word)) return value;
    return std::nullopt;
  }
  return number && *number >= -1 && *number <= kMost ? number : std::nullopt;
}

std::optional<double> number_of_cell(const ContinuousColumn& column, const std::string& text) {
  const auto number = finite_number(text, column.decimal);
  const auto is_cell = [&](const std::string& word) {
    return word == text || (number && finite_number(word, column.decimal) == number);
  };
  if (text.empty() || std::any_of(column.missing.begin(), column.missing.end(), is_cell))
    return std::numeric_limits<double>::quiet_NaN();
  return number;
}

bool same_numbers(const std::vector<double>& a, const std::vector<double>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](double x, double y) { return x == y || (std::isnan(x) && std::isnan(y)); });
}

nlohmann::json numbers_json(const std::vector<std::string>& names,
                            const std::vector<double>& values) {
  auto json = nlohmann::json::object();
  for (std::size_t i = 0; i < names.size(); ++i)
    json[names[i]] = std::isnan(values.at(i)) ? nlohmann::json() : nlohmann::json(values[i]);
  return json;
}

LabelTable LabelTable::load(const std::filesystem::path& csv, const DataManifest& manifest) {
  const std::string file = csv.string();
  const CsvTable table = read_label_table(csv);
  LabelTable labels;
  labels.manifest_ = manifest;
  const std::size_t key = find_column(table, manifest.key_column, manifest, file);
  std::vector<std::size_t> columns, numbers;
  for (const LabelColumn& label : manifest.labels)
    if (!label.column.empty()) columns.push_back(find_column(table, label.column, manifest, file));
  for (const ContinuousColumn& column : manifest.continuous)
    numbers.push_back(find_column(table, column.column, manifest, file));
  const bool has_split = !manifest.split_column.empty();
  const std::size_t split =
      has_split ? find_column(table, manifest.split_column, manifest, file) : 0;
  for (std::size_t r = 0; r < table.rows.size(); ++r) {
    const std::string where = file + ", " + table.place(r) + ", column '";
    Row row;
    row.key = table.rows[r][key];
    if (row.key.empty())
      throw Error(ErrorCode::usage, where + manifest.key_column +
                                        "': found an empty cell, expected the " + manifest.key +
                                        " of a case (the key)");
    if (columns.empty()) row.labels.values.assign(manifest.labels.size(), -1);
    for (std::size_t l = 0; l < columns.size(); ++l)
      row.labels.values.push_back(class_of(manifest.labels[l], table.rows[r][columns[l]],
                                           where + manifest.labels[l].column + "'"));
    for (std::size_t c = 0; c < numbers.size(); ++c)
      row.labels.continuous.push_back(number_of(manifest.continuous[c], table.rows[r][numbers[c]],
                                                where + manifest.continuous[c].column + "'"));
    if (has_split)
      row.labels.split = split_of(table.rows[r][split], where + manifest.split_column + "'");
    labels.rows_.push_back(std::move(row));
  }
  return labels;
}

std::vector<LabelTable::Lookup> LabelTable::match(const std::vector<CaseKeys>& cases) const {
  std::multimap<std::string, std::size_t> by_key, by_stem;
  std::vector<PathName> row_names;
  for (std::size_t r = 0; r < rows_.size(); ++r) {
    by_key.emplace(rows_[r].key, r);
    row_names.push_back(path_name(rows_[r].key));
    by_stem.emplace(row_names.back().stem, r);
  }
  // 1. The cases that each row fits, and how well.
  std::vector<std::map<std::size_t, int>> owners(rows_.size());  // case -> rank
  for (std::size_t c = 0; c < cases.size(); ++c) {
    for (const std::string& name : whole_names(manifest_, cases[c])) {
      const std::string key = trimmed(name);
      if (key.empty()) continue;
      const auto [begin, end] = by_key.equal_range(key);
      for (auto it = begin; it != end; ++it) owners[it->second][c] = kWhole;
    }
    for (const PathName& name : path_names(manifest_, cases[c])) {
      const auto [begin, end] = by_stem.equal_range(name.stem);
      for (auto it = begin; it != end; ++it)
        if (const int rank = folder_proof(row_names[it->second].folders, name.folders); rank > 0) {
          int& best = owners[it->second][c];
          best = std::max(best, rank);
        }
    }
  }
  // 2. A row is its best fitting cases', where they are one subject's.
  struct Claim {
    std::size_t row;
    int rank;
    bool shared;
  };
  std::vector<std::vector<Claim>> claims(cases.size());
  for (std::size_t r = 0; r < rows_.size(); ++r) {
    int best = 0;
    for (const auto& [c, rank] : owners[r]) best = std::max(best, rank);
    std::set<std::string> subjects;
    for (const auto& [c, rank] : owners[r])
      if (rank == best)
        subjects.insert(cases[c].subject.empty() ? "case " + std::to_string(c)
                                                 : "subject " + cases[c].subject);
    for (const auto& [c, rank] : owners[r])
      if (rank == best) claims[c].push_back({r, rank, subjects.size() > 1});
  }
  // 3. What is a case's alone, unless something fits as well that may be another's.
  std::vector<Lookup> lookups(cases.size());
  for (std::size_t c = 0; c < cases.size(); ++c) {
    Lookup& lookup = lookups[c];
    int own = 0, shared = 0;
    for (const Claim& claim : claims[c]) {
      int& best = claim.shared ? shared : own;
      best = std::max(best, claim.rank);
    }
    for (const Claim& claim : claims[c]) {
      if (claim.shared ? shared < own : own <= shared) continue;
      const Row& row = rows_[claim.row];
      lookup.rows.push_back(claim.row);
      if (lookup.state == Lookup::State::missing) {
        lookup.state = Lookup::State::found;
        lookup.labels = row.labels;
      } else if (row.labels.values != lookup.labels.values ||
                 !same_numbers(row.labels.continuous, lookup.labels.continuous) ||
                 row.labels.split != lookup.labels.split) {
        lookup.state = Lookup::State::ambiguous;
        lookup.problem = "rows of the label table disagree";
      }
    }
    if (shared > 0 && shared >= own) {
      lookup.state = Lookup::State::ambiguous;
      lookup.problem = "a row of the label table fits cases of several subjects";
    }
    if (lookup.state == Lookup::State::ambiguous) lookup.labels = {};
  }
  return lookups;
}

void LabelTable::use(const Lookup& lookup) {
  for (const std::size_t row : lookup.rows) rows_.at(row).used = true;
}

std::vector<std::pair<std::size_t, std::string>> LabelTable::unmatched_keys() const {
  std::vector<std::pair<std::size_t, std::string>> keys;
  for (std::size_t i = 0; i < rows_.size(); ++i)
    if (!rows_[i].used) keys.emplace_back(i + 1, rows_[i].key);
  return keys;
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

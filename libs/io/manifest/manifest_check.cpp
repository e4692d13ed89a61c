#include "io/manifest/manifest_check.hpp"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "io/core/error.hpp"
#include "io/manifest/csv.hpp"
#include "io/manifest/manifest.hpp"

namespace wsp {
namespace {

std::string rows_text(const std::vector<std::size_t>& rows) {
  constexpr std::size_t kMost = 20;
  std::string text = rows.size() == 1 ? "row " : "rows ";
  for (std::size_t i = 0; i < std::min(kMost, rows.size()); ++i)
    text += (i == 0 ? "" : ", ") + std::to_string(rows[i]);
  return text + (rows.size() > kMost ? ", ..." : "");
}

// The columns of a table against what a manifest says of them.
class TableCheck {
 public:
  TableCheck(const DataManifest& manifest, const CsvTable& table)
      : manifest_(manifest), table_(table) {
    std::vector<std::string> expected{manifest.key_column};
    for (const LabelColumn& label : manifest.labels)
      if (!label.column.empty()) expected.push_back(label.column);
    for (const ContinuousColumn& numbers : manifest.continuous) expected.push_back(numbers.column);
    header_ = has_header(table, expected);
  }

  std::vector<std::string> run() {
    check_key();
    for (std::size_t l = 0; l < manifest_.labels.size(); ++l)
      if (!manifest_.labels[l].column.empty())  // else a cohort of numbers alone
        check_label(manifest_.labels[l], "labels[" + std::to_string(l) + "]");
    for (std::size_t c = 0; c < manifest_.continuous.size(); ++c)
      check_numbers(manifest_.continuous[c], "continuous[" + std::to_string(c) + "]");
    if (!manifest_.split_column.empty()) (void)find(manifest_.split_column, "split_column");
    return std::move(problems_);
  }

 private:
  // The column of a name that stands once in the header.
  std::optional<std::size_t> find(const std::string& name, const std::string& field) {
    const auto count = std::count(table_.header.begin(), table_.header.end(), name);
    if (count == 1)
      return static_cast<std::size_t>(std::find(table_.header.begin(), table_.header.end(), name) -
                                      table_.header.begin());
    problems_.push_back(
        field + ": '" + name + "' is " +
        (count == 0 ? "not a column" : "the name of several columns") + " of the table" +
        (header_ ? "; the table has " + quoted(table_.header)
                 : ", whose first row may be data: it has " + std::to_string(table_.header.size()) +
                       " columns and none of a name that is known"));
    return std::nullopt;
  }

  void check_key() {
    const auto at = find(manifest_.key_column, "key_column");
    if (!at) return;
    std::vector<std::size_t> empty;
    for (std::size_t r = 0; r < table_.rows.size(); ++r)
      if (table_.rows[r][*at].empty()) empty.push_back(r + 1);
    if (!empty.empty())
      problems_.push_back("key_column: the cell of '" + manifest_.key_column + "' is empty in " +
                          rows_text(empty));
  }

  void check_label(const LabelColumn& label, const std::string& field) {
    const auto at = find(label.column, field + ".column");
    if (!at) return;
    std::vector<std::size_t> odd;
    std::set<std::string> seen;
    std::size_t known = 0;
    for (std::size_t r = 0; r < table_.rows.size(); ++r) {
      const auto value = class_of_cell(label, table_.rows[r][*at]);
      seen.insert(table_.rows[r][*at]);
      if (!value) odd.push_back(r + 1);
      if (value && *value >= 0) ++known;
    }
    if (!odd.empty())
      problems_.push_back(
          field + ": the column '" + label.column + "' holds a text that is no class in " +
          rows_text(odd) +
          (label.values.empty()
               ? "; expected whole numbers. For words write 'values', for words that "
                 "mean unknown 'missing'"
               : "; add it to 'values', or to 'missing' where it means unknown"));
    else if (known == 0)
      problems_.push_back(field + ": every cell of '" + label.column + "' is empty or unknown");
    else if (!label.values.empty() &&
             std::none_of(label.values.begin(), label.values.end(),
                          [&](const auto& entry) { return seen.contains(entry.first); }))
      problems_.push_back(field + ".values: none of its texts stands in the table");
  }

  void check_numbers(const ContinuousColumn& numbers, const std::string& field) {
    const auto at = find(numbers.column, field + ".column");
    if (!at) return;
    std::vector<std::size_t> odd;
    bool known = false;
    for (std::size_t r = 0; r < table_.rows.size(); ++r) {
      const auto value = number_of_cell(numbers, table_.rows[r][*at]);
      if (!value) odd.push_back(r + 1);
      known = known || !value || !std::isnan(*value);
    }
    if (!odd.empty())
      problems_.push_back(field + ": the column '" + numbers.column +
                          "' holds a text that is no number in " + rows_text(odd) +
                          "; expected numbers alone, with a decimal " +
                          (numbers.decimal == '.' ? "point" : "comma") +
                          " ('decimal' says which) and without a unit. Write words that mean "
                          "unknown in 'missing'");
    else if (!known)
      problems_.push_back(field + ": every cell of '" + numbers.column + "' is empty or unknown");
  }

  const DataManifest& manifest_;
  const CsvTable& table_;
  bool header_ = false;  // the first row is one, and may be repeated
  std::vector<std::string> problems_;
};

}  // namespace

std::vector<std::string> check_manifest(const std::filesystem::path& path,
                                        const std::optional<std::filesystem::path>& csv) {
  std::vector<std::string> problems = check_manifest_fields(load_json(path));
  if (!problems.empty()) return problems;
  DataManifest manifest;
  try {
    manifest = load_manifest(path);
  } catch (const Error& error) {  // a label's name that is taken, a pattern that is none
    return {error.what()};
  }
  if (!csv) return {};
  problems = TableCheck(manifest, read_label_table(*csv)).run();
  if (!problems.empty()) return problems;
  try {
    (void)LabelTable::load(*csv, manifest);  // what is left: the words of a split
  } catch (const Error& error) {
    problems.emplace_back(error.what());
  }
  return problems;
}

}  // namespace wsp

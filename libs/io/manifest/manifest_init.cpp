#include "io/manifest/manifest_init.hpp"

#include <algorithm>
#include <cctype>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "io/core/error.hpp"
#include "io/manifest/cell_words.hpp"
#include "io/manifest/csv.hpp"
#include "io/manifest/manifest.hpp"

namespace wsp {
namespace {

using Json = nlohmann::ordered_json;

struct Column {
  std::string name, kind;
  std::map<std::string, std::size_t> words;  // cell -> rows, without those that mean unknown
  std::set<std::string> missing;             // written words for unknown
  std::size_t filled = 0;
  [[nodiscard]] bool all(bool (*test)(const std::string&)) const {
    return !words.empty() && std::all_of(words.begin(), words.end(),
                                         [&](const auto& entry) { return test(entry.first); });
  }
};

std::vector<std::string> names_of(const std::vector<Column>& columns) {
  std::vector<std::string> names;
  for (const Column& column : columns) names.push_back(column.name);
  return names;
}

std::vector<Column> columns_of(const CsvTable& table) {
  std::vector<Column> columns;
  for (std::size_t c = 0; c < table.header.size(); ++c) {
    Column column;
    column.name = table.header[c];
    column.kind = known_column(column.name);
    for (const auto& row : table.rows) {
      if (!cell::means_unknown(row[c])) {
        ++column.words[row[c]];
        ++column.filled;
      } else if (!row[c].empty()) {
        column.missing.insert(row[c]);
      }
    }
    columns.push_back(std::move(column));
  }
  return columns;
}

// A first row of which no cell is a known name, and some look like what stands below.
bool looks_like_data(const CsvTable& table, const std::vector<Column>& columns) {
  if (std::any_of(columns.begin(), columns.end(), [](const Column& c) { return !c.kind.empty(); }))
    return false;
  return std::any_of(columns.begin(), columns.end(),
                     [](const Column& c) {
                       return c.name.empty() || cell::is_any_number(c.name) ||
                              cell::is_uid(c.name) || cell::is_file(c.name) ||
                              cell::means_unknown(c.name) || cell::is_known(c.name) ||
                              c.words.contains(c.name);
                     }) ||
         std::set<std::string>(table.header.begin(), table.header.end()).size() !=
             table.header.size();
}

bool names_cases(const std::string& kind) {
  return kind == "patient_id" || kind == "accession" || kind == "study_uid" ||
         kind == "series_uid" || kind == "path";
}

// The manifest's key that a column's name and cells speak for.
std::string key_kind(const Column& column) {
  if (column.all(cell::is_uid)) return column.kind == "series_uid" ? "series_uid" : "study_uid";
  if (column.all(cell::is_file)) return "path";
  return names_cases(column.kind) ? column.kind : "patient_id";
}

const Column& key_of(const std::vector<Column>& columns, std::size_t rows) {
  for (const char* kind : {"patient_id", "path", "study_uid", "accession", "series_uid"})
    for (const Column& column : columns)
      if (column.kind == kind && column.filled == rows) return column;
  for (const Column& column : columns)
    if (column.filled == rows && column.words.size() == rows && column.kind.empty() &&
        !std::any_of(column.words.begin(), column.words.end(),
                     [](const auto& entry) { return cell::is_measurement(entry.first); }))
      return column;
  throw Error(ErrorCode::usage,
              "no column of the table names its case in every row; expected one such as PatientID, "
              "MRN, subject, StudyInstanceUID or file. The table has " +
                  quoted(names_of(columns)));
}

std::string field_name(const std::string& column, std::set<std::string>& taken) {
  std::string name;
  for (const char c : cell::lower(column))
    if (std::isalnum(static_cast<unsigned char>(c)) != 0)
      name += c;
    else if (!name.empty() && name.back() != '_')
      name += '_';
  while (!name.empty() && name.back() == '_') name.pop_back();
  if (name.empty() || std::isalpha(static_cast<unsigned char>(name[0])) == 0 ||
      is_reserved_label(name))
    name = "label_" + name;
  std::string unique = name;
  for (int n = 2; !taken.insert(unique).second; ++n) unique = name + "_" + std::to_string(n);
  return unique;
}

// What a manifest says of a column of measurements.
std::string continuous_entry(const Column& column) {
  std::set<std::string> taken{"label"};
  Json entry{{"name", field_name(column.name, taken)}, {"column", column.name}};
  if (std::any_of(column.words.begin(), column.words.end(),
                  [](const auto& word) { return word.first.find(',') != std::string::npos; }))
    entry["decimal"] = ",";
  if (!column.missing.empty()) entry["missing"] = column.missing;
  return entry.dump();
}

// Why a column is no label, empty where it may be one.
std::string no_label(const Column& column, std::size_t rows) {
  constexpr std::size_t kMostClasses = 12;
  if (names_cases(column.kind) || column.kind == "other" || column.kind == "split") return "";
  if (column.words.empty()) return "every cell is empty or unknown";
  if (column.all(cell::is_any_number) && !column.all(cell::is_number))
    return "it holds measurements (numbers with decimals), no classes; where an encoder shall "
           "learn from it add to 'continuous': " +
           continuous_entry(column);
  if (column.words.size() > kMostClasses ||
      (column.words.size() > 3 && 2 * column.words.size() > rows && !column.all(cell::is_known)))
    return "it holds " + std::to_string(column.words.size()) + " different values";
  return "yes";
}

// The classes of the words, and whether they were known ones.
std::pair<std::map<std::string, int>, bool> classes_of(const Column& column) {
  std::map<std::string, int> classes;
  if (column.all(cell::is_known)) {
    for (const auto& [word, count] : column.words) classes[word] = *cell::known_class(word);
    return {classes, true};
  }
  int next = 0;
  for (const auto& [word, count] : column.words)
    if (const auto number = cell::whole_number(word)) next = std::max(next, *number + 1);
  for (const auto& [word, count] : column.words) {
    const auto number = cell::whole_number(word);
    classes[word] = number ? *number : next++;
  }
  return {classes, false};
}

// What to check of the key.
std::vector<std::string> notes_on_key(const Column& key, const std::string& kind,
                                      std::size_t rows) {
  static const std::map<std::string, std::string> words{{"patient_id", "the patient ID"},
                                                        {"accession", "the accession number"},
                                                        {"study_uid", "the study UID"},
                                                        {"series_uid", "the series UID"},
                                                        {"path", "the path or name of the file"}};
  std::vector<std::string> notes;
  notes.push_back(
      "key: the column '" + key.name + "' is taken for " + words.at(kind) + " of each case" +
      (key.kind.empty() ? ", because every row has another text there; its name says nothing"
                        : "") +
      ". Check that it holds what the images hold, with all leading zeros");
  if (key.words.size() < rows)
    notes.push_back("key: " + std::to_string(rows - key.words.size()) +
                    " rows repeat a key of another row; rows that disagree make their cases "
                    "ambiguous");
  if (kind == "path")
    notes.push_back(
        "subject: files name no patient; give 'subject_pattern' or 'subject_map' where "
        "several files are of one person");
  return notes;
}

// Labels, those that say so by their names first; `notes` gains why other columns are none. Throws
// Error(usage) where there is none.
std::vector<const Column*> choose_labels(const std::vector<Column>& columns, const Column& key,
                                         std::size_t rows, std::vector<std::string>& notes) {
  std::vector<const Column*> labels;
  for (const bool named : {true, false})
    for (const Column& column : columns) {
      if (&column == &key || (column.kind == "label") != named) continue;
      const std::string why = no_label(column, rows);
      if (why == "yes" && (named || column.all(cell::is_known) || column.all(cell::is_number)))
        labels.push_back(&column);
      else if (why == "yes")
        notes.push_back("not taken: the column '" + column.name + "' with " +
                        std::to_string(column.words.size()) +
                        " different texts; add it to 'labels' if it is a label");
      else if (!why.empty())
        notes.push_back("not taken: the column '" + column.name + "': " + why);
    }
  if (!labels.empty()) return labels;
  std::string text = "no column of the table looks like a label (a few different values); it has " +
                     quoted(names_of(columns));
  for (const std::string& line : notes) text += "\n  " + line;
  throw Error(ErrorCode::usage, text);
}

// An entry of the manifest's 'labels', and the note on it.
std::pair<Json, std::string> describe_label(const Column& column, const std::string& name) {
  Json label{{"name", name}, {"column", column.name}};
  std::string note =
      std::string(name == "label" ? "label: the weak label of pretraining is" : "label: also") +
      " the column '" + column.name + "', " + std::to_string(column.words.size()) + " classes in " +
      std::to_string(column.filled) + " rows";
  if (!column.all(cell::is_number)) {
    const auto [classes, known] = classes_of(column);
    label["values"] = classes;
    note += known ? "; its words were known. Check the classes in 'values'"
                  : "; its words were NOT known, and their classes are in no particular order. "
                    "Put them right in 'values'";
  }
  if (!column.missing.empty()) {
    label["missing"] = column.missing;
    note += "; " + std::to_string(column.missing.size()) +
            " of its texts are taken for unknown, see 'missing'";
  }
  return {label, note};
}

}  // namespace

ManifestDraft draft_manifest(const std::filesystem::path& path) {
  const CsvTable table = read_label_table(path);
  const std::vector<Column> columns = columns_of(table);
  if (looks_like_data(table, columns))
    throw Error(ErrorCode::usage,
                "the first row of " + path.string() +
                    " looks like data: expected a header row with the columns' names, such as "
                    "'PatientID' and 'score', above " +
                    std::to_string(table.header.size()) + " columns");
  if (table.rows.empty())
    throw Error(ErrorCode::usage, path.string() + " has a header row and no other row");
  const std::size_t rows = table.rows.size();

  const Column& key = key_of(columns, rows);
  const std::string kind = key_kind(key);
  ManifestDraft draft;
  draft.notes = notes_on_key(key, kind, rows);

  Json labels = Json::array();
  std::set<std::string> taken{"label"};
  for (const Column* column : choose_labels(columns, key, rows, draft.notes)) {
    auto [label, note] =
        describe_label(*column, labels.empty() ? "label" : field_name(column->name, taken));
    labels.push_back(std::move(label));
    draft.notes.push_back(std::move(note));
  }

  const auto split = std::find_if(columns.begin(), columns.end(), [](const Column& column) {
    return column.kind == "split" && column.words.size() <= 12;
  });
  if (split != columns.end())
    draft.notes.push_back("split: the column '" + split->name + "' says which part a case is in");

  Json manifest;
  manifest["name"] = path.stem().empty() ? "cohort" : path.stem().string();
  manifest["version"] = 1;
  manifest["comment"] = "Made by wsp-ingest init from a label table. Check what is 'guessed'.";
  manifest["guessed"] = draft.notes;
  manifest["key"] = kind;
  manifest["key_column"] = key.name;
  if (split != columns.end()) manifest["split_column"] = split->name;
  manifest["labels"] = labels;
  draft.json = manifest.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  return draft;
}

}  // namespace wsp

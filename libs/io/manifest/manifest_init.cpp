#include "io/manifest/manifest_init.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/manifest/csv.hpp"
#include "io/manifest/manifest.hpp"

namespace wsp {

std::string_view embedded_schema(std::string_view name);  // generated from schemas/

namespace {

using Json = nlohmann::ordered_json;

std::string lower(const std::string& text) {
  std::string word;
  for (const char c : text) word += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return word;
}

std::string list_of(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "'" : ", '") + word + "'";
  return text;
}

bool means_unknown(const std::string& cell) {
  static const std::set<std::string> words{"",
                                           "na",
                                           "n/a",
                                           "n.a.",
                                           "nan",
                                           "null",
                                           "nil",
                                           "?",
                                           "-",
                                           "--",
                                           ".",
                                           "unk",
                                           "unknown",
                                           "missing",
                                           "not available",
                                           "k.a.",
                                           "unbekannt",
                                           "fehlt",
                                           "not assessed",
                                           "n.d.",
                                           "nd",
                                           "inconnu"};
  return words.contains(lower(cell));
}

std::optional<int> whole_number(std::string_view text) {
  if (text.ends_with(".0")) text.remove_suffix(2);
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

// "3.5", "3,5", "1e3": a measurement, no class.
bool is_measurement(const std::string& cell) {
  if (whole_number(cell)) return false;
  std::string text = cell;
  std::replace(text.begin(), text.end(), ',', '.');
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

// Words that are known to stand for classes, in their order.
std::optional<int> known_class(const std::string& cell) {
  static const std::vector<std::vector<std::string>> scales{{"no", "yes"},
                                                            {"n", "y"},
                                                            {"nein", "ja"},
                                                            {"non", "oui"},
                                                            {"false", "true"},
                                                            {"negative", "positive"},
                                                            {"neg", "pos"},
                                                            {"absent", "present"},
                                                            {"healthy", "cirrhotic"},
                                                            {"normal", "abnormal"},
                                                            {"benign", "malignant"},
                                                            {"none", "mild", "moderate", "severe"},
                                                            {"keine", "leicht", "mittel", "schwer"},
                                                            {"low", "medium", "high"},
                                                            {"low", "intermediate", "high"}};
  const std::string word = lower(cell);
  for (const auto& scale : scales)
    if (const auto at = std::find(scale.begin(), scale.end(), word); at != scale.end())
      return static_cast<int>(at - scale.begin());
  // A letter or a word and a small number: F3, G2, S0, stage 4, Grade 1, Ishak 6.
  std::size_t digits = word.size();
  while (digits > 0 && std::isdigit(static_cast<unsigned char>(word[digits - 1])) != 0) --digits;
  std::string head = word.substr(0, digits);
  while (!head.empty() && std::isalpha(static_cast<unsigned char>(head.back())) == 0)
    head.pop_back();
  static const std::set<std::string> heads{"f",     "g",     "s",     "stage",   "grade",   "grad",
                                           "ishak", "score", "class", "metavir", "stadium", "a"};
  if (digits < word.size() && heads.contains(head))
    if (const auto number = whole_number(word.substr(digits)); number && *number < 20)
      return number;
  return std::nullopt;
}

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

bool is_uid(const std::string& cell) {
  return std::count(cell.begin(), cell.end(), '.') >= 3 &&
         cell.find_first_not_of("0123456789.") == std::string::npos;
}
bool is_number(const std::string& cell) { return whole_number(cell).has_value(); }
bool is_any_number(const std::string& cell) { return is_number(cell) || is_measurement(cell); }
bool is_known(const std::string& cell) { return known_class(cell).has_value(); }
bool is_file(const std::string& cell) {
  const std::string word = lower(cell);
  return word.find('/') != std::string::npos || word.ends_with(".gz") || word.ends_with(".nii") ||
         word.ends_with(".nrrd");
}

std::vector<Column> columns_of(const CsvTable& table) {
  std::vector<Column> columns;
  for (std::size_t c = 0; c < table.header.size(); ++c) {
    Column column;
    column.name = table.header[c];
    column.kind = known_column(column.name);
    for (const auto& row : table.rows) {
      if (!means_unknown(row[c])) {
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
                       return c.name.empty() || is_any_number(c.name) || is_uid(c.name) ||
                              is_file(c.name) || means_unknown(c.name) || is_known(c.name) ||
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
  if (column.all(is_uid)) return column.kind == "series_uid" ? "series_uid" : "study_uid";
  if (column.all(is_file)) return "path";
  return names_cases(column.kind) ? column.kind : "patient_id";
}

const Column& key_of(const std::vector<Column>& columns, std::size_t rows) {
  for (const char* kind : {"patient_id", "path", "study_uid", "accession", "series_uid"})
    for (const Column& column : columns)
      if (column.kind == kind && column.filled == rows) return column;
  for (const Column& column : columns)
    if (column.filled == rows && column.words.size() == rows && column.kind.empty() &&
        !std::any_of(column.words.begin(), column.words.end(),
                     [](const auto& entry) { return is_measurement(entry.first); }))
      return column;
  std::vector<std::string> names;
  for (const Column& column : columns) names.push_back(column.name);
  throw Error(ErrorCode::usage,
              "no column of the table names its case in every row; expected one such as PatientID, "
              "MRN, subject, StudyInstanceUID or file. The table has " +
                  list_of(names));
}

std::string field_name(const std::string& column, std::set<std::string>& taken) {
  std::string name;
  for (const char c : lower(column))
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
  if (column.all(is_any_number) && !column.all(is_number))
    return "it holds measurements (numbers with decimals), no classes; where an encoder shall "
           "learn from it add to 'continuous': " +
           continuous_entry(column);
  if (column.words.size() > kMostClasses ||
      (column.words.size() > 3 && 2 * column.words.size() > rows && !column.all(is_known)))
    return "it holds " + std::to_string(column.words.size()) + " different values";
  return "yes";
}

// The classes of the words, and whether they were known ones.
std::pair<std::map<std::string, int>, bool> classes_of(const Column& column) {
  std::map<std::string, int> classes;
  if (column.all(is_known)) {
    for (const auto& [word, count] : column.words) classes[word] = *known_class(word);
    return {classes, true};
  }
  int next = 0;
  for (const auto& [word, count] : column.words)
    if (const auto number = whole_number(word)) next = std::max(next, *number + 1);
  for (const auto& [word, count] : column.words) {
    const auto number = whole_number(word);
    classes[word] = number ? *number : next++;
  }
  return {classes, false};
}

CsvTable read_table(const std::filesystem::path& path) {
  std::error_code ec;
  if (!std::filesystem::is_regular_file(path, ec))
    throw Error(ErrorCode::usage, "expected the label table (a CSV file) at " + path.string() +
                                      ", found " +
                                      (std::filesystem::exists(path, ec) ? "no file" : "nothing"));
  return parse_csv(read_file(path), path.string());
}

}  // namespace

ManifestDraft draft_manifest(const std::filesystem::path& path) {
  const CsvTable table = read_table(path);
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
  ManifestDraft draft;
  const auto note = [&](const std::string& text) { draft.notes.push_back(text); };

  // 1. The key.
  const Column& key = key_of(columns, rows);
  const std::string kind = key_kind(key);
  static const std::map<std::string, std::string> words{{"patient_id", "the patient ID"},
                                                        {"accession", "the accession number"},
                                                        {"study_uid", "the study UID"},
                                                        {"series_uid", "the series UID"},
                                                        {"path", "the path or name of the file"}};
  note("key: the column '" + key.name + "' is taken for " + words.at(kind) + " of each case" +
       (key.kind.empty() ? ", because every row has another text there; its name says nothing"
                         : "") +
       ". Check that it holds what the images hold, with all leading zeros");
  if (key.words.size() < rows)
    note("key: " + std::to_string(rows - key.words.size()) +
         " rows repeat a key of another row; rows that disagree make their cases ambiguous");
  if (kind == "path")
    note(
        "subject: files name no patient; give 'subject_pattern' or 'subject_map' where several "
        "files are of one person");

  // 2. Labels: those that say so by their names first.
  std::vector<const Column*> labels;
  for (const bool named : {true, false})
    for (const Column& column : columns) {
      if (&column == &key || (column.kind == "label") != named) continue;
      const std::string why = no_label(column, rows);
      if (why == "yes" && (named || column.all(is_known) || column.all(is_number)))
        labels.push_back(&column);
      else if (why == "yes")
        note("not taken: the column '" + column.name + "' with " +
             std::to_string(column.words.size()) +
             " different texts; add it to 'labels' if it is a label");
      else if (!why.empty())
        note("not taken: the column '" + column.name + "': " + why);
    }
  if (labels.empty()) {
    std::vector<std::string> names;
    for (const Column& column : columns) names.push_back(column.name);
    std::string text =
        "no column of the table looks like a label (a few different values); it has " +
        list_of(names);
    for (const std::string& line : draft.notes) text += "\n  " + line;
    throw Error(ErrorCode::usage, text);
  }
  Json list = Json::array();
  std::set<std::string> taken{"label"};
  for (const Column* column : labels) {
    const bool first = column == labels.front();
    Json label;
    label["name"] = first ? "label" : field_name(column->name, taken);
    label["column"] = column->name;
    std::string text =
        std::string(first ? "label: the weak label of pretraining is" : "label: also") +
        " the column '" + column->name + "', " + std::to_string(column->words.size()) +
        " classes in " + std::to_string(column->filled) + " rows";
    if (!column->all(is_number)) {
      const auto [classes, known] = classes_of(*column);
      Json values = Json::object();
      for (const auto& [word, value] : classes) values[word] = value;
      label["values"] = values;
      text += known ? "; its words were known. Check the classes in 'values'"
                    : "; its words were NOT known, and their classes are in no particular order. "
                      "Put them right in 'values'";
    }
    if (!column->missing.empty()) {
      label["missing"] = column->missing;
      text += "; " + std::to_string(column->missing.size()) +
              " of its texts are taken for unknown, see 'missing'";
    }
    note(text);
    list.push_back(std::move(label));
  }

  // 3. A split.
  const auto split = std::find_if(columns.begin(), columns.end(), [](const Column& column) {
    return column.kind == "split" && column.words.size() <= 12;
  });
  if (split != columns.end())
    note("split: the column '" + split->name + "' says which part a case is in");

  Json manifest;
  manifest["name"] = path.stem().empty() ? "cohort" : path.stem().string();
  manifest["version"] = 1;
  manifest["comment"] = "Made by wsp-ingest init from a label table. Check what is 'guessed'.";
  manifest["guessed"] = draft.notes;
  manifest["key"] = kind;
  manifest["key_column"] = key.name;
  if (split != columns.end()) manifest["split_column"] = split->name;
  manifest["labels"] = list;
  draft.json = manifest.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  return draft;
}

namespace {

using nlohmann::json;

std::string kind_of(const json& value) {
  if (value.is_string()) return "a text";
  if (value.is_number_integer()) return "a whole number";
  if (value.is_number()) return "a number";
  if (value.is_boolean()) return "true or false";
  if (value.is_array()) return "a list";
  if (value.is_object()) return "a group { }";
  return "nothing (null)";
}

std::string wanted_kind(const std::string& type) {
  if (type == "string") return "a text in quotes";
  if (type == "integer") return "a whole number";
  if (type == "number") return "a number";
  if (type == "boolean") return "true or false";
  if (type == "array") return "a list [ ]";
  return "a group { }";
}

bool is_type(const json& value, const std::string& type) {
  if (type == "string") return value.is_string();
  if (type == "integer") return value.is_number_integer();
  if (type == "number") return value.is_number();
  if (type == "boolean") return value.is_boolean();
  if (type == "array") return value.is_array();
  return value.is_object();
}

// The part of JSON Schema that our schemas use, said in plain words. `secret`: the names of fields
// are a patient's.
void check_value(const json& value, const json& schema, const std::string& where,
                 std::vector<std::string>& problems) {
  const auto say = [&](const std::string& text) {
    problems.push_back((where.empty() ? "the manifest" : where) + ": " + text);
  };
  if (schema.contains("anyOf")) {
    std::string kinds;
    for (const json& one : schema.at("anyOf")) {
      std::vector<std::string> tried;
      check_value(value, one, where, tried);
      if (tried.empty()) return;
      kinds += (kinds.empty() ? "" : " or ") + wanted_kind(one.value("type", "object"));
    }
    return say("expected " + kinds + ", found " + kind_of(value));
  }
  if (schema.contains("enum")) {
    const json& words = schema.at("enum");
    if (std::find(words.begin(), words.end(), value) == words.end()) {
      std::string text;
      for (const json& word : words) text += (text.empty() ? "" : ", ") + word.dump();
      say(std::string("expected ") + (words.size() > 1 ? "one of " : "") + text);
    }
    return;
  }
  const std::string type = schema.value("type", "object");
  if (!is_type(value, type))
    return say("expected " + wanted_kind(type) + ", found " + kind_of(value));
  if (value.is_string()) {
    if (value.get_ref<const std::string&>().empty() && schema.value("minLength", 0) > 0)
      say("is empty");
    if (schema.contains("pattern")) {  // the name of a label
      const std::string& text = value.get_ref<const std::string&>();
      const bool good =
          !text.empty() && text[0] >= 'a' && text[0] <= 'z' &&
          text.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") == std::string::npos;
      if (!good)
        say("'" + text +
            "' must begin with a small letter and hold only small letters, digits and "
            "'_'");
    }
  }
  if (value.is_number()) {
    const double number = value.get<double>();
    if (schema.contains("minimum") && number < schema.at("minimum").get<double>())
      say("must be at least " + schema.at("minimum").dump());
    if (schema.contains("maximum") && number > schema.at("maximum").get<double>())
      say("must be at most " + schema.at("maximum").dump());
  }
  if (value.is_array()) {
    if (value.empty() && schema.value("minItems", 0) > 0) say("the list is empty");
    if (schema.contains("items"))
      for (std::size_t i = 0; i < value.size(); ++i)
        check_value(value[i], schema.at("items"), where + "[" + std::to_string(i) + "]", problems);
  }
  if (!value.is_object()) return;
  if (value.empty() && schema.value("minProperties", 0) > 0) say("is empty; leave it out instead");
  const json properties = schema.value("properties", json::object());
  for (const json& name : schema.value("required", json::array()))
    if (!value.contains(name.get<std::string>()))
      say("'" + name.get<std::string>() + "' is missing");
  std::vector<std::string> fields;
  for (const auto& [name, rule] : properties.items()) fields.push_back(name);
  for (const auto& [name, inner] : value.items()) {
    if (properties.contains(name)) {
      check_value(inner, properties.at(name), where.empty() ? name : where + "." + name, problems);
    } else if (schema.contains("additionalProperties") &&
               schema.at("additionalProperties").is_object()) {
      // Its name is a patient's, or a text of the table.
      check_value(inner, schema.at("additionalProperties"), where + ", an entry", problems);
    } else if (schema.value("additionalProperties", true) == false) {
      say("'" + name + "' is no field of it; the fields are " + list_of(fields));
    }
  }
}

std::string rows_text(const std::vector<std::size_t>& rows) {
  constexpr std::size_t kMost = 20;
  std::string text = rows.size() == 1 ? "row " : "rows ";
  for (std::size_t i = 0; i < std::min(kMost, rows.size()); ++i)
    text += (i == 0 ? "" : ", ") + std::to_string(rows[i]);
  return text + (rows.size() > kMost ? ", ..." : "");
}

}  // namespace

std::vector<std::string> check_manifest_fields(const nlohmann::json& manifest) {
  std::vector<std::string> problems;
  check_value(manifest, json::parse(embedded_schema("manifest.schema.json")), "", problems);
  return problems;
}

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
  const CsvTable table = read_table(*csv);
  std::vector<std::string> expected{manifest.key_column};
  for (const LabelColumn& label : manifest.labels)
    if (!label.column.empty()) expected.push_back(label.column);
  for (const ContinuousColumn& numbers : manifest.continuous) expected.push_back(numbers.column);
  const bool header = has_header(table, expected);
  std::optional<std::size_t> at;
  const auto find = [&](const std::string& name, const std::string& field) {
    at.reset();
    const auto count = std::count(table.header.begin(), table.header.end(), name);
    if (count == 1)
      at = static_cast<std::size_t>(std::find(table.header.begin(), table.header.end(), name) -
                                    table.header.begin());
    else
      problems.push_back(
          field + ": '" + name + "' is " +
          (count == 0 ? "not a column" : "the name of several columns") + " of the table" +
          (header ? "; the table has " + list_of(table.header)
                  : ", whose first row may be data: it has " + std::to_string(table.header.size()) +
                        " columns and none of a name that is known"));
    return at.has_value();
  };
  if (find(manifest.key_column, "key_column")) {
    std::vector<std::size_t> empty;
    std::map<std::string, std::vector<std::size_t>> keys;
    for (std::size_t r = 0; r < table.rows.size(); ++r) {
      keys[table.rows[r][*at]].push_back(r + 1);
      if (table.rows[r][*at].empty()) empty.push_back(r + 1);
    }
    if (!empty.empty())
      problems.push_back("key_column: the cell of '" + manifest.key_column + "' is empty in " +
                         rows_text(empty));
  }
  for (std::size_t l = 0; l < manifest.labels.size(); ++l) {
    const LabelColumn& label = manifest.labels[l];
    const std::string field = "labels[" + std::to_string(l) + "]";
    if (label.column.empty()) continue;  // a cohort of numbers alone
    if (!find(label.column, field + ".column")) continue;
    std::vector<std::size_t> odd;
    std::set<std::string> seen;
    std::size_t known = 0;
    for (std::size_t r = 0; r < table.rows.size(); ++r) {
      const auto value = class_of_cell(label, table.rows[r][*at]);
      seen.insert(table.rows[r][*at]);
      if (!value) odd.push_back(r + 1);
      if (value && *value >= 0) ++known;
    }
    if (!odd.empty())
      problems.push_back(
          field + ": the column '" + label.column + "' holds a text that is no class in " +
          rows_text(odd) +
          (label.values.empty()
               ? "; expected whole numbers. For words write 'values', for words that "
                 "mean unknown 'missing'"
               : "; add it to 'values', or to 'missing' where it means unknown"));
    else if (known == 0)
      problems.push_back(field + ": every cell of '" + label.column + "' is empty or unknown");
    if (std::none_of(label.values.begin(), label.values.end(),
                     [&](const auto& entry) { return seen.contains(entry.first); }) &&
        !label.values.empty() && odd.empty() && known > 0)
      problems.push_back(field + ".values: none of its texts stands in the table");
  }
  for (std::size_t c = 0; c < manifest.continuous.size(); ++c) {
    const ContinuousColumn& numbers = manifest.continuous[c];
    const std::string field = "continuous[" + std::to_string(c) + "]";
    if (!find(numbers.column, field + ".column")) continue;
    std::vector<std::size_t> odd;
    bool known = false;
    for (std::size_t r = 0; r < table.rows.size(); ++r) {
      const auto value = number_of_cell(numbers, table.rows[r][*at]);
      if (!value) odd.push_back(r + 1);
      known = known || !value || !std::isnan(*value);
    }
    if (!odd.empty())
      problems.push_back(field + ": the column '" + numbers.column +
                         "' holds a text that is no number in " + rows_text(odd) +
                         "; expected numbers alone, with a decimal " +
                         (numbers.decimal == '.' ? "point" : "comma") +
                         " ('decimal' says which) and without a unit. Write words that mean "
                         "unknown in 'missing'");
    else if (!known)
      problems.push_back(field + ": every cell of '" + numbers.column + "' is empty or unknown");
  }
  if (!manifest.split_column.empty()) (void)find(manifest.split_column, "split_column");
  if (!problems.empty()) return problems;
  try {
    (void)LabelTable::load(*csv, manifest);  // what is left: the words of a split
  } catch (const Error& error) {
    problems.emplace_back(error.what());
  }
  return problems;
}

}  // namespace wsp

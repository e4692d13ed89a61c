#include "train/eval/exchange.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <regex>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/core/json_text.hpp"
#include "io/core/log.hpp"
#include "io/manifest/manifest.hpp"
#include "train/eval/left_out.hpp"
#include "train/eval/npy.hpp"
#include "train/eval/slice_table.hpp"

namespace wsp::train {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::array kColumns = {"case",       "slice",      "subject", "depth",
                                 "spacing_mm", "pixel_mm",   "kernel",  "scanner",
                                 "phase",      "trained_on", "content"};
constexpr std::string_view kLabelPrefix = "label:", kNumberPrefix = "number:";

bool is_column(const std::string& name) {
  return std::find(kColumns.begin(), kColumns.end(), name) != kColumns.end();
}

std::string quoted(const std::string& cell) {
  if (cell.find_first_of("\t\r\n\"") == std::string::npos) return cell;
  std::string text = "\"";
  for (const char c : cell) text += c == '"' ? "\"\"" : std::string(1, c);
  return text + "\"";
}

json words_json(const FeatureTable& t) {
  json words = json::object();
  for (std::size_t l = 0; l < t.label_words.size(); ++l)
    if (!t.label_words[l].empty()) words[t.label_names[l]] = t.label_words[l];
  return words;
}

// Everything of a row but its features, and in which order rows go.
struct Rows {
  FeatureTable table;               // without values
  std::vector<std::size_t> source;  // [row of the table]: row of the files
};

// Of a dataset's slices, those that the table names.
Rows rows_of_dataset(const SliceTable& slices, const ImportContext& context) {
  slices.require("case", "");
  slices.require("slice", "; it says which of the case's slices a row is");
  const FeatureTable& known = *context.known;
  std::map<std::pair<std::string, std::int32_t>, std::size_t> place;
  std::set<std::string> cases;
  for (std::size_t i = 0; i < known.case_id.size(); ++i) {
    const std::string& name = known.cases[static_cast<std::size_t>(known.case_id[i])].name;
    cases.insert(name);
    place[{name, known.slice.at(i)}] = i;
  }
  std::map<std::size_t, std::size_t> taken;  // row of the dataset -> row of the files
  for (std::size_t r = 0; r < slices.rows(); ++r) {
    const std::string& name = slices.text(r, "case");
    const std::int32_t slice = slices.slice(r);
    if (context.left_out.contains(name)) continue;
    const auto found = place.find({name, slice});
    if (found == place.end() && !cases.contains(name))
      slices.refuse(r, "case", "a case of the dataset");
    if (found == place.end()) slices.refuse(r, "slice", "one that the dataset keeps of its case");
    const std::string& subject =
        known.cases[static_cast<std::size_t>(known.case_id[found->second])].subject;
    if (slices.has("subject") && slices.text(r, "subject") != subject)
      slices.refuse(r, "subject", "that of the dataset's case");
    if (!taken.emplace(found->second, r).second) slices.refuse(r, "slice", "every slice once");
  }
  Rows rows;
  FeatureTable& t = rows.table;
  t.label_names = known.label_names;
  t.label_words = known.label_words;
  t.labels.resize(known.labels.size());
  std::int32_t last = -1;
  for (const auto& [from, row] : taken) {
    const std::int32_t c = known.case_id[from];
    if (c != last) {
      t.cases.push_back(known.cases[static_cast<std::size_t>(c)]);
      for (std::size_t l = 0; l < t.labels.size(); ++l)
        t.labels[l].push_back(known.labels[l][static_cast<std::size_t>(c)]);
      for (const auto& [name, values] : known.numbers)
        t.numbers[name].push_back(values[static_cast<std::size_t>(c)]);
      last = c;
    }
    t.case_id.push_back(static_cast<std::int32_t>(t.cases.size()) - 1);
    t.slice.push_back(known.slice[from]);
    t.depth.push_back(known.depth[from]);
    t.content.push_back(known.content[from]);
    rows.source.push_back(row);
  }
  if (t.case_id.empty()) slices.refuse("no row is left");
  t.left_out = known.left_out;
  for (const FeatureCase& c : known.cases)
    t.left_out[c.name] = context.left_out.contains(c.name) ? kLeftOutFlagged : kLeftOutAbsent;
  for (const FeatureCase& c : t.cases) t.left_out.erase(c.name);
  return rows;
}

// A table that says all by itself.
class OwnRows {
 public:
  explicit OwnRows(const SliceTable& slices) : slices_(slices) {}

  Rows read() {
    slices_.require("subject", " and no --dataset that knows the subjects");
    find_labels();
    std::map<std::string, std::size_t> seen;
    std::vector<std::vector<std::size_t>> of_case;
    for (std::size_t r = 0; r < slices_.rows(); ++r) {
      const std::string& name = slices_.text(r, slices_.has("case") ? "case" : "subject");
      if (name.empty()) slices_.refuse(r, slices_.has("case") ? "case" : "subject", "a name");
      const auto [found, is_new] = seen.emplace(name, of_case.size());
      if (is_new) of_case.emplace_back();
      of_case[found->second].push_back(r);
    }
    for (std::vector<std::size_t>& members : of_case) add_case(members);
    return std::move(rows_);
  }

 private:
  void find_labels() {
    static const std::regex kName("[A-Za-z0-9_]+");
    FeatureTable& t = rows_.table;
    for (const std::string& column : slices_.header()) {
      if (is_column(column)) continue;
      const bool is_number = column.starts_with(kNumberPrefix);
      const std::string name = is_number ? column.substr(kNumberPrefix.size())
                               : column.starts_with(kLabelPrefix)
                                   ? column.substr(kLabelPrefix.size())
                                   : column;
      if (!std::regex_match(name, kName))
        slices_.refuse(
            "the column '" + column +
            "' is no name of a label: letters, digits and '_' only; rename it, or take it out");
      if (std::find(t.label_names.begin(), t.label_names.end(), name) != t.label_names.end())
        slices_.refuse("the label '" + name + "' stands twice");
      if (is_number) {
        t.numbers[name];
        continue;
      }
      label_columns_.push_back(column);
      t.label_names.push_back(name);
    }
    t.labels.resize(t.label_names.size());
  }

  // What must be the same in all rows of a case.
  [[nodiscard]] std::string shared(const std::vector<std::size_t>& members,
                                   const std::string& column) const {
    if (!slices_.has(column)) return "";
    for (const std::size_t r : members)
      if (slices_.text(r, column) != slices_.text(members.front(), column))
        slices_.refuse(r, column, "the same as in the other rows of its case");
    return slices_.text(members.front(), column);
  }

  void add_case(std::vector<std::size_t>& members) {
    FeatureTable& t = rows_.table;
    const std::size_t first = members.front();
    FeatureCase c;
    c.subject = shared(members, "subject");
    if (c.subject.empty()) slices_.refuse(first, "subject", "a name");
    c.name = slices_.has("case") ? slices_.text(first, "case") : c.subject;
    c.kernel = shared(members, "kernel");
    c.scanner = shared(members, "scanner");
    c.phase = shared(members, "phase");
    const auto length = [&](const char* column) {
      return shared(members, column).empty()
                 ? 0.0
                 : slices_.number<double>(first, column, "a length in mm, or an empty cell");
    };
    c.spacing_mm = length("spacing_mm");
    c.pixel_mm = length("pixel_mm");
    if (!shared(members, "trained_on").empty())
      c.trained_on = slices_.number<int>(first, "trained_on", "1, 0, or -1 (not known)");
    if (c.trained_on < -1 || c.trained_on > 1)
      slices_.refuse(first, "trained_on", "1, 0, or -1 (not known)");
    t.cases.push_back(std::move(c));
    for (std::size_t l = 0; l < t.labels.size(); ++l) {
      const auto value = class_of_cell(LabelColumn{}, shared(members, label_columns_[l]));
      if (!value)
        slices_.refuse(first, label_columns_[l],
                       "a class, an integer from -1 (unknown) to 32767: of words make numbers, or "
                       "take the column out");
      t.labels[l].push_back(*value);
    }
    for (auto& [name, values] : t.numbers) {
      const std::string column = std::string(kNumberPrefix) + name;
      values.push_back(shared(members, column).empty()
                           ? std::numeric_limits<double>::quiet_NaN()
                           : slices_.number<double>(first, column, "a number, or an empty cell"));
    }
    add_slices(members);
  }

  void add_slices(std::vector<std::size_t>& members) {
    FeatureTable& t = rows_.table;
    const auto number_of = [&](std::size_t r) {
      return slices_.has("slice") ? slices_.slice(r) : 0;
    };
    if (slices_.has("slice"))
      std::stable_sort(members.begin(), members.end(),
                       [&](std::size_t a, std::size_t b) { return number_of(a) < number_of(b); });
    for (std::size_t i = 0; i < members.size(); ++i) {
      const std::size_t r = members[i];
      if (i > 0 && slices_.has("slice") && number_of(r) == number_of(members[i - 1]))
        slices_.refuse(r, "slice", "every slice of a case once");
      t.case_id.push_back(static_cast<std::int32_t>(t.cases.size()) - 1);
      t.slice.push_back(slices_.has("slice") ? number_of(r) : static_cast<std::int32_t>(i));
      t.depth.push_back(slices_.has("depth") ? slices_.number<double>(r, "depth", "a number")
                        : members.size() > 1
                            ? static_cast<double>(i) / static_cast<double>(members.size() - 1)
                            : 0.5);
      if (slices_.has("content"))
        t.content.push_back(
            slices_.number<std::uint64_t>(r, "content", "16 hexadecimal digits", 16));
      rows_.source.push_back(r);
    }
  }

  const SliceTable& slices_;
  Rows rows_;
  std::vector<std::string> label_columns_;
};

// Facts of an export, and the words of its labels.
void read_facts(const fs::path& path, FeatureTable& t) {
  const json facts = load_json(path);
  const auto bad = [&](const std::string& what) {
    throw Error(ErrorCode::usage,
                path.string() + ": " + what + "; expected facts.json of an export");
  };
  if (!facts.is_object()) bad("is no object");
  for (const auto& [name, value] : facts.items()) {
    if (name == "words") continue;
    const auto& known = fact_names();
    if (std::find(known.begin(), known.end(), name) == known.end())
      bad("the fact '" + name + "' is unknown");
    if (!value.is_string()) bad("the fact '" + name + "' is no text");
    t.facts[name] = value;
  }
  if (!facts.contains("words")) return;
  t.label_words.resize(t.label_names.size());
  try {
    for (std::size_t l = 0; l < t.label_names.size(); ++l)
      t.label_words[l] = facts["words"].value(t.label_names[l], t.label_words[l]);
  } catch (const json::exception&) {
    bad("its words are no classes");
  }
}

}  // namespace

void export_features(const FeatureTable& t, const fs::path& directory) {
  std::error_code ec;
  fs::create_directories(directory, ec);
  if (ec) throw Error(ErrorCode::output, "cannot make " + directory.string() + ": " + ec.message());
  write_npy(directory / "features.npy", t.rows(), t.dimensions, t.values);
  std::string tsv = fmt::format("{}", fmt::join(kColumns, "\t"));
  for (const std::string& label : t.label_names)
    tsv += "\t" + (is_column(label) ? std::string(kLabelPrefix) + label : label);
  for (const auto& [name, values] : t.numbers) tsv += fmt::format("\t{}{}", kNumberPrefix, name);
  tsv += '\n';
  for (std::size_t i = 0; i < t.case_id.size(); ++i) {
    const auto id = static_cast<std::size_t>(t.case_id[i]);
    const FeatureCase& c = t.cases[id];
    // The shortest digits that give the same number again.
    tsv += fmt::format("{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t{:016x}", quoted(c.name),
                       i < t.slice.size() ? t.slice[i] : static_cast<std::int32_t>(i),
                       quoted(c.subject), t.depth[i], c.spacing_mm, c.pixel_mm, quoted(c.kernel),
                       quoted(c.scanner), quoted(c.phase), c.trained_on, t.content[i]);
    for (const auto& of_label : t.labels) tsv += fmt::format("\t{}", of_label[id]);
    for (const auto& [name, values] : t.numbers)
      tsv += std::isnan(values[id]) ? "\t" : fmt::format("\t{}", values[id]);
    tsv += '\n';
  }
  write_file_atomic(directory / "slices.tsv", tsv);
  json facts = t.facts;
  if (json words = words_json(t); !words.empty()) facts["words"] = std::move(words);
  write_file_atomic(directory / "facts.json", json_text(facts, 1) + "\n");
}

FeatureTable import_features(const fs::path& npy, const fs::path& tsv,
                             const ImportContext& context) {
  const NpyMatrix matrix = read_npy(npy);
  const SliceTable slices(tsv);
  if (static_cast<std::int64_t>(slices.rows()) != matrix.rows)
    throw Error(
        ErrorCode::usage,
        fmt::format(
            "{} has {} rows, {} has {}: expected one row per slice in both, in the same order",
            npy.string(), matrix.rows, tsv.string(), slices.rows()));
  Rows rows = context.known != nullptr ? rows_of_dataset(slices, context) : OwnRows(slices).read();
  FeatureTable t = std::move(rows.table);
  t.dimensions = matrix.columns;
  t.values.reserve(rows.source.size() * static_cast<std::size_t>(t.dimensions));
  const bool has_content = !t.content.empty();
  for (const std::size_t row : rows.source) {
    const std::span<const float> x(
        matrix.values.data() + static_cast<std::int64_t>(row) * t.dimensions,
        static_cast<std::size_t>(t.dimensions));
    t.values.insert(t.values.end(), x.begin(), x.end());
    if (!has_content) t.content.push_back(xxh3_64(bytes_of(x)));
  }
  t.facts = {{"encoder", context.encoder},
             {"method", "imported"},
             {"encoder_sha256", hex(sha256("imported " + context.encoder))},
             {"dataset", context.dataset},
             {"dataset_sha256", "unknown"},
             {"image_size", "unknown"},
             {"precision", "unknown"},
             {"pretraining_sha256", "unknown"}};
  if (!context.facts.empty()) read_facts(context.facts, t);
  if (context.known != nullptr)
    for (const char* fact : {"dataset", "dataset_sha256", "image_size"})
      if (const auto found = context.known->facts.find(fact); found != context.known->facts.end())
        t.facts[fact] = found->second;
  return t;
}

}  // namespace wsp::train

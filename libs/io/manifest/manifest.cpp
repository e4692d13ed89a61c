#include "io/manifest/manifest.hpp"

#include <nlohmann/json.hpp>
#include <regex>
#include <set>
#include <tuple>

#include "io/core/error.hpp"
#include "io/manifest/manifest_check.hpp"

namespace wsp {

bool is_reserved_label(const std::string& name) {
  static const std::set<std::string> words = {
      "case",        "shard",       "row",          "source_index",   "z_mm",         "subject",
      "depth_kept",  "depth_liver", "depth_volume", "liver_area_mm2", "name",         "split",
      "source_hash", "flags",       "first_row",    "pixel_x_mm",     "pixel_y_mm",   "slice_count",
      "spacing_mm",  "liver_ml",    "image",        "image_offset",   "image_length", "image_raw",
      "image_xxh3",  "mask",        "mask_offset",  "mask_length",    "mask_raw",     "mask_xxh3"};
  return words.contains(name);
}

namespace {

void check_regex(const std::string& pattern, const std::string& field) {
  if (pattern.empty()) return;
  try {
    const std::regex compiled(pattern);
    if (compiled.mark_count() < 1)
      throw Error(ErrorCode::usage, field + " '" + pattern +
                                        "' has no group ( ); its first group is what is matched");
  } catch (const std::regex_error& e) {
    throw Error(
        ErrorCode::usage,
        field + " '" + pattern +
            "' is no pattern that can be matched (a regular expression, ECMAScript): " + e.what());
  }
}

// What labels of classes and of numbers have in common: name, column and the words for unknown.
template <class Column>
Column parse_column(const nlohmann::json& entry, const std::string& where,
                    std::set<std::string>& names) {
  Column column;
  column.name = entry.at("name");
  column.column = entry.value("column", column.name);
  if (const auto missing = entry.find("missing"); missing != entry.end()) {
    if (missing->is_string())
      column.missing = {missing->get<std::string>()};
    else
      column.missing = missing->get<std::vector<std::string>>();
  }
  if (is_reserved_label(column.name))
    throw Error(ErrorCode::usage, where + "the label name '" + column.name +
                                      "' is taken by a column of the index; choose another");
  if (!names.insert(column.name).second)
    throw Error(ErrorCode::usage, where + "the label '" + column.name + "' is named twice");
  return column;
}

std::vector<LabelColumn> parse_labels(const nlohmann::json& value, const std::string& where,
                                      std::set<std::string>& names) {
  std::vector<LabelColumn> labels;
  for (const auto& entry : value) {
    LabelColumn column = parse_column<LabelColumn>(entry, where, names);
    if (entry.contains("values"))
      for (const auto& [text, label] : entry.at("values").items()) column.values[text] = label;
    labels.push_back(std::move(column));
  }
  if (labels.front().name != "label")
    throw Error(ErrorCode::usage, where + "the first label is '" + labels.front().name +
                                      "', expected 'label' (the weak one)");
  return labels;
}

// "SCT:15776009".
std::pair<std::string, std::string> parse_code_pair(const std::string& text,
                                                    const std::string& where) {
  const std::size_t colon = text.find(':');
  if (colon == std::string::npos || colon == 0 || colon + 1 == text.size())
    throw Error(ErrorCode::usage,
                where + "organ/codes: '" + text + "' is no SCHEME:VALUE, such as SCT:15776009");
  return {text.substr(0, colon), text.substr(colon + 1)};
}

std::pair<double, double> parse_range(const nlohmann::json& value, const std::string& where) {
  const std::pair<double, double> range{value.at(0), value.at(1)};
  if (range.first >= range.second)
    throw Error(ErrorCode::usage, where + " expects two numbers, the lower first");
  return range;
}

Organ parse_organ(const nlohmann::json& value, const std::string& where) {
  Organ organ;
  organ.name = value.at("name");
  if (value.contains("names")) organ.names = value.at("names").get<std::vector<std::string>>();
  if (!organ.is_liver() || value.contains("codes")) organ.codes.clear();
  for (const auto& code : value.value("codes", nlohmann::json::array()))
    organ.codes.push_back(parse_code_pair(code, where));
  std::tie(organ.least_ml, organ.most_ml) =
      parse_range(value.at("volume_ml"), where + "organ/volume_ml");
  organ.shape.reset();
  if (value.contains("shape")) organ.shape = parse_range(value.at("shape"), where + "organ/shape");
  return organ;
}

}  // namespace

std::vector<std::string> DataManifest::continuous_names() const {
  std::vector<std::string> names;
  for (const ContinuousColumn& column : continuous) names.push_back(column.name);
  return names;
}

DataManifest default_manifest() {
  DataManifest manifest;
  manifest.name = "default";
  manifest.key = "patient_id";
  manifest.key_column = "subject";
  manifest.labels.push_back({"label", "label", {}, {}});
  return manifest;
}

DataManifest load_manifest(const std::filesystem::path& path) {
  const nlohmann::json json = load_json(path);
  // In plain words; the schema has the last one.
  auto violations = check_manifest_fields(json);
  if (violations.empty()) violations = schema_violations("manifest.schema.json", json);
  if (!violations.empty()) {
    std::string text = "the manifest " + path.string() + " does not fit (docs/MANIFESTS.md):";
    for (const std::string& line : violations) text += "\n  " + line;
    throw Error(ErrorCode::usage, text);
  }
  DataManifest manifest = default_manifest();
  manifest.name = json.at("name");
  manifest.key = json.value("key", manifest.key);
  manifest.key_column = json.value("key_column", manifest.key_column);
  manifest.path_pattern = json.value("path_pattern", "");
  manifest.subject_pattern = json.value("subject_pattern", "");
  manifest.split_column = json.value("split_column", "");
  const std::string where = "the manifest " + path.string() + ": ";
  std::set<std::string> names{"label"};
  if (json.contains("labels")) {
    names.clear();
    manifest.labels = parse_labels(json.at("labels"), where, names);
  } else if (json.contains("continuous")) {
    manifest.labels.front().column.clear();  // a cohort of numbers alone
  }
  for (const auto& entry : json.value("continuous", nlohmann::json::array())) {
    manifest.continuous.push_back(parse_column<ContinuousColumn>(entry, where, names));
    manifest.continuous.back().decimal = entry.value("decimal", ".").front();
  }
  if (json.contains("subject_map")) manifest.subject_map = json.at("subject_map");
  if (json.contains("pin_series")) manifest.pin_series = json.at("pin_series");
  if (json.contains("score_weights")) manifest.score_weights = json.at("score_weights");
  if (json.contains("liver_labels"))
    manifest.liver_labels = json.at("liver_labels").get<std::vector<std::int64_t>>();
  if (json.contains("organ")) {
    if (json.contains("liver_labels"))
      throw Error(ErrorCode::usage, where + "organ/labels and liver_labels exclude each other");
    manifest.organ = parse_organ(json.at("organ"), where);
    if (json.at("organ").contains("labels"))
      manifest.liver_labels = json.at("organ").at("labels").get<std::vector<std::int64_t>>();
  }
  check_regex(manifest.path_pattern, where + "path_pattern");
  check_regex(manifest.subject_pattern, where + "subject_pattern");
  return manifest;
}

}  // namespace wsp

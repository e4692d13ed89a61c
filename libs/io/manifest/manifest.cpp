#include "io/manifest/manifest.hpp"

#include <nlohmann/json.hpp>
#include <regex>

#include "io/core/error.hpp"

namespace wsp {
namespace {

void check_regex(const std::string& pattern, const char* field) {
  if (pattern.empty()) return;
  try {
    const std::regex compiled(pattern);
    if (compiled.mark_count() < 1)
      throw Error(ErrorCode::usage, std::string(field) + " '" + pattern + "' has no group ( ) to match with");
  } catch (const std::regex_error& e) {
    throw Error(ErrorCode::usage,
                std::string(field) + " '" + pattern + "' is no regular expression: " + e.what());
  }
}

}  // namespace

DataManifest default_manifest() {
  DataManifest manifest;
  manifest.name = "default";
  manifest.key = "patient_id";
  manifest.key_column = "subject";
  manifest.labels.push_back({"label", "label", {}, ""});
  return manifest;
}

DataManifest load_manifest(const std::filesystem::path& path) {
  const nlohmann::json json = load_json(path);
  if (const auto violations = schema_violations("manifest.schema.json", json); !violations.empty()) {
    std::string text = "the manifest " + path.string() + " does not follow its schema (schemas/manifest.schema.json):";
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
  if (json.contains("labels")) {
    manifest.labels.clear();
    for (const auto& entry : json.at("labels")) {
      LabelColumn column;
      column.name = entry.at("name");
      column.column = entry.value("column", column.name);
      column.missing = entry.value("missing", "");
      if (entry.contains("values"))
        for (const auto& [text, value] : entry.at("values").items()) column.values[text] = value;
      for (const LabelColumn& other : manifest.labels)
        if (other.name == column.name)
          throw Error(ErrorCode::usage, "the manifest " + path.string() + " names the label '" + column.name + "' twice");
      manifest.labels.push_back(std::move(column));
    }
    if (manifest.labels.empty() || manifest.labels.front().name != "label")
      throw Error(ErrorCode::usage, "the manifest " + path.string() + ": the first label must be named 'label' (the weak one)");
  }
  if (json.contains("subject_map")) manifest.subject_map = json.at("subject_map");
  if (json.contains("pin_series")) manifest.pin_series = json.at("pin_series");
  if (json.contains("score_weights")) manifest.score_weights = json.at("score_weights");
  if (json.contains("liver_labels")) manifest.liver_labels = json.at("liver_labels").get<std::vector<std::int64_t>>();
  check_regex(manifest.path_pattern, "path_pattern");
  check_regex(manifest.subject_pattern, "subject_pattern");
  return manifest;
}

}  // namespace wsp

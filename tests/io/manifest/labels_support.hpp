#pragma once
#include "io/core/atomic_file.hpp"
#include "io/manifest/csv.hpp"
#include "io/manifest/manifest.hpp"
#include "support/test_data.hpp"

/// Tables and cases for the tests of labels.
namespace wsp::test {

inline LabelTable table(const std::string& text,
                        const DataManifest& manifest = default_manifest()) {
  const test::TemporaryDirectory work;
  write_file_atomic(work.path() / "labels.csv", std::string_view(text));
  return LabelTable::load(work.path() / "labels.csv", manifest);
}

inline CaseKeys patient(const std::string& id) {
  CaseKeys keys;
  keys.patient_id = id;
  return keys;
}

// An image by its path below the export.
inline CaseKeys image(const std::string& path) {
  CaseKeys keys;
  keys.relative_path = path;
  keys.path_stem =
      path.substr(0, path.find('.', path.rfind('/') == std::string::npos ? 0 : path.rfind('/')));
  return keys;
}

inline LabelTable::Lookup find(LabelTable& labels, const CaseKeys& keys) {
  auto found = labels.match({keys}).front();
  labels.use(found);
  return found;
}

inline DataManifest of_numbers() {
  DataManifest manifest = default_manifest();
  manifest.continuous = {{"stiffness_kpa", "kpa", {"n/a", "-1"}}, {"age", "age", {}}};
  return manifest;
}

// What all cases of an export get: the class, -1 for none, -2 where it is ambiguous.
inline std::vector<int> classes(const LabelTable& labels, const std::vector<CaseKeys>& cases) {
  std::vector<int> values;
  for (const auto& found : labels.match(cases))
    values.push_back(found.state == LabelTable::Lookup::State::found
                         ? static_cast<int>(found.labels.values[0])
                     : found.state == LabelTable::Lookup::State::missing ? -1
                                                                         : -2);
  return values;
}

using Classes = std::vector<int>;

}  // namespace wsp::test

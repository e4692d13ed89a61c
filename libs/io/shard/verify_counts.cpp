#include <fstream>
#include <map>
#include <set>

#include "io/core/json_text.hpp"
#include "io/core/tabs.hpp"
#include "io/manifest/manifest.hpp"
#include "io/shard/verify.hpp"

namespace wsp {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

std::string text_of(const Json& object, const char* key) {
  return object.contains(key) && object[key].is_string() ? object[key].get<std::string>()
                                                         : std::string();
}

// The labels as a case's JSON must hold them: each under the name of its column.
Json labels_of(const CaseRecord& record, const Json& names) {
  Json labels = Json::object();
  for (std::size_t l = 0; l < record.labels.size() && l < names.size(); ++l)
    if (names[l].is_string()) labels[names[l].get<std::string>()] = record.labels[l];
  return labels;
}

void check_case_files(const fs::path& root, const Json& label_names,
                      const std::vector<std::string>& continuous_names,
                      const std::vector<CasePlaces>& cases, Findings& findings) {
  std::set<std::string> names;
  for (const CasePlaces& place : cases) {
    const CaseRecord& record = place.record;
    const std::string name = "cases/" + record.name + ".json";
    names.insert(record.name + ".json");
    if (!fs::is_regular_file(root / name)) {
      findings.add(Code::FILE_MISSING, name, "a case of the index has no JSON");
      continue;
    }
    const Json value = read_checked_json(root, name, "case.schema.json", findings);
    if (!value.is_object()) continue;
    if (text_of(value, "name") != record.name || text_of(value, "subject") != record.subject ||
        text_of(value, "source_hash") != record.source_hash)
      findings.add(Code::INDEX_MISMATCH, name,
                   "names another case, subject or source than the index");
    Json flags = Json::array();
    for (const Code flag : record.flags) flags.push_back(to_string(flag));
    if (value.value("labels", Json()) != labels_of(record, label_names) ||
        value.value("continuous", Json::object()) !=
            numbers_json(continuous_names, record.continuous) ||
        text_of(value, "split") != record.split || value.value("flags", Json()) != flags)
      findings.add(Code::INDEX_MISMATCH, name,
                   "states other labels, split or flags than the index");
    const Json slices = value.value("slices", Json::object());
    if (!slices.is_object() || slices.value("kept_count", Json()) != record.slices.size())
      findings.add(Code::COUNT_MISMATCH, name,
                   "states another number of kept slices than the index");
  }
  if (!fs::is_directory(root / "cases")) return;
  for (const auto& entry : fs::directory_iterator(root / "cases"))
    if (!names.contains(entry.path().filename().string()))
      findings.add(Code::COUNT_MISMATCH, "cases/" + entry.path().filename().string(),
                   "belongs to no case of the index");
}

// The ledger's rows by code; every row must be well-formed and name a case that is there.
std::map<std::string, std::size_t> check_ledger(const fs::path& root,
                                                const std::vector<CasePlaces>& cases,
                                                Findings& findings) {
  std::set<std::string> unexplained, names;
  for (const CasePlaces& place : cases) names.insert(place.record.name);
  unexplained = names;
  std::map<std::string, std::size_t> by_code;
  std::ifstream ledger(root / "ledger.tsv");
  std::string line;
  if (!std::getline(ledger, line) || line != "path\tcode\tkind\tcase\tdetail")
    findings.add(Code::SCHEMA_VIOLATION, "ledger.tsv", "the header is not that of a ledger");
  for (std::size_t row = 1; std::getline(ledger, line); ++row) {
    const auto fields = split_tabs(line);
    const std::string where = "row " + std::to_string(row);
    const auto code = fields.size() == 5 ? parse_code(fields[1]) : std::nullopt;
    if (!code || to_string(info(*code).kind) != fields[2]) {
      findings.add(Code::SCHEMA_VIOLATION, "ledger.tsv", where + " has no known code and kind");
      ++by_code["?"];
      continue;
    }
    ++by_code[fields[1]];
    if (info(*code).kind != CodeKind::used) continue;
    if (!names.contains(fields[3]))
      findings.add(Code::COUNT_MISMATCH, "ledger.tsv",
                   where + " names a case that is not in the index");
    if (*code == Code::USED) unexplained.erase(fields[3]);
  }
  for (const std::string& name : unexplained)
    findings.add(Code::COUNT_MISMATCH, "ledger.tsv", "no file was used for case " + name);
  return by_code;
}

std::size_t quarantined_cases(const fs::path& root) {
  std::ifstream file(root / "quarantine.tsv");
  std::size_t rows = 0;
  for (std::string line; std::getline(file, line);) rows += line.starts_with("case\t");
  return rows;
}

}  // namespace

void verify_counts(const fs::path& root, const Json& dataset, const DatasetLayout& layout,
                   const std::vector<CasePlaces>& cases, Findings& findings) {
  const Json names = dataset.value("label_names", Json::array());
  check_case_files(root, names, layout.continuous_names, cases, findings);

  std::set<std::string> subjects;
  std::size_t slices = 0;
  Json classes = Json::object(), flags = Json::object();
  for (const CasePlaces& place : cases) {
    const CaseRecord& record = place.record;
    subjects.insert(record.subject);
    slices += record.slices.size();
    for (const Code flag : record.flags) {
      Json& count = flags[std::string(to_string(flag))];
      count = count.is_null() ? 1 : count.get<int>() + 1;
    }
    for (std::size_t l = 0; l < record.labels.size() && l < names.size() && names[l].is_string();
         ++l) {
      Json& count = classes[names[l].get<std::string>()][std::to_string(record.labels[l])];
      if (count.is_null()) count = {{"cases", 0}, {"slices", 0}};
      count["cases"] = count["cases"].get<std::size_t>() + 1;
      count["slices"] = count["slices"].get<std::size_t>() + record.slices.size();
    }
  }

  const auto compare = [&](const std::string& what, const Json& stated, const Json& found) {
    if (stated != found)
      findings.add(Code::COUNT_MISMATCH, "dataset.json",
                   what + ": " + json_text(stated) + " stated, " + json_text(found) + " found");
  };
  const auto stated = [&](const char* group) {
    return dataset.contains(group) && dataset[group].is_object() ? dataset[group] : Json::object();
  };
  const Json counts = stated("counts");
  compare("cases", counts.value("cases", Json()), cases.size());
  compare("slices", counts.value("slices", Json()), slices);
  compare("subjects", counts.value("subjects", Json()), subjects.size());
  if (dataset.contains("classes")) compare("classes", dataset["classes"], classes);
  if (dataset.contains("flags")) compare("flags", dataset["flags"], flags);
  if (counts.contains("quarantined_cases"))
    compare("quarantined_cases", counts["quarantined_cases"], quarantined_cases(root));

  if (!fs::is_regular_file(root / "ledger.tsv")) {
    findings.add(Code::FILE_MISSING, "ledger.tsv", "a dataset has a ledger");
    return;
  }
  const auto by_code = check_ledger(root, cases, findings);
  std::size_t rows = 0;
  for (const auto& [code, count] : by_code) rows += count;
  compare("files", counts.value("files", Json()), rows);
  if (dataset.contains("dispositions"))
    compare("dispositions", dataset["dispositions"], Json(by_code));
}

}  // namespace wsp

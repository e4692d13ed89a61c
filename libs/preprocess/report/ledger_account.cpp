#include "preprocess/report/ledger_account.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/tabs.hpp"
#include "io/manifest/manifest.hpp"

namespace wsp::qa {
namespace {

namespace fs = std::filesystem;

// Rows of a tab-separated file of ours, without its header line.
std::vector<std::vector<std::string>> rows_of(const fs::path& path, std::size_t columns) {
  std::error_code ec;
  if (!fs::is_regular_file(path, ec))
    throw Error(ErrorCode::corrupt,
                path.filename().string() + " is missing; run wsp-ingest verify");
  std::istringstream text(read_file(path));
  std::string line;
  std::vector<std::vector<std::string>> rows;
  bool header = true;
  while (std::getline(text, line)) {
    if (std::exchange(header, false)) continue;
    std::vector<std::string> cells = split_tabs(line);
    if (cells.size() != columns)
      throw Error(ErrorCode::corrupt, path.filename().string() + " has a row of " +
                                          std::to_string(cells.size()) + " cells, expected " +
                                          std::to_string(columns) + "; run wsp-ingest verify");
    rows.push_back(std::move(cells));
  }
  return rows;
}

void reconcile(const fs::path& dataset, LedgerAccount& account) {
  const nlohmann::json description = load_json(dataset / "dataset.json");
  const auto stated = description.at("counts").value("files", std::int64_t{-1});
  if (stated >= 0 && stated != account.files)
    account.problems.push_back("dataset.json counts " + std::to_string(stated) +
                               " input files, the ledger " + std::to_string(account.files));
  const auto refused = description.at("counts").value("quarantined_cases", std::int64_t{-1});
  if (refused >= 0 && refused != static_cast<std::int64_t>(account.quarantined_cases()))
    account.problems.push_back("dataset.json counts " + std::to_string(refused) +
                               " quarantined cases, quarantine.tsv " +
                               std::to_string(account.quarantined_cases()));
  if (!description.contains("dispositions")) return;
  std::map<std::string, std::int64_t> counted;
  for (const auto& [kind, codes] : account.by_kind)
    for (const auto& [code, n] : codes) counted[code] += n;
  std::set<std::string> codes;
  for (const auto& [code, n] : counted) codes.insert(code);
  for (const auto& [code, n] : description.at("dispositions").items()) codes.insert(code);
  for (const std::string& code : codes) {
    const auto told = description.at("dispositions").value(code, std::int64_t{0});
    if (told != counted[code])
      account.problems.push_back("dataset.json counts " + std::to_string(told) + " files as " +
                                 code + ", the ledger " + std::to_string(counted[code]));
  }
}

}  // namespace

std::size_t LedgerAccount::quarantined_cases() const {
  return static_cast<std::size_t>(std::count_if(
      quarantine.begin(), quarantine.end(), [](const auto& row) { return row.what == "case"; }));
}

LedgerAccount account_for_files(const fs::path& dataset, const fs::path& state,
                                const std::vector<std::string>& case_names) {
  LedgerAccount account;
  const std::set<std::string> known(case_names.begin(), case_names.end());
  std::set<std::string> paths, with_file;
  std::int64_t strangers = 0, twice = 0;
  for (const auto& row : rows_of(state / "ledger.tsv", 5)) {
    ++account.files;
    ++account.by_kind[row[2]][row[1]];
    if (!paths.insert(row[0]).second) ++twice;
    if (row[1] != "USED") continue;
    with_file.insert(row[3]);
    if (!known.contains(row[3])) ++strangers;
  }
  for (auto& row : rows_of(state / "quarantine.tsv", 5))
    account.quarantine.push_back({row[0], row[1], row[2], row[3], row[4]});
  if (twice > 0)
    account.problems.push_back(std::to_string(twice) + " files stand in the ledger twice");
  if (strangers > 0)
    account.problems.push_back(std::to_string(strangers) +
                               " files are used by cases that the index does not hold");
  const auto without = std::count_if(case_names.begin(), case_names.end(),
                                     [&](const auto& name) { return !with_file.contains(name); });
  if (without > 0)
    account.problems.push_back(std::to_string(without) + " cases have no used file in the ledger");
  reconcile(dataset, account);
  return account;
}

nlohmann::json to_json(const LedgerAccount& account) {
  return {{"files", account.files},
          {"kinds", account.by_kind},
          {"quarantined_cases", account.quarantined_cases()},
          {"problems", account.problems}};
}

}  // namespace wsp::qa

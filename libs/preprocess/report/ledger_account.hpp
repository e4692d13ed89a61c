#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace wsp::qa {

/// One line of quarantine.tsv.
struct QuarantineRow {
  std::string what, name, code, detail, remedy;
};

/// Where every input file went, from ledger.tsv, checked against dataset.json.
struct LedgerAccount {
  std::int64_t files = 0;
  std::map<std::string, std::map<std::string, std::int64_t>> by_kind;  ///< kind -> code -> files
  std::vector<QuarantineRow> quarantine;
  std::vector<std::string> problems;  ///< sentences; empty where all reconciles
  [[nodiscard]] std::size_t quarantined_cases() const;
};

/// Read and reconcile: rows with dataset.json's count of files and of each disposition, no path
/// twice, every used file's case in the index, every case with a used file, quarantined cases.
/// Throws Error(corrupt) where a file is missing or its rows are no table.
LedgerAccount account_for_files(const std::filesystem::path& dataset,
                                const std::filesystem::path& state,
                                const std::vector<std::string>& case_names);
nlohmann::json to_json(const LedgerAccount& account);

}  // namespace wsp::qa

#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "preprocess/pipeline/plan.hpp"

namespace wsp {

/// One row of ledger.tsv: a file by the HMAC of its relative path, and its one disposition.
struct LedgerRow {
  std::string path_hash;
  Disposition disposition;
};

/// "path code kind case detail", tab-separated, sorted by path hash.
std::string ledger_text(std::vector<LedgerRow> rows);
/// "what name code detail remedy": every refused case, then every refused file.
std::string quarantine_text(const std::vector<Rejection>& cases,
                            const std::vector<LedgerRow>& rows);

/// Disposition -> files, of those alone that hide something from the run: what lies behind a link,
/// in an archive, beside a header that is missing, or where reading is not allowed or fails. Empty
/// where all was seen; else the run ends with 3 at best.
std::map<std::string, std::size_t> unseen_files(const std::map<std::string, std::size_t>& codes);
/// "  CODE 3: meaning\n    -> remedy\n", the most frequent first, `most` at most.
std::string codes_text(const std::map<std::string, std::size_t>& codes, std::size_t most);
/// Disposition -> files.
std::map<std::string, std::size_t> code_counts(const std::vector<Disposition>& files);
/// Why there is no case: the most frequent codes of refused cases, then those of files that became
/// no part of one, with their remedies.
std::string reasons_text(const std::map<std::string, std::size_t>& cases,
                         std::map<std::string, std::size_t> files);
/// The last lines of a run on the screen that could not see all; empty where it could.
std::string unseen_text(const std::map<std::string, std::size_t>& codes);

}  // namespace wsp

#pragma once
#include <filesystem>
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

}  // namespace wsp

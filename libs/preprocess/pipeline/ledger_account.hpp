#pragma once
#include <filesystem>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "preprocess/pipeline/ledger.hpp"

namespace wsp {

struct AccountInputs {
  const Scan& scan;
  const IngestPlan& plan;      ///< with what reading said of the files
  const MaskDirectory* masks;  ///< of --masks, or null
  const Naming& naming;
  const std::set<std::string>& made;                   ///< names of the cases that were made
  const std::set<std::filesystem::path>& other_masks;  ///< files of --masks of other parts' cases
};

/// Every input file with its one disposition: those of the export, and those of --masks that lie
/// outside it.
struct LedgerAccount {
  std::vector<LedgerRow> rows;
  std::vector<std::pair<std::string, std::string>> mask_names;  ///< path hash -> path, outside it
};
LedgerAccount account_files(const AccountInputs& in);

}  // namespace wsp

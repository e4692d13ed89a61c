#pragma once
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "preprocess/report/depth_audit.hpp"
#include "preprocess/report/facts.hpp"
#include "preprocess/report/findings.hpp"
#include "preprocess/report/ledger_account.hpp"

namespace wsp::qa {

/// Everything that the page shows.
struct PageInputs {
  const std::vector<CaseFacts>& cases;
  const std::vector<std::string>& label_names;
  const DepthAudit& audit;
  const std::vector<Finding>& findings;
  const LedgerAccount& account;
  const nlohmann::json& fingerprint;
  const nlohmann::json& baseline;  ///< rows of compare(), or an empty array
  const std::map<std::string, std::string>& ratings;
  std::filesystem::path state, qa;  ///< DatasetReader::state(), and where the report goes
  std::string title;                ///< name of the dataset, or empty
  std::string version;
  std::uint64_t embed_bytes = 0;  ///< pictures that go into the page, thumbs, strips, then slices
  std::int64_t slice_side = 0;    ///< of qa/slices; 0: there are none
};

/// The report as one HTML file that loads nothing from a network. Pictures are embedded up to
/// embed_bytes (thumbs of all cases first, then strips and previews, then all kept slices; cases
/// with findings first); the rest is linked to qa/pictures, qa/slices and the dataset's previews.
/// The page shows 60 cases at a time.
std::string make_page(const PageInputs& in);

}  // namespace wsp::qa

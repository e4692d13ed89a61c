#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "preprocess/report/depth_audit.hpp"
#include "preprocess/report/facts.hpp"
#include "preprocess/report/findings.hpp"
#include "preprocess/report/ledger_account.hpp"

namespace wsp::qa {

/// What only the owner of a dataset can say; empty fields are left out, or "not stated".
struct Publication {
  std::string title, description, license, url, creator, date, croissant = "1.0";
};

/// Throws Error(usage) for a date, licence or URL of another form than Croissant takes.
void check_publication(const Publication& publication);

/// croissant.json: JSON-LD of Croissant 1.0 or 1.1 (mlcommons.org/croissant): index, shards and
/// group.tsv as FileObjects with their SHA-256, the group table as a RecordSet. `dataset` is
/// dataset.json, `group_sha256` that of group.tsv, `dataset_link` the way from the report's
/// directory to the dataset's ("..").
nlohmann::json croissant(const nlohmann::json& dataset, const Publication& publication,
                         const std::vector<std::string>& label_names,
                         const std::string& group_sha256, const std::string& dataset_link);

/// dataset_card.md: what is in the dataset, how it was made, what is wrong with it.
std::string dataset_card(const nlohmann::json& dataset, const Publication& publication,
                         const nlohmann::json& fingerprint, const LedgerAccount& account,
                         const std::vector<Finding>& findings);

}  // namespace wsp::qa

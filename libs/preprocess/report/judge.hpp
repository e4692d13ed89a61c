#pragma once
#include <map>
#include <string>
#include <vector>

#include "preprocess/report/depth_audit.hpp"
#include "preprocess/report/facts.hpp"
#include "preprocess/report/findings.hpp"
#include "preprocess/report/ledger_account.hpp"

namespace wsp::qa {

/// What the ingest was asked for, as far as it decides what is missing and what is as it should be.
struct DatasetKind {
  bool without_labels = false;  ///< no label table was given: no case is to blame
  std::string organ = "liver";  ///< what the masks hold
  bool all_slices = false;  ///< `--slices all`: for a segmentation model, which balances no batch
};

/// Findings on one case: HU, phase, spacing, mask, depth, flags of the ingest, damage.
void judge_case(const CaseFacts& facts, const CaseDepth& depth, const DepthAudit& audit,
                const DatasetKind& kind, Judge& judge);

/// A volume of another dataset, to find duplicates across.
struct KnownVolume {
  std::string name, subject;
  std::uint64_t content = 0;
  std::vector<std::uint64_t> signature;
};
/// Findings on pairs: the same volume twice here, or here and in `others`. Parallel over cases.
void judge_duplicates(const std::vector<CaseFacts>& cases, const std::vector<KnownVolume>& others,
                      Judge& judge);
/// Findings on subjects, labels, classes and batches.
void judge_cohort(const std::vector<CaseFacts>& cases, const std::vector<std::string>& label_names,
                  const DatasetKind& kind, Judge& judge);
/// Findings on the ledger and the quarantine.
void judge_ledger(const LedgerAccount& account, std::size_t cases, Judge& judge);
/// A reader's ratings by case name: "exclude" is a finding. Cases of other datasets are left out.
void judge_ratings(const std::map<std::string, std::string>& ratings,
                   const std::vector<CaseFacts>& cases, Judge& judge);

}  // namespace wsp::qa

#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "preprocess/report/croissant.hpp"
#include "preprocess/report/findings.hpp"

namespace wsp::qa {

struct QaOptions {
  std::filesystem::path dataset;
  std::optional<std::filesystem::path> out;  ///< default DATASET/qa
  std::optional<std::filesystem::path> rules, baseline, ratings;
  bool fresh = false;  ///< read all pixels again
  bool force = false;  ///< write where something else than an earlier report stands
  std::uint64_t embed_bytes = 24ULL << 20;
  std::int64_t slice_side = 512;  ///< of the slices that the page shows; 0: none
  Publication publication;
  std::string tool_version;
};

/// What a run found and did.
struct QaSummary {
  std::size_t cases = 0, subjects = 0, read = 0, taken = 0, errors = 0, warnings = 0;
  std::map<std::string, std::size_t> codes;
  std::string depth, depth_reason;
  std::filesystem::path report;
  bool with_baseline = false;
  std::size_t baseline_tests = 0, baseline_drifts = 0;
  std::size_t ratings = 0;
  std::vector<std::string> unmatched_ratings;  ///< names of rated cases that are not in the dataset
  std::size_t missing_previews = 0;            ///< listed in dataset.json, and absent
  std::uint64_t page_bytes = 0, beside_bytes = 0;  ///< of report.html; of pictures and slices
};

/// Judge a dataset and write its report: qa/report.html, group.tsv, cases/CASE.json,
/// dataset_fingerprint.json, findings.jsonl, croissant.json, dataset_card.md, pictures/, slices/.
/// Damage to pixels is a finding. Nothing of a dataset or of other origin is overwritten
/// (check_place). Throws Error(no_input) where no complete dataset stands, Error(corrupt) where
/// index, JSON or ledger cannot be read, Error(usage) for rules, baseline or ratings that cannot
/// be, Error(output), Error(interrupted).
QaSummary run_qa(const QaOptions& options);

}  // namespace wsp::qa

#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "preprocess/pipeline/plan.hpp"

namespace wsp {

/// Everything that one case adds to the dataset, and what its files turned out to be.
struct CaseProduct {
  CaseRecord record;
  nlohmann::json provenance;                        ///< cases/CASE.json
  std::vector<std::uint8_t> preview;                ///< previews/CASE.png
  std::vector<std::pair<std::size_t, Code>> files;  ///< index into Scan::files -> disposition
};

struct CaseInputs {
  const Scan& scan;
  const IngestConfig& config;
  const DataManifest& manifest;
  Segmenter* segmenter;
};

/// The key of a case: SHA-256 over the contents of its files and masks, its plan and the
/// configuration.
std::string case_key(const CaseInputs& inputs, const CasePlan& plan,
                     const std::string& config_hash);

/// Read, mask, measure, cut, resample and compress one case. Thread-safe; deterministic.
Outcome<CaseProduct> make_case(const CaseInputs& inputs, const CasePlan& plan);

}  // namespace wsp

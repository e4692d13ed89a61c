#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "preprocess/ops/liver.hpp"
#include "preprocess/ops/slices.hpp"
#include "preprocess/pipeline/phase_by_hu.hpp"
#include "preprocess/pipeline/plan.hpp"

namespace wsp {

struct CaseMeasurements {
  std::vector<SliceProfile> profiles;  ///< [acquired slice]
  HuHistogram histogram;
  PhaseByHu phase;
  SliceRange extent, kept;
  std::string mask_source;
  double tissue_share = 0;
};

/// cases/CASE.json (schemas/case.schema.json): an allow-list; no path, UID, date or free text.
nlohmann::json make_provenance(const Series& series, const CasePlan& plan,
                               const LoadedVolume& loaded, const DataManifest& manifest,
                               const CaseRecord& record, const CaseMeasurements& measured);

}  // namespace wsp

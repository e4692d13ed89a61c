#pragma once
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "preprocess/ops/liver.hpp"
#include "preprocess/ops/slices.hpp"
#include "preprocess/pipeline/liver_source.hpp"
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
  std::int64_t components = 0;              ///< of the mask that was used, 26-connected
  std::vector<std::string> border_contact;  ///< sides of the volume that the mask reaches
  // Of predicted masks only.
  std::string model;
  std::int64_t predicted_components = 0;  ///< before clean-up
  std::optional<double> mean_probability, confidence;
  std::optional<RefinedLiver> refined;
  std::vector<std::string> doubts;  ///< of a model's mask
  // With --compare-masks, of cases with a given mask: or the code with which the model failed.
  std::optional<MaskComparison> comparison;
  std::string comparison_code;
};

/// cases/CASE.json (schemas/case.schema.json): an allow-list; no path, UID, date or free text.
nlohmann::json make_provenance(const Series& series, const CasePlan& plan,
                               const LoadedVolume& loaded, const DataManifest& manifest,
                               const CaseRecord& record, const CaseMeasurements& measured);

}  // namespace wsp

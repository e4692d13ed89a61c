#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "preprocess/ops/liver.hpp"
#include "preprocess/ops/slices.hpp"
#include "preprocess/pipeline/plan.hpp"

namespace wsp {

/// Does the liver look like contrast? In the portal phase parenchyma lies well above its native
/// 40–65 HU.
struct PhaseByHu {
  double liver_mean_hu = 0;
  double liver_p98_hu = 0;  ///< the portal and hepatic veins' branches when they are opacified
  bool enhanced = false;    ///< mean >= 80 HU
};
PhaseByHu phase_from_hu(const Volume& volume, const LiverMask& mask);

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

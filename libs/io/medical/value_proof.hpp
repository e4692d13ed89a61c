#pragma once
#include <string>

#include "io/core/outcome.hpp"
#include "io/core/volume.hpp"
#include "io/medical/scan.hpp"

/// What the voxels themselves prove. A refusal needs a contradiction, values that no body has in
/// Hounsfield units; a volume that proves nothing (a crop without air, a piece of one organ) is
/// taken.
namespace wsp {

/// USED: Hounsfield units, or nothing that says otherwise; LABEL_MAP or NOT_HU with its detail.
struct ValueVerdict {
  Code code = Code::USED;
  std::string detail;
};
/// Judge a canonical volume, or some of its slices, by its values and where they stand. Volumes of
/// under 4096 voxels prove nothing.
[[nodiscard]] ValueVerdict judge_values(const Volume& volume, const StoredStatistics& stored);
/// The same with the volume's count_places().
[[nodiscard]] ValueVerdict judge_values(const Volume& volume, const StoredStatistics& stored,
                                        const PlaceCounts& counts);

/// Judge planes spread over every usable series of the scan, in parallel, and give those that are
/// no HU their code; with options.trust_hu NOT_HU is only flagged HU_OVERRULED.
void prove_values(Scan& scan, const ScanOptions& options);

}  // namespace wsp

#pragma once
#include <nlohmann/json.hpp>
#include <string>

#include "io/medical/scan.hpp"
#include "preprocess/pipeline/plan.hpp"

namespace wsp {

/// Describe a scan: "series" (files, dimensions, spacing, z range, normal, tilt, gaps, transfer
/// syntax, score as the ingest's plan has it, whether it is chosen, disposition; with `pixels` also
/// minimum, maximum, exact sum of the rescaled HU and padding voxels, read in parallel), "files"
/// (every file that is in no series) and "codes" (totals), "mask_files" (what in `masks` is no mask
/// file, where given) and "unseen" (unseen_files() of both). Names are the export's own: for the
/// eyes of those who may see the export. A path that is no UTF-8 has its bytes as \xNN.
nlohmann::json scan_report(const Scan& scan, const IngestPlan& plan, bool pixels,
                           const MaskDirectory* masks = nullptr);

/// The same as text for a terminal of 80 columns, with the reasons of each score and the meaning of
/// each code. Control characters of names are escaped.
std::string to_text(const nlohmann::json& report);

}  // namespace wsp

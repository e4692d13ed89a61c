#pragma once
#include <nlohmann/json.hpp>
#include <string>

#include "io/medical/scan.hpp"
#include "preprocess/pipeline/plan.hpp"

namespace wsp {

/// Describe a scan: "series" (files, dimensions, spacing, z range, normal, tilt, gaps, transfer
/// syntax, score as the ingest's plan has it, whether it is chosen, disposition; with `pixels` also
/// minimum, maximum, exact sum of the rescaled HU and padding voxels, read in parallel), "files"
/// (every file that is in no series) and "codes" (totals). Names are the export's own: for the eyes
/// of those who may see the export.
nlohmann::json scan_report(const Scan& scan, const IngestPlan& plan, bool pixels);

/// The same as text for a terminal.
std::string to_text(const nlohmann::json& report);

}  // namespace wsp

#pragma once
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "preprocess/report/depth_audit.hpp"
#include "preprocess/report/facts.hpp"
#include "preprocess/report/findings.hpp"

namespace wsp::qa {

/// group.tsv: one header line, one row per case, its findings in the last column.
std::string group_table(const std::vector<CaseFacts>& cases, const std::vector<CaseDepth>& depths,
                        const std::vector<std::string>& label_names,
                        const std::vector<Finding>& findings);

/// dataset_fingerprint.json: distributions of geometry and intensity, class balance, the depth
/// audit; what --baseline compares with and an experiment planner reads.
nlohmann::json fingerprint(const std::vector<CaseFacts>& cases,
                           const std::vector<std::string>& label_names, const DepthAudit& audit);

}  // namespace wsp::qa

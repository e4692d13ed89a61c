#pragma once
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "train/eval/plan.hpp"
#include "train/eval/table.hpp"

namespace wsp::train {

/// The items of TRIPOD+AI (Collins et al. 2024, BMJ 385:e078378) in Markdown: what the plan, its
/// complete `cells`, their `tables` and the datasets below `root` answer is filled in, the rest is
/// marked as the authors'. A dataset that is not there, or is another one than the cells were
/// computed from, is said to be so.
std::string tripod_report(const Plan& plan, const std::vector<nlohmann::json>& cells,
                          const std::vector<ResultTable>& tables,
                          const std::filesystem::path& root);

}  // namespace wsp::train

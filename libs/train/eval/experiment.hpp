#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "train/eval/plan.hpp"

namespace wsp::train {

struct ExperimentOptions {
  std::filesystem::path root = ".";  ///< where the plan's relative paths begin
  std::filesystem::path out;
  std::string device = "auto";
  int threads = 1;
  int job = -1;                      ///< one cell only; -1: all
};

/// Compute what is missing of a plan's cells (each in OUT/cells/NAME: the run, its features, its figure,
/// cell.json last) and return all that are there. A cell whose part of the plan changed is refused.
/// Throws Error(usage) where a subject stands in pretraining and evaluation.
std::vector<nlohmann::json> run_experiment(const Plan& plan, const ExperimentOptions& options);
/// The cells that are complete in OUT.
std::vector<nlohmann::json> complete_cells(const Plan& plan, const std::filesystem::path& out);

}  // namespace wsp::train

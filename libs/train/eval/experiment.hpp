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
  int job = -1;        ///< one cell only; -1: all
  bool force = false;  ///< compute anew what would be refused: cells of another plan or other data
};

struct ExperimentResults {
  std::vector<nlohmann::json> cells;  ///< all that are there
  std::vector<std::string> failed;    ///< names of those that this call could not compute
};

/// Compute what is missing of a plan's cells (each in OUT/cells/NAME: the run, its features, its
/// figure, cell.json last) and return all that are there. Before the first of them check_plan() is
/// asked. A damaged cell is computed anew with a warning. Throws Error(usage) for a cell that was
/// computed under another plan, or from datasets or weights with another SHA-256, unless `force`. A
/// cell whose training is that of an earlier one (first_alike()) is not computed: it is returned
/// with that one's results and its name, "same_as". A cell whose own computation fails
/// (Error(failure): a training that diverges, a fit that does not end) is its own affair: it is
/// logged and the others are computed; what any cell would meet (a full disk, a signal) ends the
/// run.
ExperimentResults run_experiment(const Plan& plan, const ExperimentOptions& options);
/// The cells that are complete in OUT. Throws Error: usage for a cell of another plan, corrupt for
/// a damaged one, no_input where there is none.
std::vector<nlohmann::json> complete_cells(const Plan& plan, const std::filesystem::path& out);

}  // namespace wsp::train

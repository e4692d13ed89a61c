#pragma once
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "train/eval/experiment.hpp"
#include "train/eval/plan.hpp"
#include "train/pretrain/config.hpp"

/// One cell of a plan: what it depends on, what was kept of it, how it is computed.
namespace wsp::train {

/// The training configuration: the defaults and the plan's overrides, checked. Throws Error(usage)
/// naming what is unknown, of another type or out of range.
TrainConfig training_of(const Cell& cell);
/// What messages call a plan's ratings.
inline constexpr const char* kExcludeOfPlan = "the plan's \"exclude\"";
/// training_of() on the plan's pretraining dataset, without the cases that its ratings exclude.
/// Throws Error(usage) also for ratings that do not fit the dataset.
TrainConfig pretraining_of(const Plan& plan, const Cell& cell, const std::filesystem::path& root);
/// The imported features of an encoder for an evaluation, without the cases that its ratings
/// exclude. Throws as read_features() and leave_out_rated() do.
FeatureTable imported_features(const Plan& plan, const std::string& encoder, const Evaluation& e,
                               const std::filesystem::path& root);
/// For each cell the index of the first whose method and training are the same, mostly its own. The
/// others have nothing to compute: sigma=0.1 of a plan whose "wsp" has that sigma.
std::vector<std::size_t> first_alike(const std::vector<Cell>& cells);
/// SHA-256 of what the cell reads: dataset.json of its pretraining dataset ("pretraining") and of
/// every evaluation ("evaluation D1"), of their ratings, and given weights ("weights"). Throws
/// Error where one is not there.
nlohmann::json inputs_of(const Plan& plan, const Cell& cell, const std::filesystem::path& root);

enum class CellState { absent, complete, of_another_plan, damaged };
struct StoredCell {
  CellState state = CellState::absent;
  nlohmann::json result;  ///< of a complete one: OUT/cells/NAME/cell.json
};
/// What OUT holds of a cell. cell.json vouches for itself by a SHA-256 of its content; anything
/// else is damaged.
StoredCell stored_cell(const Plan& plan, const Cell& cell, const std::filesystem::path& out);

/// Compute a cell (the run, its features, its figure) and publish cell.json last. What an earlier
/// call left is taken over where it is of this cell.
void run_cell(const Plan& plan, const Cell& cell, const ExperimentOptions& options);

}  // namespace wsp::train

#include "train/eval/experiment.hpp"

#include <fmt/format.h>

#include "io/core/error.hpp"
#include "io/core/interrupt.hpp"
#include "io/core/log.hpp"
#include "train/eval/cell.hpp"
#include "train/eval/plan_check.hpp"

namespace wsp::train {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::string place_of(const Cell& cell, const fs::path& out) {
  return (out / "cells" / cell.name()).string();
}

// "evaluation D2: SHA-256 was 0123456789ab, is ba9876543210" of each input that differs.
std::string changed_inputs(const json& was, const json& is) {
  const auto text = [](const json& inputs, const std::string& key) {
    return inputs.is_object() && inputs.contains(key) ? inputs[key].get<std::string>().substr(0, 12)
                                                      : "unknown";
  };
  std::string lines;
  for (const auto& [key, value] : is.items())
    if (text(was, key) != text(is, key))
      lines += fmt::format("\n  {}: SHA-256 was {}, is {}", key, text(was, key), text(is, key));
  return lines;
}

// Whether a cell is complete as the plan and the data are now; refuses what only `force` may
// compute anew.
bool is_done(const Plan& plan, const Cell& cell, const ExperimentOptions& o) {
  const StoredCell stored = stored_cell(plan, cell, o.out);
  std::string fault;
  switch (stored.state) {
    case CellState::absent:
      return false;
    case CellState::damaged:
      log::warn("the cell " + cell.name() + " is computed anew: its cell.json is damaged");
      return false;
    case CellState::of_another_plan:
      fault = "was computed under another plan";
      break;
    case CellState::complete: {
      const std::string lines =
          changed_inputs(stored.result.value("inputs", json()), inputs_of(plan, cell, o.root));
      if (lines.empty()) return true;
      fault = "was computed from other data:" + lines;
    }
  }
  if (!o.force)
    throw Error(
        ErrorCode::usage,
        fmt::format("the cell {} in {} {}\n  give another --out, or add --force to compute such "
                    "cells anew",
                    cell.name(), o.out.string(), fault));
  log::warn("--force: the cell " + cell.name() + " is computed anew; it " + fault);
  return false;
}

// Results of a cell: its own, or those of the first whose training is the same.
class Takings {
 public:
  Takings(const Plan& plan, const fs::path& out)
      : plan_(plan), out_(out), cells_(plan.cells()), first_(first_alike(cells_)) {}

  [[nodiscard]] const std::vector<Cell>& cells() const { return cells_; }
  [[nodiscard]] bool computes(std::size_t k) const { return first_[k] == k; }
  [[nodiscard]] const Cell& source(std::size_t k) const { return cells_[first_[k]]; }
  [[nodiscard]] StoredCell stored(std::size_t k) const {
    StoredCell stored = stored_cell(plan_, source(k), out_);
    if (stored.state == CellState::complete && !computes(k)) {
      stored.result["cell"] = cells_[k].name();
      stored.result["variant"] = cells_[k].variant;
      stored.result["same_as"] = source(k).name();
    }
    return stored;
  }

 private:
  const Plan& plan_;
  const fs::path& out_;
  std::vector<Cell> cells_;
  std::vector<std::size_t> first_;
};

}  // namespace

std::vector<json> complete_cells(const Plan& plan, const fs::path& out) {
  const Takings takings(plan, out);
  std::vector<json> done;
  for (std::size_t k = 0; k < takings.cells().size(); ++k) {
    const Cell& cell = takings.source(k);
    StoredCell stored = takings.stored(k);
    if (stored.state == CellState::of_another_plan)
      throw Error(
          ErrorCode::usage,
          "the cell " + cell.name() + " in " + out.string() +
              " was computed under another plan: give "
              "another --out, or run without --tables-only and with --force to compute it anew");
    if (stored.state == CellState::damaged)
      throw Error(ErrorCode::corrupt,
                  place_of(cell, out) +
                      "/cell.json is damaged: run without --tables-only, which computes "
                      "this cell anew");
    if (stored.state == CellState::complete) done.push_back(std::move(stored.result));
  }
  if (done.empty())
    throw Error(ErrorCode::no_input,
                out.string() +
                    " holds no complete cell of this plan: expected OUT/cells/NAME/cell.json, "
                    "which wsp-eval table PLAN.json --out OUT computes");
  return done;
}

ExperimentResults run_experiment(const Plan& plan, const ExperimentOptions& o) {
  const Takings takings(plan, o.out);
  const std::vector<Cell>& cells = takings.cells();
  if (o.job >= static_cast<int>(cells.size()))
    throw Error(ErrorCode::usage, fmt::format("--job is {}: the plan has cells 0 to {}", o.job,
                                              static_cast<int>(cells.size()) - 1));
  check_plan(plan, o);  // before hours of work
  std::vector<std::size_t> missing;
  for (std::size_t k = 0; k < cells.size(); ++k)
    if ((o.job < 0 || static_cast<int>(k) == o.job) && takings.computes(k) &&
        !is_done(plan, cells[k], o))
      missing.push_back(k);
  ExperimentResults results;
  for (const std::size_t k : missing) {
    stop_if_interrupted("run the same command again to go on");
    log::info(fmt::format("cell {} of {}: {}", k + 1, cells.size(), cells[k].name()));
    try {
      run_cell(plan, cells[k], o);
    } catch (Error& e) {
      e.within("in the cell " + cells[k].name());
      if (e.code() != ErrorCode::failure || o.job >= 0) throw;
      log::error(e.what());
      results.failed.push_back(cells[k].name());
    }
  }
  // Another job's cells are its own business.
  for (std::size_t k = 0; k < cells.size(); ++k)
    if (StoredCell stored = takings.stored(k); stored.state == CellState::complete)
      results.cells.push_back(std::move(stored.result));
  return results;
}

}  // namespace wsp::train

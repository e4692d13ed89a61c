#pragma once
#include "train/eval/experiment.hpp"

namespace wsp::train {

/// Whether every cell of a plan can be computed, before the first is: training options, networks
/// and image sizes, weights, labels and split of the pretraining dataset; of each evaluation label,
/// reader, positive classes and folds; the aggregate; subjects and volumes (at least half of the
/// slices with the same pixels) that stand in pretraining and evaluation; given weights that were
/// trained on subjects of an evaluation. Pairs of datasets whose volumes were compared are kept in
/// OUT/compared.json. Warns of what the plan leaves out. Throws Error: usage, no_input for an
/// absent dataset, corrupt, interrupted.
void check_plan(const Plan& plan, const ExperimentOptions& options);

}  // namespace wsp::train

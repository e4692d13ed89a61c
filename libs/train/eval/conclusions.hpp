#pragma once
#include <string>
#include <vector>

#include "train/eval/results.hpp"
#include "train/eval/table.hpp"

/// What a plan's results say, in sentences and pictures. For the tables alone.
namespace wsp::train {

/// For each evaluation and backbone: whether WSP is better than chance, which other methods are
/// told apart from it (Holm's correction, 5 %), how much may differ of those that are not, and what
/// was not judged.
std::vector<std::string> verdicts(const Plan& plan, const Results& results);
/// forest-EVALUATION.svg: differences of AUC to WSP; without WSP the AUC themselves.
std::vector<Picture> forest_plots(const Plan& plan, const Results& results);
/// diagnostics_svg() of the first seed of every line and evaluation, folded.
std::vector<Picture> diagnostic_plots(const Plan& plan, const Results& results);

}  // namespace wsp::train

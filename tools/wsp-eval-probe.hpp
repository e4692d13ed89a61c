#pragma once
#include "wsp-eval-options.hpp"

namespace wsp {

/// wsp-eval probe: cross-validated regressions on frozen features, of each feature file and of all
/// together, beside another encoder's where --against names one. Writes the result to standard
/// output, and figures and the saved probe where asked. Returns the exit code. Throws Error(usage)
/// before the fits for what contradicts itself.
int run_probe(EvalOptions& options, bool as_json);

}  // namespace wsp

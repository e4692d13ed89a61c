#pragma once
#include <cstddef>
#include <vector>

#include "preprocess/pipeline/plan.hpp"

namespace wsp {

/// What the planner found of labels and mask files, one per Scan::series; labels are empty without
/// a table.
struct PlanFindings {
  const std::vector<LabelTable::Lookup>& labels;
  const std::vector<MaskMatch>& masks;
  std::size_t nameless = 0;  ///< cases without a patient ID and a label
};
/// Say in plan.hints what rows of the label table and mask files without a case might have been
/// meant for, and in plan.misfits which inputs fit no case at all. Cases must stand.
void tell_what_fits_nothing(const PlanInputs& inputs, const PlanFindings& findings,
                            IngestPlan& plan);

/// Throw Error(no_input) where there are cases and no row of the label table or no mask file fits
/// any, or rows of the mask table name nothing: another export's, or keys of another kind.
void refuse_misfits(const IngestPlan& plan);

}  // namespace wsp

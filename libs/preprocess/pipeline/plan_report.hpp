#pragma once
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "io/core/error.hpp"
#include "preprocess/ops/liver.hpp"
#include "preprocess/pipeline/ingest.hpp"
#include "preprocess/pipeline/plan.hpp"

namespace wsp {

/// A case that the ingest takes, as far as a dry run goes.
struct CaseVerdict {
  bool open = false;        ///< a model will be asked, or the pixels were not read
  std::string mask_source;  ///< file | seg | rtstruct | model; empty: not looked for
  std::vector<Code> flags;
  // Of a case that is not open:
  double liver_ml = 0;
  std::int64_t acquired = 0;  ///< slices
  SliceRange extent{}, kept{};
};

/// What an ingest would do, and what it would not.
struct Forecast {
  Scan scan;
  IngestPlan plan;  ///< with what was refused when it was read
  std::vector<std::string> label_names, continuous_names;
  std::map<std::size_t, CaseVerdict> taken;                 ///< by series
  std::vector<std::pair<std::string, Disposition>> ledger;  ///< every input file, by its own path
  IngestSummary summary;
  bool quick = false;  ///< no pixel was read
  bool named = true;   ///< the site key is known, hence the names of cases and subjects
  /// The ingest would stop before it begins, with this.
  std::optional<Error> error;
};

/// Do what ingest() does up to the choice of slices (read, prove and judge each case in parallel),
/// and write nothing: no key, no cache, no dataset; options.output may be empty. `quick` leaves the
/// pixels aside. Throws what ingest() throws before it reads the export.
Forecast forecast(const IngestOptions& options, bool quick);

/// The forecast as JSON, in the export's own names: for the eyes of those who may see the export.
/// "patients": by identity, their "studies", and the series of each with verdict (taken | open |
/// refused | not_selected | ignored), code, detail, remedy, score and its reasons, mask, label row,
/// labels, split and flags; "files" that are neither used nor in a series; "masks_without_case",
/// "label_rows"; "totals" as the ingest's own --json; "error" or null.
nlohmann::json plan_report(const Forecast& forecast);
/// That JSON as text for a terminal of 80 columns.
std::string plan_text(const nlohmann::json& report);

}  // namespace wsp

#pragma once
#include <cstddef>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "io/core/codes.hpp"
#include "preprocess/pipeline/comparison.hpp"

namespace wsp {

/// A case of the dataset that a rerun does not make again.
struct LostCase {
  std::string name;
  std::optional<Code> code;  ///< why; none: its files are not in the export
};

/// What an ingest did, for the last lines on the screen and --json.
struct IngestSummary {
  std::size_t files = 0, cases = 0, subjects = 0, slices = 0, quarantined_cases = 0,
              reused_cases = 0;
  std::map<std::string, std::size_t> file_codes;        ///< disposition -> files
  std::map<std::string, std::size_t> quarantine_codes;  ///< code -> cases
  std::map<std::string, std::size_t> flags;             ///< flag -> cases
  /// 1-based data rows of the label table (header excluded) that matched no case.
  std::vector<std::size_t> unmatched_label_row_numbers;
  std::size_t label_rows = 0, unmatched_label_rows = 0, unlabelled_cases = 0, unused_masks = 0;
  std::vector<MaskComparisonRow> comparisons;         ///< with compare_masks, by case
  std::size_t unmatched_pins = 0, unusable_pins = 0;  ///< of the manifest's pin_series
  std::size_t written_segs = 0;                       ///< with write_seg
  std::vector<std::string> excluded_cases;            ///< rated exclude: left out, and no loss
  std::size_t other_part_cases = 0;                   ///< planned, of subjects of other parts
  std::vector<LostCase> lost_cases;  ///< of the complete dataset that stood here; by name
};
nlohmann::json to_json(const IngestSummary& summary);

}  // namespace wsp

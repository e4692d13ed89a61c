#include "preprocess/pipeline/ingest_summary.hpp"

#include <nlohmann/json.hpp>

#include "preprocess/pipeline/ledger.hpp"

namespace wsp {

nlohmann::json to_json(const IngestSummary& s) {
  const auto mean = mean_dice(s.comparisons);
  nlohmann::json lost = nlohmann::json::array();
  for (const LostCase& c : s.lost_cases)
    lost.push_back({{"case", c.name},
                    {"code", c.code ? nlohmann::json(to_string(*c.code)) : nlohmann::json()}});
  return {{"files", s.files},
          {"cases", s.cases},
          {"subjects", s.subjects},
          {"slices", s.slices},
          {"quarantined_cases", s.quarantined_cases},
          {"reused_cases", s.reused_cases},
          {"written_segs", s.written_segs},
          {"file_codes", s.file_codes},
          {"unseen", unseen_files(s.file_codes)},
          {"quarantine_codes", s.quarantine_codes},
          {"flags", s.flags},
          {"label_rows", s.label_rows},
          {"unmatched_label_rows", s.unmatched_label_rows},
          {"unmatched_label_row_numbers", s.unmatched_label_row_numbers},
          {"unlabelled_cases", s.unlabelled_cases},
          {"unused_masks", s.unused_masks},
          {"comparisons", to_json(s.comparisons)},
          {"mean_dice", mean ? nlohmann::json(*mean) : nlohmann::json()},
          {"unmatched_pins", s.unmatched_pins},
          {"unusable_pins", s.unusable_pins},
          {"excluded_cases", s.excluded_cases},
          {"other_part_cases", s.other_part_cases},
          {"lost_cases", lost}};
}

}  // namespace wsp

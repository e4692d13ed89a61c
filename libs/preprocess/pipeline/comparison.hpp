#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

namespace wsp {

/// In the dataset directory, with --compare-masks.
inline constexpr const char* kComparisonFile = "mask_comparison.tsv";

/// The model's mask beside the one that a case came with.
struct MaskComparisonRow {
  std::string case_name, source;  ///< source of the given mask: file | seg | rtstruct
  double dice = 0;                ///< in the volume's voxels; 1 where both are empty
  double given_ml = 0, model_ml = 0;
  std::optional<double> hd95_mm;
  std::int64_t first_off = 0, last_off = 0;  ///< slices, of the model's extent to the head
  double first_off_mm = 0, last_off_mm = 0, kept_iou = 0;
  std::string doubts;  ///< of the model's mask, comma-separated
  std::string code;    ///< set, and no numbers, where the model gave no mask
};

/// The comparison in a case's JSON, or nothing where it has none.
std::optional<MaskComparisonRow> comparison_of(const nlohmann::json& provenance);

/// Mean Dice over the rows with a mask of the model; nothing where there is none.
std::optional<double> mean_dice(const std::vector<MaskComparisonRow>& rows);

/// mask_comparison.tsv: one line per case, in their order.
std::string comparison_text(const std::vector<MaskComparisonRow>& rows);

/// The same for --json: [{"case", "source", and what MaskComparison has, or "code"}].
nlohmann::json to_json(const std::vector<MaskComparisonRow>& rows);

}  // namespace wsp

#pragma once
#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string_view>
#include <utility>

#include "io/core/codes.hpp"

namespace wsp::qa {

enum class Severity { ignore, warning, error };
std::string_view to_string(Severity severity);
/// Throws Error(usage).
Severity parse_severity(std::string_view word);

using Range = std::pair<double, double>;

/// Limits beyond which something is a finding; libs/preprocess/report/page/default_rules.json holds
/// the defaults, docs/QA.md says what each means.
struct Limits {
  double hu_offset = 0, top_pile = 0, spacing_jitter = 0, tilt_deg = 0, noise_hu = 0;
  double odd_share = 0, odd_share_moved = 0, flip_lung = 0, flip_correlation = 0, depth_rmse = 0;
  double end_area_share = 0, duplicate_distance = 0, class_subjects = 0, quarantined_share = 0;
  double baseline_p = 0, batch = 0;
  Range pixel_mm, spacing_mm, liver_ml, liver_shape;
};

/// How grave each code is, and where the limits lie.
struct Rules {
  std::map<Code, Severity> severity;
  Limits limits;
  /// Codes that the rules do not name: warning for reasons of quarantine, ignore for others.
  [[nodiscard]] Severity of(Code code) const;
};

/// The defaults, overridden by an organ's volume_ml and shape (of dataset.json's configuration;
/// null: the liver), and then by what `file` names. Of an organ without a shape none is judged.
/// Throws Error(usage) that lists what does not follow schemas/rules.schema.json, or names an
/// unknown code.
Rules load_rules(const std::optional<std::filesystem::path>& file, const nlohmann::json& organ);

}  // namespace wsp::qa

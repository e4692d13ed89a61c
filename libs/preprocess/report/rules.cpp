#include "preprocess/report/rules.hpp"

#include <limits>
#include <nlohmann/json.hpp>
#include <string>

#include "io/core/error.hpp"
#include "io/manifest/manifest.hpp"
#include "preprocess/report/assets.hpp"

namespace wsp::qa {
namespace {

using nlohmann::json;

void read_limits(const json& j, Limits& limits) {
  const std::map<std::string, double*> numbers{{"hu_offset", &limits.hu_offset},
                                               {"top_pile", &limits.top_pile},
                                               {"spacing_jitter", &limits.spacing_jitter},
                                               {"tilt_deg", &limits.tilt_deg},
                                               {"noise_hu", &limits.noise_hu},
                                               {"odd_share", &limits.odd_share},
                                               {"odd_share_moved", &limits.odd_share_moved},
                                               {"flip_lung", &limits.flip_lung},
                                               {"flip_correlation", &limits.flip_correlation},
                                               {"depth_rmse", &limits.depth_rmse},
                                               {"end_area_share", &limits.end_area_share},
                                               {"duplicate_distance", &limits.duplicate_distance},
                                               {"class_subjects", &limits.class_subjects},
                                               {"quarantined_share", &limits.quarantined_share},
                                               {"baseline_p", &limits.baseline_p},
                                               {"batch", &limits.batch}};
  const std::map<std::string, Range*> ranges{{"pixel_mm", &limits.pixel_mm},
                                             {"spacing_mm", &limits.spacing_mm},
                                             {"liver_ml", &limits.liver_ml},
                                             {"liver_shape", &limits.liver_shape}};
  for (const auto& [name, value] : j.items()) {
    if (const auto n = numbers.find(name); n != numbers.end()) *n->second = value.get<double>();
    if (const auto r = ranges.find(name); r != ranges.end()) {
      *r->second = {value.at(0).get<double>(), value.at(1).get<double>()};
      if (r->second->first >= r->second->second)
        throw Error(ErrorCode::usage, "limits/" + name + " expects two numbers, the lower first");
    }
  }
}

void override_with(const json& j, Rules& rules) {
  if (const auto broken = schema_violations("rules.schema.json", j); !broken.empty()) {
    std::string all;
    for (const std::string& line : broken) all += (all.empty() ? "" : "; ") + line;
    throw Error(ErrorCode::usage, all);
  }
  if (j.contains("severity"))
    for (const auto& [word, severity] : j.at("severity").items()) {
      const auto code = parse_code(word);
      if (!code)
        throw Error(ErrorCode::usage,
                    "severity/" + word + " is no code; expected one of schemas/codes.json");
      rules.severity[*code] = parse_severity(severity.get<std::string>());
    }
  if (j.contains("limits")) read_limits(j.at("limits"), rules.limits);
}

}  // namespace

std::string_view to_string(Severity severity) {
  return severity == Severity::ignore    ? "ignore"
         : severity == Severity::warning ? "warning"
                                         : "error";
}

Severity parse_severity(std::string_view word) {
  for (const Severity s : {Severity::ignore, Severity::warning, Severity::error})
    if (word == to_string(s)) return s;
  throw Error(ErrorCode::usage,
              "'" + std::string(word) + "' is no severity: expected ignore, warning or error");
}

Severity Rules::of(Code code) const {
  if (const auto found = severity.find(code); found != severity.end()) return found->second;
  return info(code).kind == CodeKind::rejected ? Severity::warning : Severity::ignore;
}

Rules load_rules(const std::optional<std::filesystem::path>& file, const json& organ) {
  Rules rules;
  override_with(json::parse(report_asset("default_rules.json")), rules);
  if (!organ.empty()) {
    const auto range = [&](const char* name) {
      return Range{organ.at(name).at(0).get<double>(), organ.at(name).at(1).get<double>()};
    };
    rules.limits.liver_ml = range("volume_ml");
    rules.limits.liver_shape = organ.contains("shape")
                                   ? range("shape")
                                   : Range{0, std::numeric_limits<double>::infinity()};
  }
  if (!file) return rules;
  try {
    override_with(load_json(*file), rules);
  } catch (Error& e) {
    throw e.within("while reading the rules " + file->string());
  }
  return rules;
}

}  // namespace wsp::qa

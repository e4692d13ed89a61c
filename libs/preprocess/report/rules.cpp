#include "preprocess/report/rules.hpp"

#include <limits>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "io/core/error.hpp"
#include "io/manifest/manifest.hpp"
#include "preprocess/report/assets.hpp"

namespace wsp::qa {
namespace {

using nlohmann::json;

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
  if (j.contains("limits")) rules.limits.override_with(j.at("limits"));
}

}  // namespace

double Limits::number(std::string_view name) const {
  const auto found = values_.find(name);
  if (found == values_.end() || found->second.size() != 1)
    throw std::out_of_range("no number is the limit " + std::string(name));
  return found->second[0];
}

Range Limits::range(std::string_view name) const {
  const auto found = values_.find(name);
  if (found == values_.end() || found->second.size() != 2)
    throw std::out_of_range("no range is the limit " + std::string(name));
  return {found->second[0], found->second[1]};
}

void Limits::set(std::string_view name, Range range) {
  values_.find(name)->second = {range.first, range.second};
}

void Limits::override_with(const json& limits) {
  const bool first = values_.empty();
  for (const auto& [name, value] : limits.items()) {
    const auto numbers =
        value.is_array() ? value.get<std::vector<double>>() : std::vector{value.get<double>()};
    const auto known = values_.find(name);
    if (!first) {
      if (known == values_.end()) {
        std::string names;
        for (const auto& [of, unused] : values_) names += (names.empty() ? "" : ", ") + of;
        throw Error(ErrorCode::usage, "limits/" + name + " is no limit; expected one of " + names);
      }
      if (known->second.size() != numbers.size())
        throw Error(ErrorCode::usage,
                    "limits/" + name + " expects " +
                        (known->second.size() == 1 ? "one number" : "two numbers"));
      if (numbers[0] < 0 && known->second[0] >= 0)
        throw Error(ErrorCode::usage, "limits/" + name + " expects no number below 0");
    }
    if (numbers.size() == 2 && numbers[0] >= numbers[1])
      throw Error(ErrorCode::usage, "limits/" + name + " expects two numbers, the lower first");
    values_.insert_or_assign(name, numbers);
  }
}

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
    rules.limits.set("liver_ml", range("volume_ml"));
    rules.limits.set("liver_shape", organ.contains("shape")
                                        ? range("shape")
                                        : Range{0, std::numeric_limits<double>::infinity()});
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

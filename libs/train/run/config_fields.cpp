#include "train/run/config_fields.hpp"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "io/core/error.hpp"
#include "io/core/json_text.hpp"
#include "io/core/log.hpp"

namespace wsp::train {
namespace {

using nlohmann::json;

constexpr const char* kNo = "--no-";

std::string asked_as(const std::string& field, const FieldNames& names) {
  if (const auto found = names.find(field); found != names.end()) return found->second;
  std::string name = "--" + field;
  std::replace(name.begin(), name.end(), '_', '-');
  return name;
}

// A value in the words of the option; a flag that turns something off is on where that is off.
std::string value_as_asked(const std::string& option, const std::string& field, const json& value) {
  if (value.is_boolean()) return value.get<bool>() != option.starts_with(kNo) ? "on" : "off";
  if (field.ends_with("_sha256"))
    return value.get<std::string>().empty() ? "none" : "SHA-256 " + value.get<std::string>();
  if (value.is_array() && value.empty()) return "none";
  return json_text(value);
}

bool is_option(const std::string& name) {
  return name.starts_with("--") && name.find(' ') == std::string::npos;
}

bool is_nothing(const json& value) {
  return value.is_null() || (value.is_array() && value.empty()) ||
         (value.is_string() && value.get<std::string>().empty());
}

}  // namespace

void refuse_value(const std::string& option, const std::string& found,
                  const std::string& expected) {
  throw Error(ErrorCode::usage, "--" + option + " is " + found + ": expected " + expected);
}

void need(bool good, const char* option, double found, const char* expected) {
  // JSON, as which the configuration is kept, has neither infinities nor NaN.
  const bool finite = std::isfinite(found);
  if (!good || !finite)
    refuse_value(option, finite ? json_text(json(found)) : std::to_string(found), expected);
}

void need(bool good, const char* option, std::int64_t found, const char* expected) {
  if (!good) refuse_value(option, std::to_string(found), expected);
}

void one_of(const char* option, const std::string& found,
            std::initializer_list<const char*> known) {
  std::string list;
  for (const char* name : known) {
    if (found == name) return;
    list += list.empty() ? name : std::string(", ") + name;
  }
  refuse_value(option, "'" + found + "'", "one of " + list);
}

std::vector<std::string> field_differences(const json& was, const json& is,
                                           const FieldNames& names) {
  std::vector<std::string> lines;
  for (const auto& [field, value] : was.items()) {
    if (value == is.at(field)) continue;
    const std::string option = asked_as(field, names);
    const std::string line = option + ": was " + value_as_asked(option, field, value) + ", is " +
                             value_as_asked(option, field, is.at(field));
    if (lines.empty() || lines.back() != line) lines.push_back(line);  // one flag is both flips
  }
  return lines;
}

json recorded_options(const json& config, const FieldNames& names) {
  json options = json::object();
  std::set<std::string> given_elsewhere;
  for (const auto& [field, value] : config.items()) {
    if (field == "format" || field == "version" || is_nothing(value)) continue;
    const std::string option = asked_as(field, names);
    const bool none = !is_option(option);
    if (none && value.is_array())
      throw Error(ErrorCode::usage, "--config: '" + field + "' of this configuration is " + option +
                                        ", which no option gives");
    if (none) {
      given_elsewhere.insert(option);
      continue;
    }
    const bool negated = option.starts_with(kNo);
    const json wanted = negated ? json(!value.get<bool>()) : value;
    const std::string name = option.substr(2);
    if (options.contains(name) && options[name] != wanted)
      throw Error(ErrorCode::usage,
                  "--config: this configuration is half of " + option + ", which no option gives");
    options[name] = wanted;
  }
  std::string text;
  for (const std::string& words : given_elsewhere) text += (text.empty() ? "" : ", ") + words;
  if (!text.empty()) log::info("--config leaves to the command line: " + text);
  return options;
}

}  // namespace wsp::train

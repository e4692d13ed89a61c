#pragma once
#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/core/codes.hpp"

namespace wsp::qa {

enum class Severity { ignore, warning, error };
std::string_view to_string(Severity severity);
/// Throws Error(usage).
Severity parse_severity(std::string_view word);

using Range = std::pair<double, double>;

/// Limits beyond which something is a finding, by name: one number, or a least and a greatest one.
/// libs/preprocess/report/page/default_rules.json lists them, docs/QA.md says what each means.
class Limits {
 public:
  /// Throw std::out_of_range for a limit that is not of the list, or of the other kind.
  [[nodiscard]] double number(std::string_view name) const;
  [[nodiscard]] Range range(std::string_view name) const;
  void set(std::string_view name, Range range);
  /// Take the limits of a rules file; with defaults in place, names must be among theirs. Throws
  /// Error(usage).
  void override_with(const nlohmann::json& limits);

 private:
  std::map<std::string, std::vector<double>, std::less<>> values_;
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

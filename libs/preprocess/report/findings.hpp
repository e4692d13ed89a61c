#pragma once
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "io/core/codes.hpp"
#include "preprocess/report/rules.hpp"

namespace wsp::qa {

/// One thing that is wrong, or may be.
struct Finding {
  Code code = Code::SHARD_CORRUPT;
  Severity severity = Severity::warning;
  std::string case_name;  ///< empty: the dataset as a whole
  std::string subject;    ///< empty where no one subject is meant
  std::string detail;     ///< what was found, and what was expected
  std::optional<double> value, limit;
};

/// Collects findings at the severity that the rules give them; ignored ones are dropped.
class Judge {
 public:
  explicit Judge(const Rules& rules) : rules_(rules) {}
  void add(Code code, const std::string& case_name, const std::string& subject, std::string detail,
           std::optional<double> value = {}, std::optional<double> limit = {});
  [[nodiscard]] const Limits& limits() const { return rules_.limits; }
  /// Errors first, then by code, case and detail.
  std::vector<Finding> take();

 private:
  const Rules& rules_;
  std::vector<Finding> findings_;
};

/// As a line of qa/findings.jsonl holds it (schemas/finding.schema.json).
nlohmann::json to_json(const Finding& finding);

}  // namespace wsp::qa

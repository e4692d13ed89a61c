#include "preprocess/report/findings.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <tuple>

#include "preprocess/report/numbers.hpp"

namespace wsp::qa {

void Judge::add(Code code, const std::string& case_name, const std::string& subject,
                std::string detail, std::optional<double> value, std::optional<double> limit) {
  const Severity severity = rules_.of(code);
  if (severity == Severity::ignore) return;
  findings_.push_back({code, severity, case_name, subject, std::move(detail), value, limit});
}

std::vector<Finding> Judge::take() {
  std::sort(findings_.begin(), findings_.end(), [](const Finding& a, const Finding& b) {
    return std::make_tuple(b.severity, to_string(a.code), a.case_name, a.detail) <
           std::make_tuple(a.severity, to_string(b.code), b.case_name, b.detail);
  });
  return std::move(findings_);
}

nlohmann::json to_json(const Finding& f) {
  const std::string_view remedy = info(f.code).remedy;
  nlohmann::json j{
      {"code", to_string(f.code)}, {"severity", to_string(f.severity)},
      {"case", f.case_name},       {"subject", f.subject},
      {"detail", f.detail},        {"remedy", remedy.empty() ? "see docs/QA.md" : remedy}};
  if (f.value) j["value"] = rounded(*f.value, 4);
  if (f.limit) j["limit"] = rounded(*f.limit, 4);
  return j;
}

}  // namespace wsp::qa

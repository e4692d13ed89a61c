#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "train/eval/table.hpp"
#include "train/stats/metrics.hpp"

namespace wsp::train {
namespace {

using nlohmann::json;
using Pointer = json::json_pointer;

// The results of all seeds of one method on one dataset.
std::vector<json> results_of(const std::vector<json>& cells, const std::string& method,
                             const std::string& backbone, const std::string& evaluation) {
  std::vector<json> found;
  for (const json& cell : cells)
    if (cell.at("method") == method && cell.at("backbone") == backbone &&
        cell.at("variant") == "" && cell.at("results").contains(evaluation))
      found.push_back(cell["results"][evaluation]);
  return found;
}

std::vector<double> numbers_at(const std::vector<json>& results, const char* place) {
  std::vector<double> values;
  for (const json& r : results)
    if (r.contains(Pointer(place)) && r.at(Pointer(place)).is_number())
      values.push_back(r.at(Pointer(place)).get<double>());
  return values;
}

std::string mean_text(const std::vector<double>& values) {
  return values.empty()
             ? "-"
             : fmt::format("{:.2f}",
                           std::abs(mean(values)) < 0.005 ? 0.0 : mean(values));  // no "-0.00"
}

// "scanner GE 0.81, ...", the strongest first: what the features tell and should not.
std::string shortcut_text(const std::vector<json>& results) {
  std::map<std::string, std::vector<double>> auc;
  for (const json& r : results)
    for (const json& s : r.value("shortcuts", json::array()))
      if (s.at("auc").is_number()) auc[s.at("what")].push_back(s.at("auc"));
  std::vector<std::pair<double, std::string>> order;
  for (const auto& [what, values] : auc) order.emplace_back(-mean(values), what);
  std::sort(order.begin(), order.end());
  std::string text;
  for (const auto& [negative, what] : order)
    text += fmt::format("{}{} {:.2f}", text.empty() ? "" : ", ", what, -negative);
  return text.empty() ? "-" : text;
}

}  // namespace

ResultTable checks_table(const Plan& plan, const std::vector<json>& cells) {
  ResultTable t{"checks",
                "How far to trust Table 1: means over seeds",
                {"method", "backbone", "dataset", "subjects (positive)", "AUC of shortcuts",
                 "permutation p (median)", "AUC of shuffled diagnoses, 95 %", "calibration slope",
                 "calibration in the large", "expected error", "Brier"},
                {},
                {}};
  std::vector<std::string> datasets;
  for (const Evaluation& e : plan.evaluations) datasets.push_back(e.name);
  if (!plan.aggregate.empty()) datasets.push_back(plan.aggregate);
  for (const auto& [method, backbone] : plan.rows())
    for (const std::string& dataset : datasets) {
      const std::vector<json> results = results_of(cells, method, backbone, dataset);
      if (results.empty()) continue;
      const auto p = numbers_at(results, "/permutation/p");
      const auto low = numbers_at(results, "/permutation/null_auc/0"),
                 high = numbers_at(results, "/permutation/null_auc/1");
      const json& first = results.front();
      const std::string subjects =
          first.contains("subjects")
              ? fmt::format("{} ({})", first["subjects"].get<int>(), first.value("positive", 0))
              : "-";
      t.rows.push_back({method, backbone, dataset, subjects, shortcut_text(results),
                        p.empty() ? "-" : fmt::format("{:.3f}", quantile(p, 0.5)),
                        low.empty() || high.empty()
                            ? "-"
                            : fmt::format("{:.2f} to {:.2f}", mean(low), mean(high)),
                        mean_text(numbers_at(results, "/calibration/slope")),
                        mean_text(numbers_at(results, "/calibration/in_the_large")),
                        mean_text(numbers_at(results, "/calibration/expected_error")),
                        mean_text(numbers_at(results, "/brier/mean"))});
    }
  t.notes.emplace_back(
      "Calibration: slope 1, in the large 0 and expected error 0 are perfect. A shortcut is what "
      "the features should not "
      "tell of a subject: an AUC far above 0.5 says that they do, and where the diagnoses differ "
      "in it, Table 1 may show it "
      "in place of the liver.");
  t.notes.emplace_back(
      "Diagnoses are not shuffled for the aggregate and for supervised networks, which would be "
      "trained anew each time.");
  return t;
}

}  // namespace wsp::train

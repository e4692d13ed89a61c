#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "train/eval/results.hpp"
#include "train/eval/table.hpp"

namespace wsp::train {
namespace {

std::string auc_text(const SubgroupScore& s) {
  if (std::isnan(s.auc)) return "-";
  return fmt::format("{:.2f}", s.auc) +
         (std::isnan(s.interval.low)
              ? " [no interval]"
              : fmt::format(" [{:.2f}, {:.2f}]", s.interval.low, s.interval.high));
}

// "0.12 (scanner)": of the column whose subgroups lie furthest apart.
std::string widest_gap(const std::vector<SubgroupScore>& scores) {
  std::map<std::string, std::pair<double, double>> range;  // lowest, highest
  for (const SubgroupScore& s : scores) {
    if (std::isnan(s.auc)) continue;
    const auto [at, is_new] = range.emplace(s.column, std::pair(s.auc, s.auc));
    if (!is_new)
      at->second = {std::min(at->second.first, s.auc), std::max(at->second.second, s.auc)};
  }
  double widest = 0;
  std::string text = "-";
  for (const auto& [column, ends] : range)
    if (ends.second - ends.first > widest) {
      widest = ends.second - ends.first;
      text = fmt::format("{:.2f} ({})", widest, column);
    }
  return text;
}

}  // namespace

ResultTable subgroups_table(const Plan& plan, const std::vector<nlohmann::json>& cells,
                            const std::string& evaluation) {
  const Results results(cells);
  ResultTable t{"subgroups-" + evaluation,
                "AUC within subgroups of " + evaluation + ": means over seeds [95 % interval]",
                {"method", "backbone"},
                {},
                {}};
  for (const auto& [method, backbone] : plan.rows()) {
    const std::vector<SubgroupScore> scores = results.subgroups(method, backbone, evaluation);
    if (scores.empty()) continue;
    std::vector<std::string> row{method, backbone};
    for (const SubgroupScore& s : scores) {
      if (t.rows.empty()) {
        t.under_header[t.header.size()] =
            fmt::format("{} subjects, {} positive", s.subjects, s.positives);
        t.header.push_back(s.name);
      }
      row.push_back(auc_text(s));
    }
    row.push_back(widest_gap(scores));
    t.rows.push_back(std::move(row));
  }
  t.header.emplace_back("widest gap");
  t.notes.emplace_back(
      "Each positive is compared with the negatives of its own subgroup, dataset and fold; the "
      "probe is fitted on all. A gap between subgroups of some dozen subjects is mostly chance: "
      "where their intervals overlap, these subjects do not show that an encoder does worse in "
      "one of them. A supervised network's intervals take the scores as fixed and are too narrow.");
  return t;
}

}  // namespace wsp::train

#include "train/eval/subgroups.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <strings.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "io/core/error.hpp"
#include "train/eval/metrics.hpp"

namespace wsp::train {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
constexpr std::size_t kMostClasses = 6;

[[noreturn]] void refuse(const std::string& text) { throw Error(ErrorCode::usage, text); }

Subgroups by_words(const std::string& column, const std::vector<std::string>& words) {
  Subgroups groups{column, {}, {}};
  std::map<std::string, int> number;
  for (const std::string& w : words)
    if (!w.empty() && w != "unknown") number.emplace(w, 0);
  for (auto& [word, n] : number) {
    n = static_cast<int>(groups.names.size());
    groups.names.push_back(column + " " + word);
  }
  for (const std::string& w : words) groups.of.push_back(number.contains(w) ? number.at(w) : -1);
  return groups;
}

// NaN: not known.
Subgroups by_median(const std::string& column, const std::vector<double>& values) {
  const double median = quantile(values, 0.5);
  Subgroups groups{column, {fmt::format("{} up to {:.4g}", column, median)}, {}};
  if (std::any_of(values.begin(), values.end(), [&](double v) { return v > median; }))
    groups.names.push_back(fmt::format("{} above {:.4g}", column, median));
  for (const double v : values) groups.of.push_back(std::isnan(v) ? -1 : v > median ? 1 : 0);
  return groups;
}

// A subject's class is its cases' largest known one, as its diagnosis is.
Subgroups by_label(const Cohort& cohort, const std::vector<const FeatureTable*>& tables,
                   const std::string& asked) {
  const std::string column = tables.at(0)->label_names[label_index(*tables.at(0), asked, "--by")];
  std::map<std::string, std::int64_t> of_subject;
  std::map<std::int64_t, std::string> words;
  for (const FeatureTable* t : tables) {
    const std::size_t l = label_index(*t, column, "--by");
    for (std::size_t c = 0; c < t->cases.size(); ++c) {
      const auto known = of_subject.try_emplace(t->cases[c].subject, -1).first;
      known->second = std::max(known->second, t->labels[l][c]);
    }
    if (!t->label_words.empty())
      for (const auto& [word, number] : t->label_words[l]) words.emplace(number, word);
  }
  std::map<std::int64_t, int> classes;
  for (const std::string& name : cohort.set.names)
    if (of_subject.at(name) >= 0) classes.emplace(of_subject.at(name), 0);
  if (classes.size() > kMostClasses) {
    std::vector<double> values;
    for (const std::string& name : cohort.set.names)
      values.push_back(of_subject.at(name) < 0 ? kNone : static_cast<double>(of_subject.at(name)));
    return by_median(column, values);
  }
  Subgroups groups{column, {}, {}};
  for (auto& [value, n] : classes) {
    n = static_cast<int>(groups.names.size());
    groups.names.push_back(column + " " +
                           (words.contains(value) ? words.at(value) : std::to_string(value)));
  }
  for (const std::string& name : cohort.set.names)
    groups.of.push_back(of_subject.at(name) < 0 ? -1 : classes.at(of_subject.at(name)));
  return groups;
}

Subgroups by_column(const Cohort& cohort, const std::vector<const FeatureTable*>& tables,
                    const std::string& column) {
  if (column == "kernel") return by_words(column, cohort.kernel);
  if (column == "scanner") return by_words(column, cohort.scanner);
  if (column == "phase") return by_words(column, cohort.phase);
  if (column == "dataset") return by_words(column, cohort.dataset);
  if (column != "spacing_mm" && column != "pixel_mm") return by_label(cohort, tables, column);
  std::vector<double> values;
  for (const auto& facts : cohort.case_facts)
    values.push_back(facts[column == "pixel_mm" ? 1 : 0] > 0 ? facts[column == "pixel_mm" ? 1 : 0]
                                                             : kNone);
  return by_median(column, values);
}

}  // namespace

Subgroups subgroups_by(const Cohort& cohort, const std::vector<const FeatureTable*>& tables,
                       const std::string& column) {
  static constexpr const char* kOwn[] = {"kernel",  "scanner",    "phase",
                                         "dataset", "spacing_mm", "pixel_mm"};
  const bool own = std::find(std::begin(kOwn), std::end(kOwn), column) != std::end(kOwn);
  for (const FeatureTable* t : tables)
    if (!own &&
        std::none_of(t->label_names.begin(), t->label_names.end(), [&](const std::string& l) {
          return ::strcasecmp(l.c_str(), column.c_str()) == 0;
        }))
      refuse(fmt::format("--by is '{}': expected one of {}, or a label column: {}", column,
                         fmt::join(kOwn, ", "), fmt::join(t->label_names, ", ")));
  Subgroups groups = by_column(cohort, tables, column);
  if (std::all_of(groups.of.begin(), groups.of.end(), [](int g) { return g < 0; }))
    refuse(fmt::format("--by {}: it is known of no subject", column));
  return groups;
}

std::vector<SubgroupScore> subgroup_scores(const ProbeSet& set, const CrossValidation& cv,
                                           const HalfSamples& halves, const Subgroups& groups) {
  std::vector<SubgroupScore> scores;
  for (std::size_t g = 0; g < groups.names.size(); ++g) {
    SubgroupScore s{groups.names[g],
                    0,
                    0,
                    subgroup_auc(cv, set.positive, set.dataset, groups.of, static_cast<int>(g)),
                    {kNone, kNone}};
    for (std::size_t i = 0; i < groups.of.size(); ++i)
      if (groups.of[i] == static_cast<int>(g)) {
        ++s.subjects;
        s.positives += set.positive[i];
      }
    if (g < halves.groups.size()) {
      HalfSamples part = halves;
      part.positives = static_cast<double>(s.positives);
      part.negatives = static_cast<double>(s.subjects - s.positives);
      const double pairs_of_half =
          part.positives * part.negatives / 4 / std::max(1, part.half_folds);
      if (std::min(part.positives, part.negatives) >= 4 && pairs_of_half >= 2)
        s.interval = auc_interval(s.auc, part, halves.groups[g]);
    }
    scores.push_back(std::move(s));
  }
  return scores;
}

}  // namespace wsp::train

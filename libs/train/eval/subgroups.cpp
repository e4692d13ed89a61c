#include "train/eval/subgroups.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <strings.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "io/core/error.hpp"
#include "train/stats/metrics.hpp"

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
                   const std::string& asked, const std::string& option) {
  const std::string column =
      tables.at(0)->label_names[label_index(*tables.at(0), asked, option.c_str())];
  std::map<std::string, std::int64_t> of_subject;
  std::map<std::int64_t, std::string> words;
  for (const FeatureTable* t : tables) {
    const std::size_t l = label_index(*t, column, option.c_str());
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

// A subject's number is the mean of its cases' known ones.
Subgroups by_number(const Cohort& cohort, const std::vector<const FeatureTable*>& tables,
                    const std::string& column) {
  std::map<std::string, std::vector<double>> of_subject;
  for (const FeatureTable* t : tables)
    for (std::size_t c = 0; c < t->cases.size(); ++c)
      if (const double value = t->numbers.at(column)[c]; !std::isnan(value))
        of_subject[t->cases[c].subject].push_back(value);
  std::vector<double> values;
  for (const std::string& name : cohort.set.names)
    values.push_back(of_subject.contains(name) ? mean(of_subject.at(name)) : kNone);
  return by_median(column, values);
}

// As it is written in all tables, or "".
std::string number_name(const std::vector<const FeatureTable*>& tables, const std::string& column) {
  std::string name;
  for (const FeatureTable* t : tables) {
    const auto found = std::find_if(t->numbers.begin(), t->numbers.end(), [&](const auto& numbers) {
      return ::strcasecmp(numbers.first.c_str(), column.c_str()) == 0;
    });
    if (found == t->numbers.end()) return "";
    name = found->first;
  }
  return name;
}

Subgroups by_column(const Cohort& cohort, const std::vector<const FeatureTable*>& tables,
                    const std::string& column, const std::string& option) {
  if (column == "kernel") return by_words(column, cohort.kernel);
  if (column == "scanner") return by_words(column, cohort.scanner);
  if (column == "phase") return by_words(column, cohort.phase);
  if (column == "dataset") return by_words(column, cohort.dataset);
  if (column != "spacing_mm" && column != "pixel_mm") {
    const std::string number = number_name(tables, column);
    return number.empty() ? by_label(cohort, tables, column, option)
                          : by_number(cohort, tables, number);
  }
  std::vector<double> values;
  for (const auto& facts : cohort.case_facts)
    values.push_back(facts[column == "pixel_mm" ? 1 : 0] > 0 ? facts[column == "pixel_mm" ? 1 : 0]
                                                             : kNone);
  return by_median(column, values);
}

}  // namespace

Subgroups subgroups_by(const Cohort& cohort, const std::vector<const FeatureTable*>& tables,
                       const std::string& column, const std::string& option) {
  static constexpr const char* kOwn[] = {"kernel",  "scanner",    "phase",
                                         "dataset", "spacing_mm", "pixel_mm"};
  const bool own = std::find(std::begin(kOwn), std::end(kOwn), column) != std::end(kOwn);
  for (const FeatureTable* t : tables) {
    std::vector<std::string> known = t->label_names;
    for (const auto& [name, values] : t->numbers) known.push_back(name);
    if (!own && std::none_of(known.begin(), known.end(), [&](const std::string& l) {
          return ::strcasecmp(l.c_str(), column.c_str()) == 0;
        }))
      refuse(fmt::format("{} is '{}': expected one of {}, or a label column: {}", option, column,
                         fmt::join(kOwn, ", "), fmt::join(known, ", ")));
  }
  Subgroups groups = by_column(cohort, tables, column, option);
  if (std::all_of(groups.of.begin(), groups.of.end(), [](int g) { return g < 0; }))
    refuse(fmt::format("{} {}: it is known of no subject", option, column));
  return groups;
}

std::vector<Subgroups> subgroups_by(const Cohort& cohort,
                                    const std::vector<const FeatureTable*>& tables,
                                    const std::vector<std::string>& columns,
                                    const std::string& option) {
  std::vector<Subgroups> several;
  for (const std::string& column : columns) {
    several.push_back(subgroups_by(cohort, tables, column, option));
    for (std::size_t i = 0; i + 1 < several.size(); ++i)
      if (several[i].column == several.back().column)
        refuse(fmt::format("{} names {} twice", option, column));
  }
  return several;
}

Groupings groupings_of(const std::vector<Subgroups>& several) {
  Groupings all;
  for (const Subgroups& groups : several) all.push_back(groups.of);
  return all;
}

Interval subgroup_interval(const SubgroupScore& s, const HalfSamples& halves) {
  HalfSamples part = halves;
  part.positives = static_cast<double>(s.positives);
  part.negatives = static_cast<double>(s.subjects - s.positives);
  const double pairs_of_half = part.positives * part.negatives / 4 / std::max(1, part.half_folds);
  return std::min(part.positives, part.negatives) >= 4 && pairs_of_half >= 2
             ? auc_interval(s.auc, part, s.halves)
             : Interval{kNone, kNone};
}

std::vector<SubgroupScore> subgroup_scores(const ProbeSet& set, const CrossValidation& cv,
                                           const HalfSamples& halves,
                                           const std::vector<Subgroups>& several) {
  std::vector<SubgroupScore> scores;
  for (const Subgroups& groups : several)
    for (std::size_t g = 0; g < groups.names.size(); ++g) {
      const int number = static_cast<int>(g);
      SubgroupScore s;
      s.name = groups.names[g];
      s.column = groups.column;
      s.auc = subgroup_auc(cv, set.positive, set.dataset, groups.of, number);
      for (std::size_t i = 0; i < groups.of.size(); ++i)
        if (groups.of[i] == number) {
          ++s.subjects;
          s.positives += set.positive[i];
        }
      if (!halves.groups.empty()) s.halves = halves.groups.at(scores.size());
      s.interval = subgroup_interval(s, halves);
      scores.push_back(std::move(s));
    }
  return scores;
}

}  // namespace wsp::train

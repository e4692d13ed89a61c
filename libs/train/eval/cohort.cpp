#include "train/eval/cohort.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <regex>
#include <set>

#include "io/core/error.hpp"
#include "train/eval/left_out.hpp"
#include "train/stats/cross_validation.hpp"
#include "train/stats/metrics.hpp"

namespace wsp::train {
namespace {

[[noreturn]] void refuse(const std::string& text) { throw Error(ErrorCode::usage, text); }

void check_together(const FeatureTable& a, const FeatureTable& b) {
  if (a.fact("encoder_sha256") != b.fact("encoder_sha256"))
    refuse("the features of " + a.fact("dataset") + " and of " + b.fact("dataset") +
           " come from different encoders (SHA-256 " + a.fact("encoder_sha256").substr(0, 12) +
           " and " + b.fact("encoder_sha256").substr(0, 12) +
           "): embed all datasets with one; compare encoders with --against");
  if (a.dimensions != b.dimensions)
    refuse(
        fmt::format("the features of {} and of {} are {} and {} a slice, though their encoders "
                    "have one name: import them under two",
                    a.fact("dataset"), b.fact("dataset"), a.dimensions, b.dimensions));
  for (const char* what : {"image_size", "precision"})
    if (a.fact(what) != b.fact(what))
      refuse(fmt::format("the features of {} and of {} have {} {} and {}: embed them alike",
                         a.fact("dataset"), b.fact("dataset"), what, a.fact(what), b.fact(what)));
  if (const auto copies = near_duplicates(a, b); !copies.empty())
    refuse(
        fmt::format("{} volumes stand in {} and in {}, e.g. {}: an aggregated probe would see them "
                    "in both parts of a fold; leave them out of one dataset",
                    copies.size(), a.fact("dataset"), b.fact("dataset"), copies.front()));
}

// A class that no case has may be a slip of the pen; a reader's call that is no yes or no is one.
void check_classes(const FeatureTable& t, const Diagnosis& diagnosis,
                   const PositiveClasses& positive, const std::vector<std::int64_t>& label,
                   const std::vector<std::int64_t>* reader, std::vector<std::string>& remarks) {
  if (!positive.remark.empty()) remarks.push_back(positive.remark);
  std::set<std::int64_t> found(label.begin(), label.end());
  found.erase(-1);
  for (const auto& [p, last] : positive.ranges)
    if (p == last && !found.empty() && !found.contains(p))
      remarks.push_back(
          fmt::format("the class {} counts as positive, which no case of {} has: its '{}' are {}",
                      p, t.fact("dataset"), diagnosis.label, fmt::join(found, ", ")));
  if (reader == nullptr) return;
  for (const std::int64_t call : *reader)
    if (call > 1)
      refuse(fmt::format(
          "--reader '{}' holds the class {}: expected a column of calls, 0 or 1 (or nothing)",
          diagnosis.reader, call));
}

}  // namespace

bool PositiveClasses::contains(std::int64_t label) const {
  return std::any_of(ranges.begin(), ranges.end(), [&](const auto& range) {
    return range.first <= label && label <= range.second;
  });
}

std::vector<std::int64_t> PositiveClasses::among(std::span<const std::int64_t> labels) const {
  std::set<std::int64_t> found;
  for (const std::int64_t label : labels)
    if (contains(label)) found.insert(label);
  return {found.begin(), found.end()};
}

namespace {

// The class of a word or number; refuses whatever else the text holds.
class ClassNames {
 public:
  ClassNames(const std::string& text, const std::map<std::string, std::int64_t>& words)
      : text_(text), words_(words) {}

  std::int64_t class_of(const std::string& word) {
    static const std::regex kNumber("[0-9]{1,6}"), kNumbered("([A-Za-z]*)([0-9]{1,6})");
    std::smatch part;
    if (const auto known = words_.find(word); known != words_.end() && known->second >= 0) {
      if (std::regex_match(word, kNumber) && std::stoll(word) != known->second)
        remark_ =
            fmt::format("--positive is '{}': {} is taken as the manifest's word, whose class is {}",
                        text_, word, known->second);
      return known->second;
    }
    if (words_.empty()
            ? !std::regex_match(word, part, kNumbered) || (prefix_ && *prefix_ != part[1].str())
            : !std::regex_match(word, part, kNumber))
      refuse("--positive is '" + text_ + "': expected classes such as 3,4" +
             (words_.empty() ? " or F3,F4" : known_words()) +
             ", or a bound such as >=3, >2, <=1 or <2");
    if (!words_.empty()) return std::stoll(word);
    prefix_ = part[1].str();
    return std::stoll(part[2].str());
  }

  [[nodiscard]] const std::string& remark() const { return remark_; }

 private:
  [[nodiscard]] std::string known_words() const {
    std::vector<std::string> known;
    for (const auto& [word, number] : words_)
      if (number >= 0) known.push_back(word);
    return fmt::format(", the manifest's words {}", fmt::join(known, ", "));
  }

  const std::string& text_;
  const std::map<std::string, std::int64_t>& words_;
  std::optional<std::string> prefix_;
  std::string remark_;
};

}  // namespace

PositiveClasses parse_positive(const std::string& text,
                               const std::map<std::string, std::int64_t>& words) {
  constexpr std::int64_t kLast = std::numeric_limits<std::int64_t>::max();
  ClassNames names(text, words);
  PositiveClasses classes;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    const std::string term = text.substr(begin, end - begin);
    std::string bound;
    for (const char* known : {">=", "<=", ">", "<"})
      if (bound.empty() && term.starts_with(known)) bound = known;
    const std::int64_t number = names.class_of(term.substr(bound.size()));
    classes.text += (begin > 0 ? "," : "") + bound + std::to_string(number);
    if (bound.starts_with('>'))
      classes.ranges.emplace_back(bound == ">" ? number + 1 : number, kLast);
    else if (bound.starts_with('<'))
      classes.ranges.emplace_back(0, bound == "<" ? number - 1 : number);
    else
      classes.ranges.emplace_back(number, number);
    begin = end + 1;
  }
  classes.remark = names.remark();
  return classes;
}

PositiveClasses positive_classes(const FeatureTable& t, const Diagnosis& diagnosis) {
  const std::size_t l = label_index(t, diagnosis.label);
  return t.label_words.empty() ? parse_positive(diagnosis.positive)
                               : parse_positive(diagnosis.positive, t.label_words.at(l));
}

Cohort make_cohort(const std::vector<const FeatureTable*>& tables,
                   const std::vector<Diagnosis>& diagnoses) {
  Cohort cohort;
  cohort.encoder_sha256 = tables.at(0)->fact("encoder_sha256");
  cohort.set.dimensions = tables[0]->dimensions;
  cohort.set.first = {0};
  std::set<std::string> seen;
  for (std::size_t k = 0; k < tables.size(); ++k) {
    const FeatureTable& t = *tables[k];
    const auto excluded = rated_exclude(t);
    cohort.excluded.insert(cohort.excluded.end(), excluded.begin(), excluded.end());
    const Diagnosis& diagnosis = diagnoses.size() == 1 ? diagnoses[0] : diagnoses.at(k);
    for (std::size_t other = 0; other < k; ++other) check_together(*tables[other], t);
    const auto& label = t.labels[label_index(t, diagnosis.label)];
    const auto* reader = diagnosis.reader.empty()
                             ? nullptr
                             : &t.labels[label_index(t, diagnosis.reader, "--reader")];
    const PositiveClasses positive = positive_classes(t, diagnosis);
    check_classes(t, diagnosis, positive, label, reader, cohort.remarks);
    std::map<std::string, std::vector<std::size_t>> cases;
    for (std::size_t c = 0; c < t.cases.size(); ++c) cases[t.cases[c].subject].push_back(c);
    std::vector<std::vector<std::size_t>> rows(t.cases.size());
    for (std::size_t i = 0; i < t.case_id.size(); ++i)
      rows[static_cast<std::size_t>(t.case_id[i])].push_back(i);
    std::vector<std::string> conflicting;
    for (const auto& [subject, of_subject] : cases) {
      std::int64_t known = -1, call = -1;
      std::set<std::int64_t> classes;
      std::size_t slices = 0;
      for (const std::size_t c : of_subject) {
        known = std::max(known, label[c]);
        if (label[c] >= 0) classes.insert(label[c]);
        if (reader != nullptr) call = std::max(call, (*reader)[c]);
        slices += rows[c].size();
      }
      if (known < 0 || slices == 0) continue;
      if (classes.size() > 1) conflicting.push_back(subject);
      if (!seen.insert(subject).second)
        refuse("the subject " + subject +
               " stands in two of the datasets: an aggregated probe would "
               "see it in both parts of a fold; leave it out of one");
      double spacing = 0, pixel = 0;
      for (const std::size_t c : of_subject) {
        for (const std::size_t row : rows[c]) {
          const auto* x = t.values.data() + static_cast<std::int64_t>(row) * t.dimensions;
          cohort.set.x.insert(cohort.set.x.end(), x, x + t.dimensions);
          cohort.depth.push_back(t.depth[row]);
        }
        spacing += t.cases[c].spacing_mm / static_cast<double>(of_subject.size());
        pixel += t.cases[c].pixel_mm / static_cast<double>(of_subject.size());
      }
      cohort.set.first.push_back(cohort.set.first.back() + static_cast<std::int64_t>(slices));
      cohort.set.names.push_back(subject);
      cohort.set.positive.push_back(positive.contains(known) ? 1 : 0);
      cohort.dataset.push_back(t.fact("dataset"));
      cohort.set.dataset.push_back(static_cast<int>(k));
      cohort.case_facts.push_back({spacing, pixel});
      cohort.kernel.push_back(t.cases[of_subject.front()].kernel);
      cohort.scanner.push_back(t.cases[of_subject.front()].scanner);
      cohort.phase.push_back(t.cases[of_subject.front()].phase);
      cohort.reader.push_back(
          reader == nullptr ? -1 : static_cast<int>(std::min<std::int64_t>(call, 1)));
    }
    if (!conflicting.empty())
      cohort.remarks.push_back(
          fmt::format("{} subjects of {} have cases of several '{}', e.g. {}: the largest counts",
                      conflicting.size(), t.fact("dataset"), diagnosis.label, conflicting.front()));
  }
  if (cohort.set.subjects() < 2)
    refuse(fmt::format("{} subjects have a known '{}': a probe needs subjects of both classes",
                       cohort.set.subjects(), diagnoses[0].label));
  const auto positives = std::count(cohort.set.positive.begin(), cohort.set.positive.end(), 1);
  if (positives == 0 || positives == cohort.set.subjects())
    refuse(fmt::format("all {} subjects with a known '{}' are {}: choose other --positive classes",
                       cohort.set.subjects(), diagnoses[0].label,
                       positives == 0 ? "negative" : "positive"));
  return cohort;
}

std::vector<std::string> shared_subjects(const FeatureTable& table,
                                         const std::vector<std::string>& others) {
  const std::set<std::string> known(others.begin(), others.end());
  std::set<std::string> shared;
  for (const FeatureCase& c : table.cases)
    if (known.contains(c.subject)) shared.insert(c.subject);
  return {shared.begin(), shared.end()};
}

std::vector<std::string> near_duplicates(const FeatureTable& a, const FeatureTable& b) {
  std::map<std::uint64_t, std::set<std::int32_t>> cases_with;
  std::vector<std::int64_t> size_a(a.cases.size()), size_b(b.cases.size());
  for (std::size_t i = 0; i < a.content.size(); ++i) {
    cases_with[a.content[i]].insert(a.case_id[i]);
    ++size_a[static_cast<std::size_t>(a.case_id[i])];
  }
  std::map<std::pair<std::int32_t, std::int32_t>, std::int64_t> common;
  for (std::size_t i = 0; i < b.content.size(); ++i) {
    ++size_b[static_cast<std::size_t>(b.case_id[i])];
    if (const auto found = cases_with.find(b.content[i]); found != cases_with.end())
      for (const std::int32_t c : found->second)
        if (&a != &b || c < b.case_id[i]) ++common[{c, b.case_id[i]}];
  }
  std::vector<std::string> pairs;
  for (const auto& [pair, count] : common) {
    const auto ca = static_cast<std::size_t>(pair.first),
               cb = static_cast<std::size_t>(pair.second);
    if (2 * count < std::min(size_a[ca], size_b[cb])) continue;
    pairs.push_back(a.cases[ca].name + " of " + a.fact("dataset") + " and " + b.cases[cb].name +
                    " of " + b.fact("dataset"));
  }
  return pairs;
}

std::vector<Shortcut> shortcut_probes(const Cohort& cohort, LogisticFits& fits, int folds,
                                      std::uint64_t seed, double c) {
  std::vector<Shortcut> found;
  const auto n = static_cast<std::size_t>(cohort.set.subjects());
  const auto probe = [&](const std::string& what, const std::vector<std::uint8_t>& truth) {
    const auto ones = std::count(truth.begin(), truth.end(), 1);
    const auto zeros = static_cast<std::ptrdiff_t>(n) - ones;
    if (std::min(ones, zeros) < folds) {
      found.push_back({what, std::nan(""), cohort.set.subjects(),
                       fmt::format("{} of {} subjects: too few for {} folds", std::min(ones, zeros),
                                   n, folds)});
      return;
    }
    const CrossValidation cv =
        cross_validate(cohort.set, fits, truth, {.folds = folds, .seed = seed, .c = c});
    found.push_back({what, cv.mean_auc(), cohort.set.subjects(), {}});
  };
  const char* facts[] = {"slice spacing above its median", "pixel size above its median"};
  for (std::size_t k = 0; k < 2; ++k) {
    std::vector<double> values;
    for (const auto& f : cohort.case_facts) values.push_back(f[k]);
    if (std::all_of(values.begin(), values.end(), [&](double v) { return v == values.front(); }))
      continue;
    const double median = quantile(values, 0.5);
    std::vector<std::uint8_t> above;
    for (const double v : values) above.push_back(v > median ? 1 : 0);
    probe(facts[k], above);
  }
  const auto most_frequent = [&](const std::string& what, const std::vector<std::string>& words) {
    std::map<std::string, int> count;
    for (const std::string& w : words) ++count[w];
    if (count.size() < 2) return;
    const auto top = std::max_element(count.begin(), count.end(), [](const auto& a, const auto& b) {
      return a.second < b.second;
    });
    std::vector<std::uint8_t> is;
    for (const std::string& w : words) is.push_back(w == top->first ? 1 : 0);
    probe(what + " " + top->first, is);
  };
  most_frequent("kernel", cohort.kernel);
  most_frequent("scanner", cohort.scanner);
  most_frequent("dataset", cohort.dataset);
  return found;
}

ReaderScores reader_scores(const Cohort& cohort) {
  double right[2] = {0, 0}, all[2] = {0, 0};
  for (std::size_t s = 0; s < cohort.reader.size(); ++s) {
    if (cohort.reader[s] < 0) continue;
    const int truth = cohort.set.positive[s] != 0 ? 1 : 0;
    right[truth] += cohort.reader[s] == truth ? 1 : 0;
    all[truth] += 1;
  }
  if (!(all[0] > 0 && all[1] > 0))
    refuse("--reader: its calls are not known for subjects of both classes");
  const double specificity = right[0] / all[0], sensitivity = right[1] / all[1];
  return {sensitivity, specificity, (sensitivity + specificity) / 2,
          static_cast<std::int64_t>(all[0] + all[1])};
}

}  // namespace wsp::train

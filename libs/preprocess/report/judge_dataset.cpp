#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "io/core/parallel.hpp"
#include "preprocess/report/judge.hpp"
#include "preprocess/report/signature.hpp"

namespace wsp::qa {
namespace {

bool usable_for_training(const CaseFacts& f) {
  return depth_is_trusted(f.flags) && !f.labels.empty() && f.labels[0] >= 0 && f.split != "val" &&
         f.split != "test";
}

struct Pair {
  std::size_t first, second;
  double distance;
};

void judge_splits(const std::map<std::string, std::vector<const CaseFacts*>>& subjects,
                  Judge& judge) {
  for (const auto& [subject, cases] : subjects) {
    std::set<std::string> splits;
    for (const CaseFacts* f : cases) splits.insert(f->split.empty() ? "(none)" : f->split);
    if (splits.size() < 2) continue;
    std::string names;
    for (const std::string& split : splits) names += (names.empty() ? "" : ", ") + split;
    judge.add(Code::SUBJECT_IN_TWO_SPLITS, cases.front()->name, subject,
              fmt::format("{} cases of one subject stand in the splits {}", cases.size(), names));
  }
}

void judge_labels(const std::map<std::string, std::vector<const CaseFacts*>>& subjects,
                  const std::vector<std::string>& label_names, Judge& judge) {
  for (const auto& [subject, cases] : subjects)
    for (std::size_t l = 0; l < label_names.size(); ++l) {
      std::set<std::int64_t> values;
      for (const CaseFacts* f : cases)
        if (f->labels.at(l) >= 0) values.insert(f->labels[l]);
      if (values.size() < 2) continue;
      judge.add(Code::LABEL_CONFLICT, cases.front()->name, subject,
                fmt::format("'{}' is {} to {} over {} cases of one subject", label_names[l],
                            *values.begin(), *values.rbegin(), cases.size()));
    }
}

// The trainer's own rule (BalancedSampler): a class must hold its share of a batch.
void judge_batches(const std::vector<CaseFacts>& cases, Judge& judge) {
  std::map<std::int64_t, std::pair<std::set<std::string>, std::int64_t>> classes;
  for (const CaseFacts& f : cases)
    if (usable_for_training(f)) {
      classes[f.labels[0]].first.insert(f.subject);
      classes[f.labels[0]].second += f.kept;
    }
  if (classes.empty()) {
    judge.add(Code::BATCH_INFEASIBLE, "", "",
              "no case is left to train on: all are unlabelled, held back or flagged");
    return;
  }
  const auto batch = static_cast<std::int64_t>(judge.limits().number("batch"));
  const auto n = static_cast<std::int64_t>(classes.size());
  const std::int64_t quota = (batch + n - 1) / n;
  for (const auto& [label, of_class] : classes) {
    const auto& [subjects, slices] = of_class;
    if (slices < quota)
      judge.add(
          Code::BATCH_INFEASIBLE, "", "",
          fmt::format("class {} has {} slices, and a batch of {} over {} classes needs {} of them",
                      label, slices, batch, n, quota),
          static_cast<double>(slices), static_cast<double>(quota));
    if (static_cast<double>(subjects.size()) < judge.limits().number("class_subjects"))
      judge.add(Code::CLASS_TINY, "", "",
                fmt::format("class {} of the weak label has {} subjects to train on", label,
                            subjects.size()),
                static_cast<double>(subjects.size()), judge.limits().number("class_subjects"));
  }
}

}  // namespace

void judge_duplicates(const std::vector<CaseFacts>& cases, const std::vector<KnownVolume>& others,
                      Judge& judge) {
  const double limit = judge.limits().number("duplicate_distance");
  const auto distance = [](const PixelFacts& p, std::uint64_t content,
                           const std::vector<std::uint64_t>& signature) {
    return p.content == content ? 0.0 : signature_distance(p.signature, signature);
  };
  std::vector<std::vector<Pair>> here(cases.size()), elsewhere(cases.size());
  wsp::parallel_loop(std::size_t{0}, cases.size(), [&](std::size_t a) {
    const PixelFacts& p = cases[a].pixels;
    if (p.slices == 0) return;
    for (std::size_t b = a + 1; b < cases.size(); ++b) {
      if (cases[b].pixels.slices == 0) continue;
      const double d = distance(p, cases[b].pixels.content, cases[b].pixels.signature);
      if (d <= limit) here[a].push_back({a, b, d});
    }
    for (std::size_t b = 0; b < others.size(); ++b) {
      const double d = distance(p, others[b].content, others[b].signature);
      if (d <= limit) elsewhere[a].push_back({a, b, d});
    }
  });
  for (const auto& pairs : here)
    for (const Pair& pair : pairs) {
      const CaseFacts &a = cases[pair.first], &b = cases[pair.second];
      // Two series of one study look alike by right; only the very same pixels are a mistake.
      if (a.subject == b.subject && a.pixels.content != b.pixels.content) continue;
      judge.add(
          Code::DUPLICATE_VOLUME, a.name, a.subject,
          fmt::format("{} as {} of {} ({:.1f} % apart)",
                      pair.distance == 0 ? "the same pixels" : "nearly the same pictures", b.name,
                      a.subject == b.subject ? "the same subject" : "another subject, " + b.subject,
                      100 * pair.distance),
          pair.distance, limit);
    }
  for (const auto& pairs : elsewhere)
    for (const Pair& pair : pairs)
      judge.add(Code::DUPLICATE_VOLUME, cases[pair.first].name, cases[pair.first].subject,
                fmt::format("{} as {} of the baseline ({:.1f} % apart)",
                            pair.distance == 0 ? "the same pixels" : "nearly the same pictures",
                            others[pair.second].name, 100 * pair.distance),
                pair.distance, limit);
}

void judge_cohort(const std::vector<CaseFacts>& cases, const std::vector<std::string>& label_names,
                  const DatasetKind& kind, Judge& judge) {
  std::map<std::string, std::vector<const CaseFacts*>> subjects;
  for (const CaseFacts& f : cases) subjects[f.subject].push_back(&f);
  judge_splits(subjects, judge);
  judge_labels(subjects, label_names, judge);
  if (kind.without_labels)
    judge.add(Code::LABELS_ABSENT, "", "",
              fmt::format("the ingest was given no label table: all {} cases are unlabelled",
                          cases.size()));
  // A segmentation model balances no classes, and what has none is said above.
  if (!kind.without_labels && !kind.all_slices) judge_batches(cases, judge);
}

void judge_ledger(const LedgerAccount& account, std::size_t cases, Judge& judge) {
  for (const std::string& problem : account.problems)
    judge.add(Code::LEDGER_MISMATCH, "", "", problem);
  for (const QuarantineRow& row : account.quarantine)
    if (const auto code = parse_code(row.code); code && row.what == "case")
      judge.add(*code, row.name, "",
                "refused: " + (row.detail.empty() ? std::string(info(*code).meaning) : row.detail));
  const auto refused = static_cast<double>(account.quarantined_cases());
  const double share = refused / std::max(1.0, refused + static_cast<double>(cases));
  if (share > judge.limits().number("quarantined_share"))
    judge.add(Code::QUARANTINE_HIGH, "", "",
              fmt::format("{:.0f} of {:.0f} cases were refused", refused,
                          refused + static_cast<double>(cases)),
              share, judge.limits().number("quarantined_share"));
}

void judge_ratings(const std::map<std::string, std::string>& ratings,
                   const std::vector<CaseFacts>& cases, Judge& judge) {
  for (const CaseFacts& f : cases)
    if (const auto found = ratings.find(f.name);
        found != ratings.end() && found->second == "exclude")
      judge.add(Code::RATED_EXCLUDE, f.name, f.subject, "a reader rated this case 'exclude'");
}

}  // namespace wsp::qa

#include "train/eval/overlap.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <set>

#include "io/core/error.hpp"
#include "io/core/log.hpp"
#include "train/eval/cohort.hpp"

namespace wsp::train {
namespace {

// Cases, slices and hashes of those subjects; no features.
FeatureTable only(const FeatureTable& t, const std::function<bool(const std::string&)>& wanted) {
  FeatureTable part;
  part.facts = t.facts;
  std::vector<std::int32_t> place(t.cases.size(), -1);
  for (std::size_t c = 0; c < t.cases.size(); ++c)
    if (wanted(t.cases[c].subject)) {
      place[c] = static_cast<std::int32_t>(part.cases.size());
      part.cases.push_back(t.cases[c]);
    }
  for (std::size_t i = 0; i < t.case_id.size(); ++i)
    if (const std::int32_t c = place[static_cast<std::size_t>(t.case_id[i])]; c >= 0) {
      part.case_id.push_back(c);
      part.content.push_back(t.content[i]);
    }
  return part;
}

}  // namespace

std::vector<std::string> subjects_of(const FeatureTable& table) {
  std::set<std::string> names;
  for (const FeatureCase& c : table.cases) names.insert(c.subject);
  return {names.begin(), names.end()};
}

std::vector<std::string> training_overlap(const FeatureTable& table,
                                          const std::vector<std::string>& subjects,
                                          const FeatureTable* pretraining) {
  const std::set<std::string> asked(subjects.begin(), subjects.end());
  std::set<std::string> seen, unseen;  // as the weights say
  for (const FeatureCase& c : table.cases)
    if (c.trained_on >= 0) (c.trained_on > 0 ? seen : unseen).insert(c.subject);
  std::vector<std::string> all, found;
  std::set_intersection(asked.begin(), asked.end(), seen.begin(), seen.end(),
                        std::back_inserter(found));
  const std::string dataset = table.fact("dataset");
  if (!found.empty())
    all.push_back(fmt::format("the encoder was trained on {} of the {} subjects of {}, e.g. {}",
                              found.size(), asked.size(), dataset, found.front()));
  const bool says_nothing = seen.empty() && unseen.empty();
  if (says_nothing && table.fact("method") != "random" &&
      table.fact("pretraining_sha256") == table.fact("dataset_sha256") &&
      table.fact("dataset_sha256") != "unknown")
    all.push_back(fmt::format(
        "the encoder was trained on {} itself, and its weights do not say on which subjects of it",
        dataset));
  if (pretraining == nullptr || table.fact("method") == "random") return all;

  const FeatureTable trained =
      only(*pretraining, [&](const std::string& s) { return !unseen.contains(s); });
  const FeatureTable evaluated =
      only(table, [&](const std::string& s) { return asked.contains(s); });
  const std::string where = pretraining->fact("dataset") + ", which the encoder was trained on";
  if (const auto shared = shared_subjects(evaluated, subjects_of(trained)); !shared.empty())
    all.push_back(fmt::format("{} of the {} subjects of {} stand in {}, e.g. {}", shared.size(),
                              asked.size(), dataset, where, shared.front()));
  if (const auto copies = near_duplicates(trained, evaluated); !copies.empty())
    all.push_back(fmt::format("{} volumes of {} have the same pixels as volumes of {}, e.g. {}",
                              copies.size(), dataset, where, copies.front()));
  return all;
}

void judge_overlap(const std::vector<std::string>& overlap, bool allowed) {
  if (overlap.empty()) return;
  if (!allowed)
    throw Error(ErrorCode::usage, fmt::format("{}: that flatters the encoder; evaluate on others, "
                                              "or add --allow-overlap, which flags the result",
                                              fmt::join(overlap, "; ")));
  for (const std::string& sentence : overlap)
    log::warn("--allow-overlap: " + sentence + ": what is said of it flatters the encoder");
}

}  // namespace wsp::train

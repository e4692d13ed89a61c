#include "wsp-eval-probe.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/json_text.hpp"
#include "io/core/log.hpp"
#include "train/eval/left_out.hpp"
#include "train/eval/overlap.hpp"
#include "train/eval/plots.hpp"
#include "train/eval/roster.hpp"
#include "train/eval/saved_probe.hpp"

namespace wsp {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using train::Cohort;
using train::FeatureTable;
using train::ProtocolResult;
using Sentences = std::vector<std::string>;  // on what the encoder was trained on of a cohort

// Feature files of one encoder, each with its diagnosis: cohorts to judge alone and together.
struct Inputs {
  std::vector<train::Diagnosis> diagnoses;
  std::vector<FeatureTable> tables;
  std::vector<Cohort> cohorts;  // one per table
  Cohort together;
  std::vector<Sentences> overlaps;  // one per table

  [[nodiscard]] std::vector<const FeatureTable*> pointers() const {
    std::vector<const FeatureTable*> all;
    for (const FeatureTable& table : tables) all.push_back(&table);
    return all;
  }
  [[nodiscard]] const std::string& name(std::size_t i) const {
    return tables[i].facts.at("dataset");
  }
};

// The other encoder's features of the first cohort.
struct Other {
  FeatureTable table;
  Cohort cohort;
  Sentences overlap;
};

// What the encoder was trained on of each cohort; refused unless allowed.
std::vector<Sentences> check_pretraining(const EvalOptions& o,
                                         const std::vector<FeatureTable>& tables,
                                         const std::vector<Cohort>& cohorts) {
  std::optional<FeatureTable> pretraining;
  if (!o.pretraining.empty())
    pretraining = train::pretraining_roster(tables.front(), o.pretraining);
  std::vector<Sentences> overlaps;
  std::vector<std::string> all;
  for (std::size_t i = 0; i < tables.size(); ++i) {
    overlaps.push_back(train::training_overlap(tables[i], cohorts[i].set.names,
                                               pretraining ? &*pretraining : nullptr));
    all.insert(all.end(), overlaps[i].begin(), overlaps[i].end());
    const std::string& method = tables[i].facts.at("method");
    if (!pretraining && overlaps[i].empty() && method != "random" && method != "unknown" &&
        std::all_of(tables[i].cases.begin(), tables[i].cases.end(),
                    [](const train::FeatureCase& c) { return c.trained_on < 0; }))
      log::warn("the weights behind " + tables[i].facts.at("dataset") +
                " do not say on whom they were trained: --pretraining DATASET tells whom they "
                "share with it");
  }
  train::judge_overlap(all, o.allow_overlap);
  return overlaps;
}

fs::path figure_of(const EvalOptions& o, std::string name) {
  static constexpr std::string_view kKept = "+-._";
  for (char& c : name)
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && kKept.find(c) == kKept.npos) c = '_';
  return o.figures / ("diagnostics-" + name + ".svg");
}

std::string against_name(const EvalOptions& o) { return "against-" + o.against.stem().string(); }

// Before the fits: a picture for every result, none over another.
void check_figures(const EvalOptions& o, const std::vector<FeatureTable>& tables) {
  if (o.figures.empty()) return;
  make_directory(o.figures);
  std::vector<std::string> names;
  for (const FeatureTable& t : tables) names.push_back(t.facts.at("dataset"));
  if (tables.size() > 1) names.emplace_back("aggregated");
  if (!o.against.empty()) names.push_back(against_name(o));
  std::set<fs::path> files;
  for (const std::string& name : names) {
    refuse_existing(figure_of(o, name), o.force);
    if (!files.insert(figure_of(o, name)).second)
      throw Error(ErrorCode::usage,
                  fmt::format("--figures: two results are called {}, and one picture would "
                              "replace the other: give the datasets two names",
                              name));
  }
}

void check_options(const EvalOptions& o) {
  if (o.save.empty()) return;
  if (o.protocol.cv.neighbours > 0)
    throw Error(ErrorCode::usage,
                "--save keeps a logistic regression, --knn judges neighbours: leave one out");
  refuse_existing(o.save, o.force);
}

void read_tables(const EvalOptions& o, Inputs& in) {
  in.diagnoses = diagnoses(o);
  for (const std::string& file : o.features) in.tables.push_back(train::read_features(file));
  const std::size_t labels = in.diagnoses.size(), files = in.tables.size();
  if (labels != 1 && labels != files)
    throw Error(ErrorCode::usage,
                fmt::format("{} --label for {} feature files: give one for all, or one each",
                            labels, files));
  if (!o.ratings.empty() && o.ratings.size() != files)
    throw Error(ErrorCode::usage,
                fmt::format("{} --exclude for {} feature files: give one each, in their order",
                            o.ratings.size(), files));
  for (std::size_t i = 0; i < o.ratings.size(); ++i)
    train::leave_out_rated(in.tables[i], o.ratings[i]);
  if (!o.against.empty() && files > 1)
    throw Error(ErrorCode::usage,
                fmt::format("--against compares two encoders on one dataset, found {} feature "
                            "files beside it: give one",
                            files));
}

void make_cohorts(const EvalOptions& o, Inputs& in) {
  for (std::size_t i = 0; i < in.tables.size(); ++i) {
    const auto& diagnosis = in.diagnoses[in.diagnoses.size() == 1 ? 0 : i];
    in.cohorts.push_back(train::make_cohort({&in.tables[i]}, {diagnosis}));
    for (const std::string& remark : in.cohorts[i].remarks) log::warn(remark);
  }
  in.together = train::make_cohort(in.pointers(), in.diagnoses);
  in.overlaps = check_pretraining(o, in.tables, in.cohorts);
}

Other read_other(const EvalOptions& o, const Inputs& in) {
  Other other;
  other.table = train::read_features(o.against);
  if (!o.ratings.empty()) train::leave_out_rated(other.table, o.ratings.front());
  other.cohort = train::make_cohort({&other.table}, {in.diagnoses[0]});
  if (other.cohort.set.names != in.cohorts[0].set.names)
    throw Error(ErrorCode::usage,
                "--against holds other subjects: a paired comparison needs the same dataset");
  other.overlap = train::training_overlap(other.table, other.cohort.set.names);
  train::judge_overlap(other.overlap, o.allow_overlap);
  return other;
}

// One result, its figure where asked, and what is said of both.
ProtocolResult judge(const EvalOptions& o, const Cohort& cohort,
                     const std::vector<const FeatureTable*>& of, const std::string& name,
                     const Sentences& overlap, std::string& text) {
  train::ProtocolOptions options = o.protocol;
  options.subgroups = train::subgroups_by(cohort, of, o.by);
  ProtocolResult result = train::run_protocol(cohort, name, options);
  result.overlap = overlap;
  text += train::to_text(result);
  if (!o.figures.empty()) {
    const fs::path file = figure_of(o, name);
    write_file_atomic(file, train::diagnostics_svg(train::to_json(result), name));
    text += fmt::format("  {:<18} {}\n", "figure", file.string());
  }
  return result;
}

json compare(const ProtocolResult& first, const ProtocolResult& other, std::string& text) {
  const train::PairedDifference d = train::paired_difference(first.cv.mean_auc(), first.halves,
                                                             other.cv.mean_auc(), other.halves);
  const train::DeLongComparison fixed =
      train::delong_compare(first.cv.probability[0], other.cv.probability[0], first.positive);
  text += fmt::format(
      "difference of AUC {:+.3f}, {}; DeLong, conditional on the folds, p = {:.3g}\n", d.difference,
      first.halves.auc.empty() ? "no interval"
                               : fmt::format("95 % interval {:+.3f} to {:+.3f}, p = {:.3g}",
                                             d.interval.low, d.interval.high, d.p),
      fixed.p);
  return {{"result", train::to_json(other)},
          {"auc_difference", d.difference},
          {"interval", {d.interval.low, d.interval.high}},
          {"p", d.p},
          {"delong_conditional_on_folds", {{"difference", fixed.difference}, {"p", fixed.p}}}};
}

}  // namespace

int run_probe(EvalOptions& o, bool as_json) {
  set_c(o);
  o.protocol.shortcuts = !o.no_shortcuts;
  check_options(o);
  Inputs in;
  read_tables(o, in);
  check_figures(o, in.tables);
  make_cohorts(o, in);
  std::optional<Other> other;
  if (!o.against.empty()) other = read_other(o, in);

  json result{{"alone", json::array()}};
  std::string text;
  ProtocolResult first, whole;
  Sentences every_overlap;
  for (std::size_t i = 0; i < in.tables.size(); ++i) {
    const ProtocolResult alone =
        judge(o, in.cohorts[i], {&in.tables[i]}, in.name(i), in.overlaps[i], text);
    every_overlap.insert(every_overlap.end(), in.overlaps[i].begin(), in.overlaps[i].end());
    result["alone"].push_back(train::to_json(alone));
    if (i == 0) first = whole = alone;
  }
  if (in.tables.size() > 1) {
    whole = judge(o, in.together, in.pointers(), "aggregated", every_overlap, text);
    result["aggregated"] = train::to_json(whole);
  }
  if (other)
    result["against"] = compare(
        first, judge(o, other->cohort, {&other->table}, against_name(o), other->overlap, text),
        text);
  if (!o.save.empty()) {
    const double c = train::median_choice(whole.cv.chosen_c.front());
    train::write_probe(o.save, train::fit_saved_probe(in.together, in.pointers(), in.diagnoses, c,
                                                      o.refits, o.protocol.cv.seed));
    text += "probe -> " + o.save.string() + "\n";
  }
  std::cout << (as_json ? json_text(result) + "\n" : text);
  return 0;
}

}  // namespace wsp

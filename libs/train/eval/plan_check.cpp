#include "train/eval/plan_check.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/json_text.hpp"
#include "io/core/log.hpp"
#include "io/shard/dataset.hpp"
#include "train/eval/cell.hpp"
#include "train/eval/left_out.hpp"
#include "train/eval/network_check.hpp"
#include "train/eval/overlap.hpp"
#include "train/eval/roster.hpp"
#include "train/stats/folds.hpp"

namespace wsp::train {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kBy = "the probe's \"by\"";

[[noreturn]] void refuse(const std::string& text) { throw Error(ErrorCode::usage, text); }

void check_networks(const Plan& plan, const std::vector<Cell>& cells, const fs::path& root) {
  std::set<std::pair<std::string, std::int64_t>> sizes;
  std::set<std::string> weights;
  for (const Cell& cell : cells) {
    if (cell.backbone == kImported) continue;
    const TrainConfig config = training_of(cell);
    if (sizes.insert({cell.backbone, config.image_size}).second)
      check_image_size(cell.backbone, config.image_size);
    if (cell.method != "imagenet" || !weights.insert(cell.backbone).second) continue;
    const fs::path file = root / plan.weights.at(cell.backbone);
    if (!fs::is_regular_file(file))
      refuse("the plan's weights of " + cell.backbone + " are at " + file.string() +
             ", which is no file: put them there, or take "
             "them out of \"weights\"");
    check_weights(cell.backbone, file);
  }
}

// The inner folds in which C is chosen divide what an outer fold leaves.
void check_inner_folds(const std::vector<std::uint8_t>& positive, const std::vector<int>& fold,
                       const CrossValidationOptions& cv) {
  for (int f = 0; f < cv.folds; ++f) {
    std::vector<std::uint8_t> inside;
    for (std::size_t s = 0; s < positive.size(); ++s)
      if (fold[s] != f) inside.push_back(positive[s]);
    try {
      (void)stratified_folds(inside, cv.folds, cv.seed, 0);
    } catch (Error& e) {
      throw e.within("in the inner folds that \"nested_c\" asks for");
    }
  }
}

void check_evaluation(const Plan& plan, const Evaluation& e, const FeatureTable& table) {
  try {
    (void)label_index(table, e.diagnosis.label, "\"label\"");
    if (!e.diagnosis.reader.empty()) (void)label_index(table, e.diagnosis.reader, "\"reader\"");
    const Cohort cohort = make_cohort({&table}, {e.diagnosis});
    const CrossValidationOptions& cv = plan.protocol.cv;
    const std::vector<int> fold = stratified_folds(cohort.set.positive, cv.folds, cv.seed, 0);
    if (!cv.c_grid.empty()) check_inner_folds(cohort.set.positive, fold, cv);
    if (std::any_of(cohort.reader.begin(), cohort.reader.end(), [](int call) { return call >= 0; }))
      (void)reader_scores(cohort);
    else if (!e.diagnosis.reader.empty())
      log::warn("the evaluation " + e.name +
                " names a reader of whom no call is known: no row will show one");
    for (const std::string& remark : cohort.remarks)
      log::warn("the evaluation " + e.name + ": " + remark);
    (void)subgroups_by(cohort, {&table}, plan.by, kBy);
  } catch (Error& error) {
    throw error.within("in the plan's evaluation " + e.name);
  }
}

void check_aggregate(const Plan& plan, const std::vector<FeatureTable>& tables) {
  if (plan.aggregate.empty()) return;
  std::vector<const FeatureTable*> all;
  std::vector<Diagnosis> diagnoses;
  for (std::size_t i = 0; i < tables.size(); ++i) {
    all.push_back(&tables[i]);
    diagnoses.push_back(plan.evaluations[i].diagnosis);
  }
  try {
    (void)subgroups_by(make_cohort(all, diagnoses), all, plan.by, kBy);
  } catch (Error& error) {
    throw error.within("in the plan's aggregate " + plan.aggregate);
  }
}

// Given weights may be an encoder of ours.
void check_training_of_weights(const Plan& plan, const std::vector<Cell>& cells,
                               const std::vector<FeatureTable>& tables, const fs::path& root) {
  std::set<std::string> done;
  for (const Cell& cell : cells) {
    if (cell.method != "imagenet" || !done.insert(cell.backbone).second) continue;
    const Provenance provenance = weights_provenance(root / plan.weights.at(cell.backbone));
    for (FeatureTable table : tables) {
      set_provenance(table, provenance);
      if (const auto overlap = training_overlap(table, subjects_of(table)); !overlap.empty())
        refuse("the plan's weights of " + cell.backbone + ": " + overlap.front() +
               ": give others, or evaluate on others");
    }
  }
}

// Features that others made must be of the cohorts that all other rows are judged on.
void check_imported(const Plan& plan, const std::vector<FeatureTable>& tables,
                    const fs::path& root) {
  for (const auto& [encoder, files] : plan.imported) {
    std::vector<FeatureTable> features;
    std::vector<const FeatureTable*> all;
    std::vector<Diagnosis> diagnoses;
    for (std::size_t i = 0; i < tables.size(); ++i) {
      const Evaluation& e = plan.evaluations[i];
      try {
        features.push_back(imported_features(plan, encoder, e, root));
        const Cohort cohort = make_cohort({&features.back()}, {e.diagnosis}),
                     expected = make_cohort({&tables[i]}, {e.diagnosis});
        if (cohort.set.names != expected.set.names || cohort.set.positive != expected.set.positive)
          refuse(
              fmt::format("its {} subjects and their diagnoses are not the {} of {}: import them "
                          "with --dataset",
                          cohort.set.names.size(), expected.set.names.size(), e.dataset));
        (void)subgroups_by(cohort, {&features.back()}, plan.by, kBy);
        if (const auto overlap = training_overlap(features.back(), cohort.set.names);
            !overlap.empty())
          refuse(overlap.front());
      } catch (Error& error) {
        throw error.within(
            fmt::format("in the plan's imported features {} of {}", encoder, e.name));
      }
    }
    for (const FeatureTable& t : features) all.push_back(&t);
    for (const Evaluation& e : plan.evaluations) diagnoses.push_back(e.diagnosis);
    if (!plan.aggregate.empty()) (void)make_cohort(all, diagnoses);
  }
}

// What the methods that pretrain ask of their dataset.
void check_pretraining(const Plan& plan, const std::vector<Cell>& cells, const fs::path& root) {
  if (plan.pretraining.empty()) return;
  const DatasetReader reader(root / plan.pretraining);
  std::set<std::string> seen;
  for (const Cell& cell : cells) {
    if (cell.method == "supervised" || cell.method == "imagenet" || cell.backbone == kImported)
      continue;
    const TrainConfig config = pretraining_of(plan, cell, root);
    const json asked{config.label,       config.kernel_columns,  config.continuous,
                     config.depth_scale, config.include_flagged, config.include_unlabelled,
                     config.splits,      config.subjects,        config.exclude,
                     config.positive,    config.hold_back};
    if (!seen.insert(json_text(asked)).second) continue;
    try {
      check_training_data(config, reader);
    } catch (Error& error) {
      throw error.within("in the plan's pretraining, for the cell " + cell.name());
    }
  }
}

// Volumes of two datasets, compared once for each pair.
class Volumes {
 public:
  explicit Volumes(const ExperimentOptions& options)
      : root_(options.root), file_(options.out / "compared.json") {
    if (fs::is_regular_file(file_)) apart_ = json::parse(read_file(file_), nullptr, false);
    if (!apart_.is_array()) apart_ = json::array();  // it can be made again
  }

  void refuse_shared(const std::string& a, const std::string& b, const std::string& why) {
    const json pair{hash_of(a), hash_of(b)};
    if (std::find(apart_.begin(), apart_.end(), pair) != apart_.end()) return;
    if (const auto copies = near_duplicates(pixels_of(a), pixels_of(b)); !copies.empty())
      refuse(
          fmt::format("{} volumes stand in {} and in {} with the same pixels, e.g. {}: {}; take "
                      "them out of one of the two",
                      copies.size(), a, b, copies.front(), why));
    apart_.push_back(pair);
    fs::create_directories(file_.parent_path());
    write_file_atomic(file_, json_text(apart_, 1) + "\n");
  }

 private:
  std::string hash_of(const std::string& dataset) {
    auto& table = rows_[dataset];
    if (table.facts.empty()) table = roster(root_ / dataset, true);
    return table.facts.at("dataset_sha256");
  }
  const FeatureTable& pixels_of(const std::string& dataset) {
    auto& table = pixels_[dataset];
    if (table.facts.empty()) table = roster(root_ / dataset, true, RosterContent::pixels);
    return table;
  }

  fs::path root_, file_;
  json apart_ = json::array();
  std::map<std::string, FeatureTable> rows_, pixels_;
};

// The networks of a plan must not have seen whom they are evaluated on.
void refuse_shared_subjects(const Plan& plan, const fs::path& root) {
  std::vector<std::string> seen;
  const DatasetReader pretraining(root / plan.pretraining);
  for (const IndexCase& c : pretraining.cases()) seen.push_back(c.subject);
  for (const Evaluation& e : plan.evaluations)
    if (const auto shared = shared_subjects(roster(root / e.dataset, true), seen); !shared.empty())
      refuse(
          fmt::format("{} subjects stand in the pretraining dataset {} and in the evaluation "
                      "dataset {}, e.g. {}: take them "
                      "out of one of the two",
                      shared.size(), plan.pretraining, e.dataset, shared.front()));
}

void check_overlap(const Plan& plan, const ExperimentOptions& o) {
  if (!plan.pretraining.empty()) refuse_shared_subjects(plan, o.root);
  Volumes volumes(o);
  for (std::size_t i = 0; i < plan.evaluations.size(); ++i) {
    const std::string& dataset = plan.evaluations[i].dataset;
    if (!plan.pretraining.empty())
      volumes.refuse_shared(plan.pretraining, dataset,
                            "the networks would be evaluated on what they were trained on");
    for (std::size_t j = 0; j < i && !plan.aggregate.empty(); ++j)
      volumes.refuse_shared(plan.evaluations[j].dataset, dataset,
                            "the aggregated probe would see them in both parts of a fold");
  }
}

}  // namespace

void check_plan(const Plan& plan, const ExperimentOptions& o) {
  const std::vector<Cell> cells = plan.cells();
  for (const std::string& note : plan.left_out()) log::warn(note);
  if (cells.empty())
    refuse("the plan has no cell: give it a pretraining dataset, or methods that need none");
  std::set<bool> flagged;
  for (const Cell& cell : cells) flagged.insert(training_of(cell).include_flagged);
  check_networks(plan, cells, o.root);
  for (const bool include_flagged : flagged) {
    std::vector<FeatureTable> tables;
    for (const Evaluation& e : plan.evaluations) {
      tables.push_back(roster(o.root / e.dataset, include_flagged));
      if (!e.exclude.empty()) leave_out_rated(tables.back(), o.root / e.exclude, kExcludeOfPlan);
      check_evaluation(plan, e, tables.back());
    }
    check_aggregate(plan, tables);
    check_training_of_weights(plan, cells, tables, o.root);
    check_imported(plan, tables, o.root);
  }
  check_overlap(plan, o);
  check_pretraining(plan, cells, o.root);
}

}  // namespace wsp::train

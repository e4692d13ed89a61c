#include "train/eval/cell.hpp"

#include <map>
#include <optional>
#include <set>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/core/json_text.hpp"
#include "io/core/log.hpp"
#include "train/data/rated_cases.hpp"
#include "train/eval/embed.hpp"
#include "train/eval/finetune.hpp"
#include "train/eval/go_on.hpp"
#include "train/eval/left_out.hpp"
#include "train/eval/pca_figure.hpp"

namespace wsp::train {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

bool is_imported(const Cell& cell) { return cell.backbone == kImported; }

// What a cell depends on of its plan: its own training, the datasets, the probe.
json specification(const Plan& plan, const Cell& cell) {
  json all{{"train", cell.train},
           {"method", cell.method},
           {"pretraining", plan.pretraining},
           {"evaluations", plan.text.at("evaluations")},
           {"aggregate", plan.aggregate},
           {"probe", plan.text.value("probe", json::object())},
           {"weights", cell.method == "imagenet" ? plan.weights.at(cell.backbone) : ""}};
  if (!plan.pretraining_exclude.empty()) all["pretraining_exclude"] = plan.pretraining_exclude;
  if (is_imported(cell)) all["imported"] = plan.imported.at(cell.method);
  return all;
}

// The dataset that the networks are trained on, or (random ones) made for.
const std::string& training_dataset(const Plan& plan) {
  return plan.pretraining.empty() ? plan.evaluations.front().dataset : plan.pretraining;
}

fs::path file_of(const Cell& cell, const fs::path& out) {
  return out / "cells" / cell.name() / "cell.json";
}

class CellRun {
 public:
  CellRun(const Plan& plan, const Cell& cell, const ExperimentOptions& options)
      : plan_(plan),
        cell_(cell),
        options_(options),
        config_(training_of(cell)),
        out_(file_of(cell, options.out).parent_path()) {}

  void run() {
    std::error_code ec;
    fs::create_directories(out_, ec);
    if (ec) throw Error(ErrorCode::output, "cannot make " + out_.string() + ": " + ec.message());
    json result{{"cell", cell_.name()},
                {"method", cell_.method},
                {"backbone", cell_.backbone},
                {"seed", cell_.seed},
                {"variant", cell_.variant},
                {"specification", specification(plan_, cell_)},
                {"inputs", inputs_of(plan_, cell_, options_.root)},
                {"results", json::object()},
                {"pca", json::object()}};
    if (cell_.method == "supervised")
      supervised(result);
    else
      frozen(result);
    result["sha256"] = hex(sha256(json_text(result)));
    write_file_atomic(out_ / "cell.json", json_text(result, 1) + "\n");
  }

 private:
  [[nodiscard]] fs::path place(const std::string& path) const { return options_.root / path; }

  void supervised(json& result) {
    for (const Evaluation& e : plan_.evaluations) {
      FinetuneOptions o;
      o.dataset = place(e.dataset);
      if (!e.exclude.empty()) o.exclude = place(e.exclude);
      o.out = out_ / ("supervised-" + e.name);
      o.diagnosis = e.diagnosis;
      o.config = config_;
      o.protocol = plan_.protocol;
      o.by = plan_.by;
      o.name = cell_.name() + " on " + e.name;
      o.device = options_.device;
      o.threads = options_.threads;
      o.force = options_.force;
      result["results"][e.name] = to_json(finetune(o));
    }
  }

  fs::path encoder(json& result) {
    if (cell_.method == "imagenet") return place(plan_.weights.at(cell_.backbone));
    RunOptions run;
    run.dataset = place(training_dataset(plan_));
    run.out = out_ / "run";
    run.device = options_.device;
    run.threads = options_.threads;
    run.command = "wsp-eval table";
    const TrainSummary summary =
        train_or_go_on(pretraining_of(plan_, cell_, options_.root), run, options_.force);
    result["train"] = {{"steps", summary.steps},
                       {"first_loss", summary.first_loss},
                       {"last_loss", summary.last_loss}};
    return summary.weights;
  }

  void frozen(json& result) {
    std::vector<FeatureTable> tables;
    if (is_imported(cell_))
      for (const Evaluation& e : plan_.evaluations)
        tables.push_back(imported_features(plan_, cell_.method, e, options_.root));
    else
      for (const fs::path weights = encoder(result); const Evaluation& e : plan_.evaluations)
        tables.push_back(features(weights, e));
    std::vector<const FeatureTable*> all;
    std::vector<Diagnosis> diagnoses;
    for (std::size_t i = 0; i < tables.size(); ++i) {
      const Evaluation& e = plan_.evaluations[i];
      const Cohort cohort = make_cohort({&tables[i]}, {e.diagnosis});
      ProtocolOptions options = plan_.protocol;
      options.subgroups = subgroups_by(cohort, {&tables[i]}, plan_.by);
      result["results"][e.name] = to_json(run_protocol(cohort, e.name, options));
      const PcaSummary pca =
          summarise_pca(cohort, 10, plan_.protocol.cv.seed, cell_.name() + " on " + e.name);
      result["pca"][e.name] = to_json(pca);
      write_file_atomic(out_ / ("pca-" + e.name + ".svg"), scatter_svg(pca.figure));
      all.push_back(&tables[i]);
      diagnoses.push_back(e.diagnosis);
    }
    if (plan_.aggregate.empty()) return;
    ProtocolOptions options = plan_.protocol;
    options.permutations = 0;
    const Cohort cohort = make_cohort(all, diagnoses);
    options.subgroups = subgroups_by(cohort, all, plan_.by);
    result["results"][plan_.aggregate] = to_json(run_protocol(cohort, plan_.aggregate, options));
  }

  // Those of an earlier call that ended before cell.json, where they are what would be embedded
  // now.
  [[nodiscard]] std::optional<FeatureTable> kept_features(const fs::path& file,
                                                          const EmbedOptions& o) const {
    if (!fs::exists(file)) return std::nullopt;
    try {
      FeatureTable table = read_features(file);
      if (is_embedded_as(table, o)) return table;
    } catch (const Error& e) {
      if (e.code() != ErrorCode::corrupt) throw;
      log::warn("features are embedded anew: " + std::string(e.what()));
    }
    return std::nullopt;
  }

  FeatureTable features(const fs::path& weights, const Evaluation& e) {
    EmbedOptions o;
    o.dataset = place(e.dataset);
    if (!e.exclude.empty()) o.exclude = place(e.exclude);
    o.encoder = weights;
    o.labelled = e.diagnosis.label;
    o.include_flagged = config_.include_flagged;
    if (cell_.method == "imagenet") {
      o.encoder_name = cell_.backbone;
      o.image_size = config_.image_size;
    }
    o.device = options_.device;
    o.threads = options_.threads;
    const fs::path file = out_ / ("features-" + e.name + ".h5");
    if (auto kept = kept_features(file, o)) return std::move(*kept);
    FeatureTable table = embed_dataset(o);
    write_features(file, table);
    return table;
  }

  const Plan& plan_;
  const Cell& cell_;
  const ExperimentOptions& options_;
  TrainConfig config_;
  fs::path out_;
};

}  // namespace

TrainConfig training_of(const Cell& cell) {
  json all = to_json(preset("paper", cell.train.value("method", "wsp")));
  for (const auto& [key, value] : cell.train.items()) {
    if (!all.contains(key)) {
      std::string known;
      for (const auto& item : all.items()) known += " " + item.key();
      throw Error(ErrorCode::usage,
                  "the plan's training option '" + key + "' is unknown; expected one of" + known);
    }
    if (std::string(all[key].type_name()) != value.type_name())
      throw Error(ErrorCode::usage, "the plan's training option '" + key + "' is a " +
                                        value.type_name() + "; expected a " + all[key].type_name());
    all[key] = value;
  }
  try {
    const TrainConfig config = config_from_json(all);
    check_config(config);
    return config;
  } catch (const Error& e) {
    throw Error(ErrorCode::usage,
                "the plan's training options of the cell " + cell.name() + ": " + e.what());
  }
}

TrainConfig pretraining_of(const Plan& plan, const Cell& cell, const fs::path& root) {
  TrainConfig config = training_of(cell);
  if (plan.pretraining_exclude.empty()) return config;
  const fs::path dataset = root / plan.pretraining;
  auto rated = cases_rated_exclude(root / plan.pretraining_exclude, dataset, DatasetReader(dataset),
                                   kExcludeOfPlan);
  rated.insert(rated.end(), config.exclude.begin(), config.exclude.end());
  const std::set<std::string> names(rated.begin(), rated.end());
  config.exclude.assign(names.begin(), names.end());
  return config;
}

FeatureTable imported_features(const Plan& plan, const std::string& encoder, const Evaluation& e,
                               const fs::path& root) {
  FeatureTable table = read_features(root / plan.imported.at(encoder).at(e.name));
  if (!e.exclude.empty()) leave_out_rated(table, root / e.exclude, kExcludeOfPlan);
  return table;
}

std::vector<std::size_t> first_alike(const std::vector<Cell>& cells) {
  std::map<std::string, std::size_t> first;
  std::vector<std::size_t> indices;
  for (std::size_t k = 0; k < cells.size(); ++k)
    indices.push_back(
        first.emplace(cells[k].method + " " + json_text(to_json(training_of(cells[k]))), k)
            .first->second);
  return indices;
}

json inputs_of(const Plan& plan, const Cell& cell, const fs::path& root) {
  const auto dataset = [&](const std::string& path) {
    return hex(sha256_file(root / path / "dataset.json"));
  };
  json inputs = json::object();
  if (is_imported(cell))
    for (const auto& [evaluation, file] : plan.imported.at(cell.method))
      inputs["features of " + evaluation] = hex(sha256_file(root / file));
  else if (cell.method == "imagenet")
    inputs["weights"] = hex(sha256_file(root / plan.weights.at(cell.backbone)));
  else if (cell.method != "supervised")
    inputs["pretraining"] = dataset(training_dataset(plan));
  if (inputs.contains("pretraining") && !plan.pretraining_exclude.empty())
    inputs["ratings of the pretraining"] = hex(sha256_file(root / plan.pretraining_exclude));
  for (const Evaluation& e : plan.evaluations) {
    inputs["evaluation " + e.name] = dataset(e.dataset);
    if (!e.exclude.empty()) inputs["ratings of " + e.name] = hex(sha256_file(root / e.exclude));
  }
  return inputs;
}

StoredCell stored_cell(const Plan& plan, const Cell& cell, const fs::path& out) {
  const fs::path file = file_of(cell, out);
  if (!fs::exists(file)) return {};
  json result = json::parse(read_file(file), nullptr, false);
  if (!result.is_object() || !result.contains("sha256")) return {CellState::damaged, {}};
  const json sha256_stored = result["sha256"];
  result.erase("sha256");
  if (sha256_stored != hex(sha256(json_text(result)))) return {CellState::damaged, {}};
  if (result.value("specification", json()) != specification(plan, cell))
    return {CellState::of_another_plan, {}};
  return {CellState::complete, std::move(result)};
}

void run_cell(const Plan& plan, const Cell& cell, const ExperimentOptions& options) {
  CellRun(plan, cell, options).run();
}

}  // namespace wsp::train

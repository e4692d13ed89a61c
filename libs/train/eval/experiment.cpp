#include "train/eval/experiment.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/core/interrupt.hpp"
#include "io/core/log.hpp"
#include "io/core/png.hpp"
#include "io/manifest/manifest.hpp"
#include "io/shard/dataset.hpp"
#include "train/engine/train.hpp"
#include "train/eval/embed.hpp"
#include "train/eval/finetune.hpp"
#include "train/eval/pca_figure.hpp"

namespace wsp::train {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// What a cell depends on: its own training, the datasets, the probe.
json specification(const Plan& plan, const Cell& cell) {
  return {{"train", cell.train},
          {"method", cell.method},
          {"pretraining", plan.pretraining},
          {"evaluations", plan.text.at("evaluations")},
          {"aggregate", plan.aggregate},
          {"probe", plan.text.value("probe", json::object())},
          {"weights", cell.method == "imagenet" ? plan.weights.at(cell.backbone) : ""}};
}

TrainConfig config_of(const json& overrides) {
  json all = to_json(TrainConfig());
  for (const auto& [key, value] : overrides.items()) {
    if (!all.contains(key)) {
      std::string known;
      for (const auto& item : all.items()) known += " " + item.key();
      throw Error(ErrorCode::usage, "the plan's training option '" + key + "' is unknown; expected one of" + known);
    }
    all[key] = value;
  }
  const TrainConfig config = config_from_json(all);
  check_config(config);
  return config;
}

// The networks of a plan must not have seen whom they are evaluated on.
void refuse_shared_subjects(const fs::path& pretraining, const fs::path& evaluation) {
  const DatasetReader a(pretraining), b(evaluation);
  std::set<std::string> seen, shared;
  for (const IndexCase& c : a.cases()) seen.insert(c.subject);
  for (const IndexCase& c : b.cases())
    if (seen.contains(c.subject)) shared.insert(c.subject);
  if (!shared.empty())
    throw Error(ErrorCode::usage,
                fmt::format("{} subjects stand in the pretraining dataset {} and in the evaluation dataset {}, e.g. {}: take them "
                            "out of one of the two",
                            shared.size(), pretraining.string(), evaluation.string(), *shared.begin()));
}

class CellRun {
 public:
  CellRun(const Plan& plan, const Cell& cell, const ExperimentOptions& options)
      : plan_(plan), cell_(cell), options_(options), out_(options.out / "cells" / cell.name()) {}

  json run() {
    std::error_code ec;
    fs::create_directories(out_, ec);
    if (ec) throw Error(ErrorCode::output, "cannot make " + out_.string() + ": " + ec.message());
    json result{{"cell", cell_.name()}, {"method", cell_.method},   {"backbone", cell_.backbone},
                {"seed", cell_.seed},   {"variant", cell_.variant}, {"specification", specification(plan_, cell_)},
                {"results", json::object()}, {"pca", json::object()}};
    if (cell_.method == "supervised")
      supervised(result);
    else
      frozen(result);
    write_file_atomic(out_ / "cell.json", result.dump(1) + "\n");
    return result;
  }

 private:
  [[nodiscard]] fs::path place(const std::string& path) const { return options_.root / path; }

  void supervised(json& result) {
    for (const Evaluation& e : plan_.evaluations) {
      FinetuneOptions o;
      o.dataset = place(e.dataset);
      o.out = out_ / ("supervised-" + e.name);
      o.diagnosis = e.diagnosis;
      o.config = config_of(cell_.train);
      o.protocol = plan_.protocol;
      o.name = cell_.name() + " on " + e.name;
      o.device = options_.device;
      o.threads = options_.threads;
      result["results"][e.name] = to_json(finetune(o));
    }
  }

  fs::path encoder(json& result) {
    if (cell_.method == "imagenet") return place(plan_.weights.at(cell_.backbone));
    RunOptions run;
    run.dataset = place(plan_.pretraining.empty() ? plan_.evaluations.front().dataset : plan_.pretraining);
    run.out = out_ / "run";
    run.resume = fs::exists(run.out);
    run.device = options_.device;
    run.threads = options_.threads;
    run.verify = false;
    run.probe_every = 0;
    run.tensorboard = false;
    run.command = "wsp-eval table";
    const TrainSummary summary = train(config_of(cell_.train), run);
    result["train"] = {{"steps", summary.steps}, {"first_loss", summary.first_loss}, {"last_loss", summary.last_loss}};
    return summary.weights;
  }

  void frozen(json& result) {
    const fs::path weights = encoder(result);
    std::vector<FeatureTable> tables;
    for (const Evaluation& e : plan_.evaluations) tables.push_back(features(weights, e));
    std::vector<const FeatureTable*> all;
    std::vector<Diagnosis> diagnoses;
    for (std::size_t i = 0; i < tables.size(); ++i) {
      const Evaluation& e = plan_.evaluations[i];
      const Cohort cohort = make_cohort({&tables[i]}, {e.diagnosis});
      result["results"][e.name] = to_json(run_protocol(cohort, e.name, plan_.protocol));
      const PcaSummary pca = summarise_pca(cohort, 10, plan_.protocol.cv.seed, cell_.name() + " on " + e.name);
      result["pca"][e.name] = to_json(pca);
      write_file_atomic(out_ / ("pca-" + e.name + ".svg"), scatter_svg(pca.figure));
      if (png_available()) write_file_atomic(out_ / ("pca-" + e.name + ".png"), scatter_png(pca.figure));
      all.push_back(&tables[i]);
      diagnoses.push_back(e.diagnosis);
    }
    if (plan_.aggregate.empty()) return;
    ProtocolOptions options = plan_.protocol;
    options.permutations = 0;
    result["results"][plan_.aggregate] = to_json(run_protocol(make_cohort(all, diagnoses), plan_.aggregate, options));
  }

  FeatureTable features(const fs::path& weights, const Evaluation& e) {
    const fs::path file = out_ / ("features-" + e.name + ".h5");
    if (fs::exists(file)) {
      FeatureTable table = read_features(file);
      if (table.facts["encoder_sha256"] == hex(sha256_file(weights)) &&
          table.facts["dataset_sha256"] == hex(sha256_file(place(e.dataset) / "dataset.json")))
        return table;
    }
    EmbedOptions o;
    o.dataset = place(e.dataset);
    o.encoder = weights;
    o.labelled = e.diagnosis.label;
    if (cell_.method == "imagenet") {
      o.encoder_name = cell_.backbone;
      o.image_size = config_of(cell_.train).image_size;
    }
    o.device = options_.device;
    o.threads = options_.threads;
    FeatureTable table = embed_dataset(o);
    write_features(file, table);
    return table;
  }

  const Plan& plan_;
  const Cell& cell_;
  const ExperimentOptions& options_;
  fs::path out_;
};

}  // namespace

std::vector<json> complete_cells(const Plan& plan, const fs::path& out) {
  std::vector<json> done;
  for (const Cell& cell : plan.cells()) {
    const fs::path file = out / "cells" / cell.name() / "cell.json";
    if (!fs::exists(file)) continue;
    json result = load_json(file);
    if (result.at("specification") != specification(plan, cell))
      throw Error(ErrorCode::usage, "the cell " + cell.name() + " in " + out.string() + " was computed under another plan: give "
                                    "another --out, or remove " + file.parent_path().string());
    done.push_back(std::move(result));
  }
  return done;
}

std::vector<json> run_experiment(const Plan& plan, const ExperimentOptions& o) {
  const std::vector<Cell> cells = plan.cells();
  if (o.job >= static_cast<int>(cells.size()))
    throw Error(ErrorCode::usage, fmt::format("--job is {}: the plan has cells 0 to {}", o.job, cells.size() - 1));
  std::set<std::string> done;
  for (const json& cell : complete_cells(plan, o.out)) done.insert(cell.at("cell"));
  for (const Cell& cell : cells) (void)config_of(cell.train);  // before hours of work
  if (!plan.pretraining.empty())
    for (const Evaluation& e : plan.evaluations) refuse_shared_subjects(o.root / plan.pretraining, o.root / e.dataset);
  for (std::size_t k = 0; k < cells.size(); ++k) {
    if ((o.job >= 0 && static_cast<int>(k) != o.job) || done.contains(cells[k].name())) continue;
    stop_if_interrupted("run the same command again to go on");
    log::info(fmt::format("cell {} of {}: {}", k + 1, cells.size(), cells[k].name()));
    try {
      (void)CellRun(plan, cells[k], o).run();
    } catch (Error& e) {
      throw e.within("in the cell " + cells[k].name());
    }
  }
  return complete_cells(plan, o.out);
}

}  // namespace wsp::train

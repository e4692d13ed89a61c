// wsp-eval: does this pretraining help to diagnose? From weights to features, probes, figures and
// tables.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <iostream>
#include <nlohmann/json.hpp>
#include <utility>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/core/json_text.hpp"
#include "io/core/log.hpp"
#include "tool_main.hpp"
#include "train/eval/cell.hpp"
#include "train/eval/left_out.hpp"
#include "train/eval/overlap.hpp"
#include "train/eval/pca_figure.hpp"
#include "train/eval/plots.hpp"
#include "train/eval/roster.hpp"
#include "train/eval/saved_probe.hpp"
#include "train/eval/table.hpp"
#include "train/eval/tripod.hpp"
#include "train/run/tensorboard.hpp"
#include "wsp-eval-options.hpp"
#include "wsp-eval-probe.hpp"

namespace {

namespace fs = std::filesystem;
namespace wt = wsp::train;
using nlohmann::json;
using Options = wsp::EvalOptions;
using wsp::make_directory;
using wsp::need_directory_of;
using wsp::refuse_existing;

// In the version before, `--encoder FILE` named the weights.
void resolve_weights(wt::EmbedOptions& e) {
  if (e.encoder.empty() && fs::is_regular_file(e.encoder_name)) {
    wsp::warn_of_earlier("--encoder FILE", "--weights FILE");
    e.encoder = std::exchange(e.encoder_name, {});
  }
  if (e.encoder.empty())
    throw wsp::Error(wsp::ErrorCode::usage,
                     "--weights is required: an encoder's, such as encoder.safetensors of a run");
}

int run_embed(Options& o, bool as_json) {
  resolve_weights(o.embed);
  refuse_existing(o.out, o.force);
  need_directory_of(o.out);
  if (o.projector && !wt::tensorboard_available())
    throw wsp::Error(wsp::ErrorCode::usage,
                     "--projector writes for TensorBoard, which this build cannot (it has no "
                     "protobuf): leave it out, e.g. for --npy");
  const wt::FeatureTable table = wt::embed_dataset(o.embed);
  wt::write_features(o.out, table);
  if (const auto copies = wt::near_duplicates(table, table); !copies.empty())
    wsp::log::warn(fmt::format("{} pairs of volumes have the same slices, e.g. {}", copies.size(),
                               copies.front()));
  if (o.npy) wt::export_features(table, o.out.string() + ".npy");
  if (o.projector) {
    wt::Projection p;
    p.name = "slices";
    p.dim = table.dimensions;
    p.points = table.values;
    p.columns = {"subject", "case", "depth"};
    p.columns.insert(p.columns.end(), table.label_names.begin(), table.label_names.end());
    for (std::size_t i = 0; i < table.case_id.size(); ++i) {
      const auto c = static_cast<std::size_t>(table.case_id[i]);
      p.rows.push_back(
          {table.cases[c].subject, table.cases[c].name, fmt::format("{:.3f}", table.depth[i])});
      for (const auto& of_label : table.labels)
        p.rows.back().push_back(std::to_string(of_label[c]));
    }
    wt::EventWriter writer(o.out.string() + ".tensorboard");
    writer.set_projection(p);
    writer.close();
  }
  if (as_json)
    std::cout << wsp::json_text(json{{"features", o.out.string()},
                                     {"slices", table.rows()},
                                     {"cases", table.cases.size()},
                                     {"dimensions", table.dimensions},
                                     {"facts", table.facts}})
              << "\n";
  else
    fmt::print("{} slices of {} cases, {} features each -> {}\n", table.rows(), table.cases.size(),
               table.dimensions, o.out.string());
  return 0;
}

int run_import(Options& o, bool as_json) {
  refuse_existing(o.out, o.force);
  need_directory_of(o.out);
  if (o.import.encoder.empty() && o.import.facts.empty())
    throw wsp::Error(wsp::ErrorCode::usage,
                     "--name is required: what the encoder is called, so that its features are "
                     "told from another's");
  o.import.dataset = o.out.stem().string();
  const wt::FeatureTable table =
      o.embed.dataset.empty() ? wt::import_features(o.npy_file, o.slices, o.import)
                              : wt::import_on_dataset(o.npy_file, o.slices, o.import,
                                                      o.embed.dataset, o.embed.include_flagged);
  wt::write_features(o.out, table);
  if (as_json)
    std::cout << wsp::json_text(json{{"features", o.out.string()},
                                     {"slices", table.rows()},
                                     {"cases", table.cases.size()},
                                     {"dimensions", table.dimensions},
                                     {"labels", table.label_names},
                                     {"facts", table.facts}})
              << "\n";
  else
    fmt::print("{} slices of {} cases, {} features each; labels {} -> {}\n", table.rows(),
               table.cases.size(), table.dimensions, fmt::join(table.label_names, ", "),
               o.out.string());
  return 0;
}

int run_pca(const Options& o, bool as_json, std::uint64_t seed) {
  const wt::Diagnosis diagnosis = one_diagnosis(o);
  for (const char* name : {"pca.svg", "pca.json"}) refuse_existing(o.out / name, o.force);
  make_directory(o.out);
  const wt::FeatureTable table = wt::read_features(o.features.at(0));
  const wt::Cohort cohort = wt::make_cohort({&table}, {diagnosis});
  const auto overlap = wt::training_overlap(table, cohort.set.names);
  for (const std::string& sentence : overlap)
    wsp::log::warn(sentence + ": such a figure flatters it");
  const wt::PcaSummary s =
      wt::summarise_pca(cohort, o.shown, seed,
                        table.facts.at("method") + ", " + table.facts.at("encoder") + ", on " +
                            table.facts.at("dataset"));
  wsp::write_file_atomic(o.out / "pca.svg", wt::scatter_svg(s.figure));
  json numbers = wt::to_json(s);
  if (!overlap.empty()) numbers["overlap"] = overlap;
  wsp::write_file_atomic(o.out / "pca.json", wsp::json_text(numbers, 1) + "\n");
  if (as_json)
    std::cout << wsp::json_text(numbers) << "\n";
  else
    fmt::print("{}\nsilhouette of the diagnoses {:.2f}\n{}\n", s.figure.subtitle,
               s.class_silhouette, (o.out / "pca.svg").string());
  return 0;
}

int run_finetune(Options& o, const wsp::CommonOptions& common) {
  set_c(o);
  o.finetune.diagnosis = one_diagnosis(o);
  refuse_existing(o.finetune.out / "finetune.json", o.finetune.force);
  o.finetune.protocol = o.protocol;
  o.finetune.by = o.by;
  o.finetune.threads = common.threads;
  o.finetune.precision = o.finetune.config.precision;
  o.finetune.config.seed = common.seed;
  o.finetune.name = o.finetune.init.empty() ? "from scratch" : "fine-tuned";
  wt::check_config(o.finetune.config);
  const wt::ProtocolResult r = wt::finetune(o.finetune);
  wsp::write_file_atomic(
      o.finetune.out / "diagnostics.svg",
      wt::diagnostics_svg(wt::to_json(r),
                          o.finetune.name + " on " + o.finetune.dataset.filename().string()));
  wsp::write_file_atomic(o.finetune.out / "finetune.json",
                         wsp::json_text(wt::to_json(r), 1) + "\n");
  std::cout << (common.json ? wsp::json_text(wt::to_json(r)) + "\n" : wt::to_text(r));
  return 0;
}

int run_table(Options& o, const wsp::CommonOptions& common) {
  const wt::Plan plan = wt::load_plan(o.plan);
  const auto cells = plan.cells();
  const auto source = wt::first_alike(cells);
  if (o.list) {
    json all = json::array();
    std::string text;
    for (std::size_t k = 0; k < cells.size(); ++k) {
      const bool own = source[k] == k;
      all.push_back({{"job", k}, {"cell", cells[k].name()}});
      if (!own) all.back()["same_as"] = cells[source[k]].name();
      text +=
          fmt::format("{}\t{}{}\n", k, cells[k].name(), own ? "" : "\t" + cells[source[k]].name());
    }
    std::cout << (common.json ? wsp::json_text(all) + "\n" : text);
    return 0;
  }
  if (o.experiment.out.empty())
    throw wsp::Error(wsp::ErrorCode::usage, "--out is required: the directory of cells and tables");
  o.experiment.threads = common.threads;
  const auto [results, failed] =
      o.tables_only ? wt::ExperimentResults{wt::complete_cells(plan, o.experiment.out), {}}
                    : wt::run_experiment(plan, o.experiment);
  if (o.experiment.job >= 0) {
    const auto k = static_cast<std::size_t>(o.experiment.job);
    json done{{"job", k},
              {"cell", cells[k].name()},
              {"complete", results.size()},
              {"cells", cells.size()}};
    std::string text =
        fmt::format("cell {} is done; {} of {} are\n", k, results.size(), cells.size());
    if (const std::size_t first = source[k]; first != k) {
      done["same_as"] = cells[first].name();
      text = fmt::format("cell {} has nothing to compute: its training is that of cell {}, {}\n", k,
                         first, cells[first].name());
    }
    std::cout << (common.json ? wsp::json_text(done) + "\n" : text);
    return 0;
  }
  const auto tables = wt::make_tables(plan, results);
  wt::write_tables(o.experiment.out, plan, tables);
  wsp::write_file_atomic(o.experiment.out / "tripod-ai.md",
                         wt::tripod_report(plan, results, tables, o.experiment.root));
  if (common.json)
    std::cout << wsp::json_text(wt::to_json(tables)) << "\n";
  else
    std::cout << wt::to_markdown(tables, plan.name) << "\n"
              << (o.experiment.out / "results.html").string() << "\n";
  if (!failed.empty())
    throw wsp::Error(wsp::ErrorCode::failure,
                     fmt::format("{} of {} cells failed and are missing in the tables: {}; the log "
                                 "says why, and the same command tries them again",
                                 failed.size(), cells.size(), fmt::join(failed, ", ")));
  return 0;
}

int run_predict(Options& o, bool as_json) {
  resolve_weights(o.embed);
  const wt::SavedProbe probe = wt::read_probe(o.probe);
  for (const char* name : {"predictions.tsv", "predictions.json"})
    refuse_existing(o.out / name, o.force);
  wt::check_encoder(probe, wsp::hex(wsp::sha256_file(o.embed.encoder)));
  make_directory(o.out);
  const wt::FeatureTable features = wt::embed_dataset(o.embed);
  const auto predictions = wt::predict(probe, features);
  const std::int64_t known = wt::subjects_fitted_on(probe, features);
  const auto overlap = wt::training_overlap(features, wt::subjects_of(features));
  for (const std::string& sentence : overlap)
    wsp::log::warn(sentence + ": what it says of them is no prediction");
  if (known > 0)
    wsp::log::warn(
        fmt::format("{} of {} patients are of the cohort that the probe was fitted on: what it "
                    "says of them is no prediction",
                    known, predictions.size()));
  json all{{"label", probe.label},
           {"positive", probe.positive},
           {"intended_use", "research only; not a medical device"},
           {"trained_on_subjects", probe.subjects},
           {"of_the_training_cohort", known},
           {"subjects", json::array()}};
  if (!overlap.empty()) all["overlap"] = overlap;
  std::string tsv = "subject\tprobability\tlow\thigh\tslices\tdriving_slices\n";
  for (const wt::SubjectPrediction& s : predictions) {
    json driving = json::array();
    std::string words;
    for (const auto& slice : s.driving) {
      driving.push_back(
          {{"case", slice.case_name}, {"depth", slice.depth}, {"probability", slice.probability}});
      words += (words.empty() ? "" : " ") + fmt::format("{}@{:.2f}", slice.case_name, slice.depth);
    }
    all["subjects"].push_back({{"subject", s.subject},
                               {"probability", s.probability},
                               {"interval", {s.low, s.high}},
                               {"slices", s.slices},
                               {"driving", driving}});
    tsv += fmt::format("{}\t{:.4f}\t{:.4f}\t{:.4f}\t{}\t{}\n", s.subject, s.probability, s.low,
                       s.high, s.slices, words);
  }
  wsp::write_file_atomic(o.out / "predictions.tsv", tsv);
  wsp::write_file_atomic(o.out / "predictions.json", wsp::json_text(all, 1) + "\n");
  std::cout << (as_json ? wsp::json_text(all) + "\n" : tsv);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  wsp::Tool tool;
  tool.name = "wsp-eval";
  tool.description =
      "Evaluate encoders by the paper's protocol: frozen features, logistic regression, folds by "
      "subject";
  tool.footer =
      "Examples:\n"
      "  wsp-eval embed dataset --weights run/encoder.safetensors --out features.h5\n"
      "  wsp-eval probe features.h5 --label metavir --positive F3,F4 --reader reader\n"
      "  wsp-eval pca features.h5 --label metavir --positive F3,F4 --out figure\n"
      "  wsp-eval table plans/phantom-small.json --root data --out results";
  tool.declare = [&](CLI::App& app) { wsp::declare_eval(app, o); };
  tool.run = [&](const wsp::CommonOptions& common) {
    o.embed.threads = common.threads;
    o.protocol.cv.seed = common.seed;
    if (o.embed_command->parsed()) return run_embed(o, common.json);
    if (o.import_command->parsed()) return run_import(o, common.json);
    if (o.probe_command->parsed()) return wsp::run_probe(o, common.json);
    if (o.pca_command->parsed()) return run_pca(o, common.json, common.seed);
    if (o.finetune_command->parsed()) return run_finetune(o, common);
    if (o.table_command->parsed()) return run_table(o, common);
    return run_predict(o, common.json);
  };
  return wsp::tool_main(argc, argv, tool);
}

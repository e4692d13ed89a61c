#include "train/eval/table.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include "io/core/atomic_file.hpp"
#include "io/core/json_text.hpp"
#include "train/eval/conclusions.hpp"
#include "train/eval/published.hpp"
#include "train/eval/results.hpp"

namespace wsp::train {
namespace {

using nlohmann::json;
constexpr const char* kAbsent = "-";

// "[0.71, 0.93]", with a star where the scores were taken as fixed; nothing where there is no
// interval.
std::string interval_text(const Interval& i, const HalfSamples& h, const char* format) {
  if (h.auc.empty()) return "";
  return fmt::format(" [{}, {}]{}", fmt::format(fmt::runtime(format), i.low),
                     fmt::format(fmt::runtime(format), i.high), h.refitted ? "" : "*");
}

std::string value_text(const Group& g) {
  return g.empty() ? kAbsent
                   : mean_sd(g.auc) +
                         interval_text(auc_interval(mean(g.seed_auc), g.halves, g.halves.auc),
                                       g.halves, "{:.2f}");
}

std::string within_text(const Group& g) {
  if (g.within.empty()) return kAbsent;
  return fmt::format("{:.2f}", mean(g.within)) +
         interval_text(auc_interval(mean(g.within), g.halves, g.halves.within), g.halves, "{:.2f}");
}

// Difference to a reference, over the same subjects.
std::string difference_text(const Group& g, const Group& reference) {
  if (g.empty() || reference.empty()) return kAbsent;
  const PairedDifference d = difference_of(g, reference);
  return fmt::format("{:+.2f}", d.difference) + interval_text(d.interval, g.halves, "{:+.2f}");
}

// Whether a dataset of the plan is one of the paper's. The paper's D1+2 is both together.
bool in_paper(const Plan& plan, const std::string& evaluation) {
  if (!plan.published) return false;
  if (evaluation != plan.aggregate) return evaluation == "D1" || evaluation == "D2";
  return evaluation == "D1+2" && plan.evaluations.size() == 2 &&
         std::all_of(plan.evaluations.begin(), plan.evaluations.end(),
                     [&](const Evaluation& e) { return in_paper(plan, e.name); });
}

std::string or_absent(const std::optional<PublishedValue>& v) { return v ? v->text() : kAbsent; }

// "48 subjects, 23 positive", of the first row that says so.
std::string subjects_text(const Plan& plan, const Results& results, const std::string& evaluation) {
  for (const auto& [method, backbone] : plan.rows())
    if (const Group g = results.group(method, backbone, "", evaluation); g.subjects > 0)
      return fmt::format("{} subjects, {} positive", g.subjects, g.positives);
  return "";
}

ResultTable auc_table(const Plan& plan, const Results& results, const std::vector<json>& cells) {
  ResultTable t{"auc",
                "Table 1: AUC by subject, mean (sd) over the folds of all seeds [95 % interval]",
                {"method", "backbone"},
                {},
                {}};
  for (const std::string& e : evaluations_of(plan)) {
    t.under_header[t.header.size()] = subjects_text(plan, results, e);
    t.header.push_back(e);
    if (e == plan.aggregate) t.header.push_back(e + " within datasets");
    if (in_paper(plan, e)) t.header.push_back(e + " in the paper");
    t.header.push_back(e + " minus WSP");
  }
  t.header.insert(t.header.end(),
                  {"seeds", "permutation p on " + plan.evaluations.front().name + " (median)"});
  for (const auto& [method, backbone] : plan.rows()) {
    std::vector<std::string> row{method, backbone};
    std::size_t seeds = 0;
    double p = std::nan("");
    for (const std::string& e : evaluations_of(plan)) {
      const Group g = results.group(method, backbone, "", e);
      row.push_back(value_text(g));
      if (e == plan.aggregate) row.push_back(within_text(g));
      if (in_paper(plan, e)) row.push_back(or_absent(published_auc(backbone, method, e)));
      row.push_back(
          method == "wsp"
              ? ""
              : difference_text(g, results.group("wsp", plan.reference_backbone(backbone), "", e)));
      seeds = std::max(seeds, g.seed_auc.size());
      if (e == plan.evaluations.front().name && !g.p.empty()) p = quantile(g.p, 0.5);
    }
    row.push_back(std::to_string(seeds));
    row.push_back(std::isnan(p) ? kAbsent : fmt::format("{:.3f}", p));
    t.rows.push_back(row);
  }
  t.notes.emplace_back(
      "Intervals say what other subjects would change, given the pretrained networks: the probes "
      "are fitted anew in random halves "
      "of the cohort (docs/EVALUATION.md). Differences are paired: every method saw the same "
      "subjects in the same folds and halves; "
      "seeds are averaged first.");
  if (std::any_of(cells.begin(), cells.end(),
                  [](const json& cell) { return cell.at("method") == "supervised"; }))
    t.notes.emplace_back(
        "* Supervised networks are not trained anew in the halves: their intervals take the scores "
        "as fixed and are too narrow.");
  if (!plan.aggregate.empty())
    t.notes.push_back(plan.aggregate +
                      " pools the datasets, as the paper does: features that tell only the "
                      "datasets apart score above 0.5 where "
                      "these differ in prevalence. Within datasets compares each positive with "
                      "negatives of its own dataset (van Elteren's weights).");
  t.verdicts = verdicts(plan, results);
  t.pictures = forest_plots(plan, results);
  if (!plan.imported.empty())
    t.notes.push_back(fmt::format("Features that others made are compared with WSP of {}.",
                                  plan.backbones.front()));
  if (!plan.aggregate.empty())
    t.notes.push_back("A network trained by the supervised method is trained on one dataset, so " +
                      plan.aggregate + " has none.");
  return t;
}

ResultTable accuracy_table(const Plan& plan, const Results& results) {
  const std::string& e = plan.evaluations.front().name;
  ResultTable t{"balanced-accuracy",
                "Table 2: balanced accuracy on " + e + ", mean (sd) over folds",
                {"method"},
                {},
                {}};
  for (const std::string& backbone : plan.backbones) t.header.push_back(backbone);
  if (!plan.imported.empty()) t.header.emplace_back(kImported);
  if (plan.backbones.size() > 1) t.header.push_back("better backbone");
  const auto reader = results.reader(e);
  const std::size_t reader_column = t.header.size();
  if (reader) t.header.emplace_back("no network");
  const bool beside = in_paper(plan, e) && published_balanced_accuracy("wsp", e);
  if (beside) t.header.push_back("in the paper");
  for (const std::string& method : plan.methods) {
    if (method == "imagenet" && plan.weights.empty()) continue;
    std::vector<std::string> row{method};
    std::vector<double> best;
    for (const std::string& backbone : plan.backbones) {
      const Group g = results.group(method, backbone, "", e);
      row.push_back(g.empty() ? kAbsent : mean_sd(g.accuracy));
      if (!g.empty() && (best.empty() || mean(g.accuracy) > mean(best))) best = g.accuracy;
    }
    if (!plan.imported.empty()) row.emplace_back("");
    if (plan.backbones.size() > 1) row.push_back(best.empty() ? kAbsent : mean_sd(best));
    if (reader) row.emplace_back("");
    if (beside) row.push_back(or_absent(published_balanced_accuracy(method, e)));
    t.rows.push_back(row);
  }
  for (const auto& [encoder, files] : plan.imported) {
    const Group g = results.group(encoder, kImported, "", e);
    std::vector<std::string> row(t.header.size(), "");
    row[0] = encoder;
    row[1 + plan.backbones.size()] = g.empty() ? kAbsent : mean_sd(g.accuracy);
    t.rows.push_back(row);
  }
  if (reader) {
    std::vector<std::string> row(t.header.size(), "");
    row[0] = "readers";
    row[reader_column] = fmt::format("{:.2f}", *reader);
    if (beside) row.back() = or_absent(published_balanced_accuracy("readers", e));
    t.rows.push_back(row);
  }
  if (plan.backbones.size() > 1)
    t.notes.emplace_back(
        "The better backbone is chosen on the very folds it is shown on, as in the paper: read it "
        "as an upper end.");
  if (beside)
    t.notes.emplace_back("The paper has one value of a method, that of its better backbone.");
  return t;
}

ResultTable variants_table(const Plan& plan, const Results& results, bool sigma) {
  const std::string& backbone = plan.backbones.front();
  ResultTable t =
      sigma ? ResultTable{"sigma",
                          "AUC of WSP by the width of the depth kernel, " + backbone,
                          {"sigma"},
                          {},
                          {}}
            : ResultTable{"ablation",
                          "AUC of WSP by kernel, depth convention and normalisation, " + backbone,
                          {"kernel", "depth over", "normalisation"},
                          {},
                          {}};
  const auto beside = [&](const std::string& e) {
    return sigma && in_paper(plan, e) && published_sigma(backbone, 0.1, e);
  };
  for (const std::string& e : evaluations_of(plan)) {
    t.header.push_back(e);
    if (beside(e)) t.header.push_back(e + " in the paper");
  }
  std::vector<std::string> seen;
  for (const Cell& cell : plan.cells()) {
    if (cell.variant.empty() || cell.variant.starts_with("sigma=") != sigma ||
        std::find(seen.begin(), seen.end(), cell.variant) != seen.end())
      continue;
    seen.push_back(cell.variant);
    std::vector<std::string> row;
    if (sigma)
      row = {cell.variant.substr(6)};
    else
      row = {cell.train.at("kernel"), cell.train.at("depth_scale"), cell.train.at("normalisation")};
    for (const std::string& e : evaluations_of(plan)) {
      row.push_back(value_text(results.group("wsp", backbone, cell.variant, e)));
      if (beside(e)) row.push_back(or_absent(published_sigma(backbone, cell.train.at("sigma"), e)));
    }
    t.rows.push_back(row);
    if (const auto names = results.taken_from(cell.variant); !names.empty())
      t.notes.push_back(
          fmt::format("{} shows the runs of {}, whose training is the same: no repetition of them.",
                      cell.variant, fmt::join(names, ", ")));
  }
  return t;
}

ResultTable axes_table(const Plan& plan, const Results& results) {
  const std::string& e = plan.evaluations.front().name;
  ResultTable t{"axes",
                "Figure 2 in numbers on " + e + ": means over seeds",
                {"method", "backbone", "|r| of depth, PC1", "|r| of depth, PC2", "class AUC, PC1",
                 "class AUC, PC2", "class silhouette"},
                {},
                {}};
  for (const auto& [method, backbone] : plan.rows()) {
    if (method == "supervised") continue;
    std::vector<std::string> row{method, backbone};
    for (const auto& [what, axis] :
         std::vector<std::pair<const char*, int>>{{"depth_correlation", 0},
                                                  {"depth_correlation", 1},
                                                  {"class_auc", 0},
                                                  {"class_auc", 1},
                                                  {"class_silhouette", -1}}) {
      std::vector<double> values = results.of_pca(method, backbone, e, what, axis);
      if (std::string(what) == "depth_correlation")
        for (double& v : values) v = std::abs(v);
      row.push_back(values.empty() ? kAbsent : fmt::format("{:.2f}", mean(values)));
    }
    t.rows.push_back(row);
    if (const json* cell = results.first_with("pca", method, backbone, e); cell != nullptr) {
      const std::string name = cell->at("cell");
      t.pictures.push_back({"cells/" + name + "/pca-" + e + ".svg",
                            "slices of " + e + " on two principal axes of " + name, ""});
    }
  }
  return t;
}

}  // namespace

std::vector<ResultTable> make_tables(const Plan& plan, const std::vector<json>& cells) {
  const Results results(cells);
  std::vector<ResultTable> tables{auc_table(plan, results, cells), accuracy_table(plan, results)};
  if (!plan.sigmas.empty() && !plan.pretraining.empty())
    tables.push_back(variants_table(plan, results, true));
  if (plan.text.contains("ablation") && !plan.pretraining.empty())
    tables.push_back(variants_table(plan, results, false));
  tables.push_back(axes_table(plan, results));
  tables.push_back(checks_table(plan, cells));
  tables.back().pictures = diagnostic_plots(plan, results);
  for (const std::string& e : evaluations_of(plan))
    if (ResultTable t = subgroups_table(plan, cells, e); !t.rows.empty())
      tables.push_back(std::move(t));
  for (const std::string& note : plan.left_out()) tables.front().notes.push_back(note);
  if (const std::size_t wanted = plan.cells().size(); cells.size() < wanted)
    tables.front().notes.push_back(fmt::format(
        "{} of {} cells are missing: run the rest (wsp-eval table PLAN.json, or --job K).",
        wanted - cells.size(), wanted));
  return tables;
}

std::string to_tsv(const ResultTable& t) {
  std::string text;
  const auto line = [&](const std::vector<std::string>& cells) {
    for (std::size_t i = 0; i < cells.size(); ++i) text += (i > 0 ? "\t" : "") + cells[i];
    text += '\n';
  };
  line(t.header);
  for (const auto& row : t.rows) line(row);
  return text;
}

std::string to_markdown(const std::vector<ResultTable>& tables, const std::string& title) {
  std::string text = "# " + title + "\n";
  for (const ResultTable& t : tables) {
    text += "\n## " + t.title + "\n\n";
    for (const std::string& sentence : t.verdicts) text += "> " + sentence + "\n>\n";
    text += t.verdicts.empty() ? "|" : "\n|";
    for (const std::string& cell : t.header) text += " " + cell + " |";
    text += "\n|";
    for (std::size_t i = 0; i < t.header.size(); ++i) text += "---|";
    text += "\n";
    for (const auto& row : t.rows) {
      text += "|";
      for (const std::string& cell : row) text += " " + cell + " |";
      text += "\n";
    }
    for (const std::string& note : t.notes) text += "\n" + note + "\n";
  }
  return text;
}

json to_json(const std::vector<ResultTable>& tables) {
  json all = json::array();
  for (const ResultTable& t : tables)
    all.push_back({{"name", t.name},
                   {"title", t.title},
                   {"header", t.header},
                   {"rows", t.rows},
                   {"notes", t.notes},
                   {"verdicts", t.verdicts}});
  return all;
}

void write_tables(const std::filesystem::path& out, const Plan& plan,
                  const std::vector<ResultTable>& tables) {
  for (const ResultTable& t : tables) {
    write_file_atomic(out / (t.name + ".tsv"), to_tsv(t));
    for (const Picture& p : t.pictures)
      if (!p.svg.empty()) write_file_atomic(out / p.path, p.svg);
  }
  write_file_atomic(out / "results.md", to_markdown(tables, plan.name));
  write_file_atomic(out / "results.html", to_html(tables, plan.name));
  write_file_atomic(out / "results.json",
                    json_text(json{{"plan", plan.text}, {"tables", to_json(tables)}}, 1) + "\n");
}

}  // namespace wsp::train

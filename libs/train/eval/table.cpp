#include "train/eval/table.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include "io/core/atomic_file.hpp"
#include "io/core/json_text.hpp"
#include "train/eval/published.hpp"

namespace wsp::train {
namespace {

using nlohmann::json;
constexpr const char* kAbsent = "-";

std::vector<double> numbers(const json& list) {
  std::vector<double> values;
  for (const json& v : list) values.push_back(v.is_number() ? v.get<double>() : std::nan(""));
  return values;
}

// All seeds of one method (or variant) on one evaluation.
struct Group {
  std::vector<double> auc, accuracy;      // [seed * fold]
  std::vector<double> seed_auc;           // [seed]
  std::vector<double> p;                  // permutation
  std::vector<double> within;             // [seed]: AUC within datasets, of an aggregate
  HalfSamples halves;                     // mean over seeds
  [[nodiscard]] bool empty() const { return seed_auc.empty(); }
};

class Results {
 public:
  explicit Results(const std::vector<json>& cells) : cells_(cells) {}

  [[nodiscard]] Group group(const std::string& method, const std::string& backbone, const std::string& variant,
                            const std::string& evaluation) const {
    Group g;
    std::vector<HalfSamples> halves;
    for (const json& cell : cells_) {
      if (cell.at("method") != method || cell.at("backbone") != backbone || cell.at("variant") != variant ||
          !cell.at("results").contains(evaluation))
        continue;
      const json& r = cell["results"][evaluation];
      const auto add = [](std::vector<double>& to, const std::vector<double>& v) { to.insert(to.end(), v.begin(), v.end()); };
      add(g.auc, numbers(r.at("auc").at("folds")));
      add(g.accuracy, numbers(r.at("balanced_accuracy").at("folds")));
      g.seed_auc.push_back(mean(numbers(r.at("auc").at("folds"))));
      if (r.contains("permutation")) g.p.push_back(r["permutation"].at("p"));
      if (r.contains("auc_within_datasets")) g.within.push_back(r["auc_within_datasets"]);
      halves.push_back(halves_of(r));
    }
    if (!halves.empty()) g.halves = mean_of(halves);
    return g;
  }

  // Name of the first cell with a figure 2, or empty.
  [[nodiscard]] std::string first_with_pca(const std::string& method, const std::string& backbone,
                                           const std::string& evaluation) const {
    for (const json& cell : cells_)
      if (has_pca(cell, method, backbone, evaluation)) return cell.at("cell");
    return "";
  }

  // One number of the figure-2 summaries, over seeds.
  [[nodiscard]] std::vector<double> of_pca(const std::string& method, const std::string& backbone,
                                           const std::string& evaluation, const char* what, int axis) const {
    std::vector<double> values;
    for (const json& cell : cells_) {
      if (!has_pca(cell, method, backbone, evaluation)) continue;
      const json& v = cell["pca"][evaluation].at(what);
      const json& one = axis < 0 ? v : v.at(static_cast<std::size_t>(axis));
      if (one.is_number()) values.push_back(one.get<double>());
    }
    return values;
  }

  // Names of the cells whose results a variant shows in place of its own.
  [[nodiscard]] std::vector<std::string> taken_from(const std::string& variant) const {
    std::vector<std::string> names;
    for (const json& cell : cells_)
      if (cell.at("variant") == variant && cell.contains("same_as")) names.push_back(cell["same_as"]);
    return names;
  }

  [[nodiscard]] std::optional<double> reader(const std::string& evaluation) const {
    for (const json& cell : cells_)
      if (cell.at("results").contains(evaluation) && cell["results"][evaluation].contains("reader"))
        return cell["results"][evaluation]["reader"].at("balanced_accuracy").get<double>();
    return std::nullopt;
  }

 private:
  static bool has_pca(const json& cell, const std::string& method, const std::string& backbone,
                      const std::string& evaluation) {
    return cell.at("method") == method && cell.at("backbone") == backbone && cell.at("variant") == "" &&
           cell.contains("pca") && cell["pca"].contains(evaluation);
  }

  const std::vector<json>& cells_;
};

std::vector<std::string> evaluations_of(const Plan& plan) {
  std::vector<std::string> names;
  for (const Evaluation& e : plan.evaluations) names.push_back(e.name);
  if (!plan.aggregate.empty()) names.push_back(plan.aggregate);
  return names;
}

// "[0.71, 0.93]", with a star where the scores were taken as fixed; nothing where there is no interval.
std::string interval_text(const Interval& i, const HalfSamples& h, const char* format) {
  if (h.auc.empty()) return "";
  return fmt::format(" [{}, {}]{}", fmt::format(fmt::runtime(format), i.low), fmt::format(fmt::runtime(format), i.high), h.refitted ? "" : "*");
}

std::string value_text(const Group& g) {
  return g.empty() ? kAbsent : mean_sd(g.auc) + interval_text(auc_interval(mean(g.seed_auc), g.halves, g.halves.auc), g.halves, "{:.2f}");
}

std::string within_text(const Group& g) {
  if (g.within.empty()) return kAbsent;
  return fmt::format("{:.2f}", mean(g.within)) + interval_text(auc_interval(mean(g.within), g.halves, g.halves.within), g.halves, "{:.2f}");
}

// Difference to a reference, over the same subjects.
std::string difference_text(const Group& g, const Group& reference) {
  if (g.empty() || reference.empty()) return kAbsent;
  const PairedDifference d = paired_difference(mean(g.seed_auc), g.halves, mean(reference.seed_auc), reference.halves);
  return fmt::format("{:+.2f}", d.difference) + interval_text(d.interval, g.halves, "{:+.2f}");
}

// Whether a dataset of the plan is one of the paper's. The paper's D1+2 is both together.
bool in_paper(const Plan& plan, const std::string& evaluation) {
  if (!plan.published) return false;
  if (evaluation != plan.aggregate) return evaluation == "D1" || evaluation == "D2";
  return evaluation == "D1+2" && plan.evaluations.size() == 2 &&
         std::all_of(plan.evaluations.begin(), plan.evaluations.end(), [&](const Evaluation& e) { return in_paper(plan, e.name); });
}

std::string or_absent(const std::optional<PublishedValue>& v) { return v ? v->text() : kAbsent; }

ResultTable auc_table(const Plan& plan, const Results& results, const std::vector<json>& cells) {
  ResultTable t{"auc", "Table 1: AUC by subject, mean (sd) over the folds of all seeds [95 % interval]",
                {"method", "backbone"}, {}, {}};
  for (const std::string& e : evaluations_of(plan)) {
    t.header.push_back(e);
    if (e == plan.aggregate) t.header.push_back(e + " within datasets");
    if (in_paper(plan, e)) t.header.push_back(e + " in the paper");
    t.header.push_back(e + " minus WSP");
  }
  t.header.insert(t.header.end(), {"seeds", "permutation p on " + plan.evaluations.front().name + " (median)"});
  for (const std::string& backbone : plan.backbones)
    for (const std::string& method : plan.methods) {
      if (method == "imagenet" && !plan.weights.contains(backbone)) continue;
      std::vector<std::string> row{method, backbone};
      std::size_t seeds = 0;
      double p = std::nan("");
      for (const std::string& e : evaluations_of(plan)) {
        const Group g = results.group(method, backbone, "", e);
        row.push_back(value_text(g));
        if (e == plan.aggregate) row.push_back(within_text(g));
        if (in_paper(plan, e)) row.push_back(or_absent(published_auc(backbone, method, e)));
        row.push_back(method == "wsp" ? "" : difference_text(g, results.group("wsp", backbone, "", e)));
        seeds = std::max(seeds, g.seed_auc.size());
        if (e == plan.evaluations.front().name && !g.p.empty()) p = quantile(g.p, 0.5);
      }
      row.push_back(std::to_string(seeds));
      row.push_back(std::isnan(p) ? kAbsent : fmt::format("{:.3f}", p));
      t.rows.push_back(row);
    }
  t.notes.emplace_back("Intervals say what other subjects would change, given the pretrained networks: the probes are fitted anew in random halves "
                       "of the cohort (docs/EVALUATION.md). Differences are paired: every method saw the same subjects in the same folds and halves; "
                       "seeds are averaged first.");
  if (std::any_of(cells.begin(), cells.end(), [](const json& cell) { return cell.at("method") == "supervised"; }))
    t.notes.emplace_back("* Supervised networks are not trained anew in the halves: their intervals take the scores as fixed and are too narrow.");
  if (!plan.aggregate.empty())
    t.notes.push_back(plan.aggregate + " pools the datasets, as the paper does: features that tell only the datasets apart score above 0.5 where "
                      "these differ in prevalence. Within datasets compares each positive with negatives of its own dataset (van Elteren's weights).");
  if (!plan.aggregate.empty())
    t.notes.push_back("A network trained by the supervised method is trained on one dataset, so " + plan.aggregate + " has none.");
  return t;
}

ResultTable accuracy_table(const Plan& plan, const Results& results) {
  const std::string& e = plan.evaluations.front().name;
  ResultTable t{"balanced-accuracy", "Table 2: balanced accuracy on " + e + ", mean (sd) over folds", {"method"}, {}, {}};
  for (const std::string& backbone : plan.backbones) t.header.push_back(backbone);
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
    if (plan.backbones.size() > 1) row.push_back(best.empty() ? kAbsent : mean_sd(best));
    if (reader) row.emplace_back("");
    if (beside) row.push_back(or_absent(published_balanced_accuracy(method, e)));
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
    t.notes.emplace_back("The better backbone is chosen on the very folds it is shown on, as in the paper: read it as an upper end.");
  if (beside) t.notes.emplace_back("The paper has one value of a method, that of its better backbone.");
  return t;
}

ResultTable variants_table(const Plan& plan, const Results& results, bool sigma) {
  const std::string& backbone = plan.backbones.front();
  ResultTable t = sigma ? ResultTable{"sigma", "AUC of WSP by the width of the depth kernel, " + backbone, {"sigma"}, {}, {}}
                        : ResultTable{"ablation", "AUC of WSP by kernel, depth convention and normalisation, " + backbone,
                                      {"kernel", "depth over", "normalisation"}, {}, {}};
  const auto beside = [&](const std::string& e) { return sigma && in_paper(plan, e) && published_sigma(backbone, 0.1, e); };
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
      t.notes.push_back(fmt::format("{} shows the runs of {}, whose training is the same: no repetition of them.", cell.variant, fmt::join(names, ", ")));
  }
  return t;
}

ResultTable axes_table(const Plan& plan, const Results& results) {
  const std::string& e = plan.evaluations.front().name;
  ResultTable t{"axes", "Figure 2 in numbers on " + e + ": means over seeds",
                {"method", "backbone", "|r| of depth, PC1", "|r| of depth, PC2", "class AUC, PC1", "class AUC, PC2", "class silhouette"}, {}, {}};
  for (const std::string& backbone : plan.backbones)
    for (const std::string& method : plan.methods) {
      if (method == "supervised" || (method == "imagenet" && !plan.weights.contains(backbone))) continue;
      std::vector<std::string> row{method, backbone};
      for (const auto& [what, axis] : std::vector<std::pair<const char*, int>>{
               {"depth_correlation", 0}, {"depth_correlation", 1}, {"class_auc", 0}, {"class_auc", 1}, {"class_silhouette", -1}}) {
        std::vector<double> values = results.of_pca(method, backbone, e, what, axis);
        if (std::string(what) == "depth_correlation")
          for (double& v : values) v = std::abs(v);
        row.push_back(values.empty() ? kAbsent : fmt::format("{:.2f}", mean(values)));
      }
      t.rows.push_back(row);
      if (const std::string cell = results.first_with_pca(method, backbone, e); !cell.empty())
        t.pictures.emplace_back("cells/" + cell + "/pca-" + e + ".svg",
                                "slices of " + e + " on two principal axes of " + cell);
    }
  return t;
}

std::string escaped(const std::string& text) {
  std::string safe;
  for (const char c : text) safe += c == '<' ? "&lt;" : c == '>' ? "&gt;" : c == '&' ? "&amp;" : std::string(1, c);
  return safe;
}

}  // namespace

std::vector<ResultTable> make_tables(const Plan& plan, const std::vector<json>& cells) {
  const Results results(cells);
  std::vector<ResultTable> tables{auc_table(plan, results, cells), accuracy_table(plan, results)};
  if (!plan.sigmas.empty() && !plan.pretraining.empty()) tables.push_back(variants_table(plan, results, true));
  if (plan.text.contains("ablation") && !plan.pretraining.empty()) tables.push_back(variants_table(plan, results, false));
  tables.push_back(axes_table(plan, results));
  tables.push_back(checks_table(plan, cells));
  for (const std::string& note : plan.left_out()) tables.front().notes.push_back(note);
  if (const std::size_t wanted = plan.cells().size(); cells.size() < wanted)
    tables.front().notes.push_back(fmt::format("{} of {} cells are missing: run the rest (wsp-eval table PLAN.json, or --job K).",
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
    text += "\n## " + t.title + "\n\n|";
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

std::string to_html(const std::vector<ResultTable>& tables, const std::string& title) {
  std::string text = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
                     "content=\"width=device-width\"><title>" + escaped(title) +
                     "</title><style>body{font:15px/1.45 sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem;color:#222}"
                     "div{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}th,td{padding:.3rem "
                     ".7rem;border-bottom:1px solid #ddd;text-align:left;white-space:nowrap}th{background:#f4f4f6}p,figcaption{color:#555}figure{display:inline-block;margin:1rem 1rem 0 0}img{width:35rem;max-width:100%}"
                     "</style></head><body><h1>" + escaped(title) + "</h1>";
  for (const ResultTable& t : tables) {
    text += "<h2>" + escaped(t.title) + "</h2><div><table><thead><tr>";
    for (const std::string& cell : t.header) text += "<th>" + escaped(cell) + "</th>";
    text += "</tr></thead><tbody>";
    for (const auto& row : t.rows) {
      text += "<tr>";
      for (const std::string& cell : row) text += "<td>" + escaped(cell) + "</td>";
      text += "</tr>";
    }
    text += "</tbody></table></div>";
    for (const std::string& note : t.notes) text += "<p>" + escaped(note) + "</p>";
    for (const auto& [path, what] : t.pictures)
      text += "<figure><img loading=\"lazy\" src=\"" + escaped(path) + "\" alt=\"" + escaped(what) + "\"><figcaption>" +
              escaped(what) + "</figcaption></figure>";
  }
  return text + "</body></html>\n";
}

json to_json(const std::vector<ResultTable>& tables) {
  json all = json::array();
  for (const ResultTable& t : tables)
    all.push_back({{"name", t.name}, {"title", t.title}, {"header", t.header}, {"rows", t.rows}, {"notes", t.notes}});
  return all;
}

void write_tables(const std::filesystem::path& out, const Plan& plan, const std::vector<ResultTable>& tables) {
  for (const ResultTable& t : tables) write_file_atomic(out / (t.name + ".tsv"), to_tsv(t));
  write_file_atomic(out / "results.md", to_markdown(tables, plan.name));
  write_file_atomic(out / "results.html", to_html(tables, plan.name));
  write_file_atomic(out / "results.json", json_text(json{{"plan", plan.text}, {"tables", to_json(tables)}}, 1) + "\n");
}

}  // namespace wsp::train

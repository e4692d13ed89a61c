#include "train/eval/conclusions.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "train/eval/plots.hpp"

namespace wsp::train {
namespace {

using nlohmann::json;

// A method beside WSP on one evaluation.
struct Comparison {
  std::string name;
  PairedDifference difference;
  bool refitted = true;
  double adjusted = 1;  // p after Holm's correction
};

std::vector<Comparison> comparisons(const Plan& plan, const Results& results,
                                    const std::string& backbone, const std::string& evaluation) {
  std::vector<Comparison> all;
  const Group wsp = results.group("wsp", backbone, "", evaluation);
  for (const auto& [method, of] : plan.rows()) {
    if (method == "wsp" || plan.reference_backbone(of) != backbone) continue;
    const Group g = results.group(method, of, "", evaluation);
    if (const PairedDifference d = difference_of(g, wsp); std::isfinite(d.p))
      all.push_back({method, d, g.halves.refitted && wsp.halves.refitted});
  }
  std::vector<Comparison*> order;
  for (Comparison& c : all)
    if (c.refitted) order.push_back(&c);
  std::sort(order.begin(), order.end(), [](const Comparison* a, const Comparison* b) {
    return a->difference.p < b->difference.p;
  });
  double largest = 0;  // Holm 1979
  for (std::size_t i = 0; i < order.size(); ++i)
    order[i]->adjusted = largest = std::max(
        largest, std::min(1.0, order[i]->difference.p * static_cast<double>(order.size() - i)));
  return all;
}

std::string about_chance(const std::string& method, const Group& g) {
  const bool within = !g.within.empty();
  const Interval i = within ? auc_interval(mean(g.within), g.halves, g.halves.within)
                            : auc_interval(mean(g.seed_auc), g.halves, g.halves.auc);
  if (!std::isfinite(i.low))
    return fmt::format("{} has no interval, so nothing can be concluded of other patients.",
                       method);
  return fmt::format("{} {} ({} {:.2f} to {:.2f}).", method,
                     i.low > 0.5    ? "tells the diagnosis better than chance"
                     : i.high < 0.5 ? "lies below chance, which needs an explanation"
                                    : "is not told from chance by these subjects",
                     within ? "AUC within datasets" : "AUC", i.low, i.high);
}

std::string about_others(const std::vector<Comparison>& all) {
  std::vector<std::string> apart, alike, unjudged;
  double low = 0, high = 0;
  for (const Comparison& c : all) {
    if (!c.refitted) {
      unjudged.push_back(c.name);
    } else if (c.adjusted < 0.05) {
      apart.push_back(fmt::format("{} ({:+.2f})", c.name, c.difference.difference));
    } else {
      alike.push_back(c.name);
      low = std::min(low, c.difference.interval.low);
      high = std::max(high, c.difference.interval.high);
    }
  }
  std::string text;
  if (!apart.empty())
    text += fmt::format(" Told apart from it (Holm's correction of {} comparisons): {}.",
                        apart.size() + alike.size(), fmt::join(apart, ", "));
  if (!alike.empty())
    text += fmt::format(
        " Not told apart: {}; differences from {:+.2f} to {:+.2f} remain possible, so this is no "
        "proof that they are equal.",
        fmt::join(alike, ", "), low, high);
  if (!unjudged.empty())
    text += fmt::format(" Not judged, since their intervals are too narrow: {}.",
                        fmt::join(unjudged, ", "));
  return text;
}

ForestRow forest_row(const std::string& label, double value, const Interval& interval,
                     bool refitted, const char* format) {
  const auto word = [&](double v) { return fmt::format(fmt::runtime(format), v); };
  ForestRow row{label, value, interval, "", !refitted};
  row.text = !std::isfinite(value) ? "not computed"
             : !std::isfinite(interval.low)
                 ? word(value) + ", no interval"
                 : fmt::format("{} [{}, {}]{}", word(value), word(interval.low),
                               word(interval.high), refitted ? "" : " too narrow");
  return row;
}

}  // namespace

std::vector<std::string> verdicts(const Plan& plan, const Results& results) {
  std::vector<std::string> all;
  std::size_t seeds = 0;
  for (const std::string& e : evaluations_of(plan))
    for (const std::string& backbone : plan.backbones) {
      const Group wsp = results.group("wsp", backbone, "", e);
      seeds = std::max(seeds, wsp.seed_auc.size());
      if (wsp.empty()) continue;
      all.push_back(fmt::format("{}, {} ({} subjects, {} positive): {}{}", e, backbone,
                                wsp.subjects, wsp.positives, about_chance("WSP", wsp),
                                about_others(comparisons(plan, results, backbone, e))));
    }
  if (all.empty())
    for (const std::string& e : evaluations_of(plan))
      for (const auto& [method, backbone] : plan.rows())
        if (const Group g = results.group(method, backbone, "", e); !g.empty() && g.halves.refitted)
          all.push_back(fmt::format("{} ({} subjects, {} positive): {}", e, g.subjects, g.positives,
                                    about_chance(method + ", " + backbone + ",", g)));
  if (seeds == 1)
    all.emplace_back(
        "One seed each: what another pretraining would change is in none of these numbers.");
  return all;
}

std::vector<Picture> forest_plots(const Plan& plan, const Results& results) {
  std::vector<Picture> pictures;
  for (const std::string& e : evaluations_of(plan)) {
    std::vector<ForestRow> differences, values;
    for (const auto& [method, backbone] : plan.rows()) {
      const std::string label = method + ", " + backbone;
      const Group g = results.group(method, backbone, "", e),
                  wsp = results.group("wsp", plan.reference_backbone(backbone), "", e);
      if (!g.empty())
        values.push_back(forest_row(label, mean(g.seed_auc),
                                    auc_interval(mean(g.seed_auc), g.halves, g.halves.auc),
                                    g.halves.refitted, "{:.2f}"));
      if (method == "wsp" || g.empty() || wsp.empty()) continue;
      const PairedDifference d = difference_of(g, wsp);
      differences.push_back(
          forest_row(label, d.difference, d.interval, g.halves.refitted, "{:+.2f}"));
    }
    if (values.empty()) continue;
    const bool paired = !differences.empty();
    pictures.push_back(
        {"forest-" + e + ".svg", paired ? "differences of AUC to WSP on " + e : "AUC on " + e,
         paired
             ? forest_svg(differences, 0, "AUC minus WSP's on " + e,
                          "paired by subject, 95 %; left of 0: WSP is better", "difference of AUC")
             : forest_svg(values, 0.5, "AUC on " + e, "95 % intervals over subjects", "AUC")});
  }
  return pictures;
}

std::vector<Picture> diagnostic_plots(const Plan& plan, const Results& results) {
  std::vector<Picture> pictures;
  for (const std::string& e : evaluations_of(plan))
    for (const auto& [method, backbone] : plan.rows()) {
      const json* cell = results.first_with("results", method, backbone, e);
      if (cell == nullptr || !cell->at("results").at(e).contains("roc")) continue;
      const std::string name = cell->at("cell"), title = name + " on " + e;
      pictures.push_back({"cells/" + name + "/diagnostics-" + e + ".svg", title,
                          diagnostics_svg(cell->at("results").at(e), title), true});
    }
  return pictures;
}

}  // namespace wsp::train

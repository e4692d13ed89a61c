#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <functional>
#include <nlohmann/json.hpp>

#include "train/unet/unet.hpp"

namespace wsp::train {
namespace {

using nlohmann::json;

// What is measured of a case; NaN where it is not defined.
struct Measure {
  const char* name;
  std::function<double(const CaseScores&)> of;
};

double if_extent(const CaseScores& c, double value) { return c.has_extent ? value : std::nan(""); }

bool ends_within_one(const CaseScores& c) {
  return c.has_extent && std::abs(c.first_off) <= 1 && std::abs(c.last_off) <= 1;
}

const std::vector<Measure>& measures() {
  static const std::vector<Measure> list = {
      {"dice", [](const CaseScores& c) { return c.overlap.dice; }},
      {"iou", [](const CaseScores& c) { return c.overlap.iou; }},
      {"volume_error", [](const CaseScores& c) { return c.overlap.volume_error(); }},
      {"hd95_mm", [](const CaseScores& c) { return c.surface.hd95_mm; }},
      {"assd_mm", [](const CaseScores& c) { return c.surface.assd_mm; }},
      // Without an extent nothing is kept, and both ends are wrong.
      {"kept_iou", [](const CaseScores& c) { return c.kept_iou; }},
      {"extent_within_1", [](const CaseScores& c) { return ends_within_one(c) ? 1.0 : 0.0; }}};
  return list;
}

json number(double value) { return std::isfinite(value) ? json(value) : json(nullptr); }

json case_json(const CaseScores& c) {
  json value = {{"case", c.name},
                {"subject", c.subject},
                {"slices", c.slices},
                {"truth_ml", c.overlap.truth_ml},
                {"predicted_ml", c.overlap.predicted_ml},
                {"first_off", c.has_extent ? json(c.first_off) : json(nullptr)},
                {"last_off", c.has_extent ? json(c.last_off) : json(nullptr)}};
  for (const Measure& m : measures()) value[m.name] = number(m.of(c));
  return value;
}

std::string cell(double value) { return std::isfinite(value) ? fmt::format("{:.6g}", value) : ""; }

}  // namespace

json evaluation_json(const UNetEvaluation& evaluation, const UNetEvaluate& what) {
  json value = {
      {"format", "wsp-unet-evaluation"},
      {"version", 1},
      {"part", evaluation.part},
      {"volumes", evaluation.cases.size()},
      {"left_out", evaluation.left_out},
      {"excluded", evaluation.excluded},
      {"trained_on", evaluation.trained_on ? json(*evaluation.trained_on) : json(nullptr)},
      {"clean", what.clean},
      {"min_area_mm2", what.min_area_mm2},
      {"central_permille", what.central_permille},
      {"resamples", what.resamples},
      {"seed", what.seed},
      {"mean", json::object()},
      {"cases", json::array()}};
  std::vector<std::string> subjects;
  for (const CaseScores& c : evaluation.cases) {
    subjects.push_back(c.subject);
    value["cases"].push_back(case_json(c));
  }
  for (const Measure& m : measures()) {
    std::vector<double> values;
    for (const CaseScores& c : evaluation.cases) values.push_back(m.of(c));
    const BootstrapMean mean = bootstrap_mean(values, subjects, what.resamples, what.seed);
    value["mean"][m.name] = {{"mean", number(mean.mean)},
                             {"low", number(mean.low)},
                             {"high", number(mean.high)},
                             {"volumes", mean.values}};
  }
  return value;
}

std::string evaluation_tsv(const UNetEvaluation& evaluation) {
  std::string text = "case\tsubject\tslices\ttruth_ml\tpredicted_ml\tfirst_off\tlast_off";
  for (const Measure& m : measures()) text += std::string("\t") + m.name;
  text += "\n";
  for (const CaseScores& c : evaluation.cases) {
    text += fmt::format("{}\t{}\t{}\t{}\t{}\t{}\t{}", c.name, c.subject, c.slices,
                        cell(c.overlap.truth_ml), cell(c.overlap.predicted_ml),
                        cell(if_extent(c, static_cast<double>(c.first_off))),
                        cell(if_extent(c, static_cast<double>(c.last_off))));
    for (const Measure& m : measures()) text += "\t" + cell(m.of(c));
    text += "\n";
  }
  return text;
}

}  // namespace wsp::train

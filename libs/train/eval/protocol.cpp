#include "train/eval/protocol.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

namespace wsp::train {
namespace {

using nlohmann::json;

json number(double v) { return std::isfinite(v) ? json(v) : json(nullptr); }
json interval(const Interval& i) { return json::array({number(i.low), number(i.high)}); }

double value(const json& v) { return v.is_number() ? v.get<double>() : std::nan(""); }

json pairs(const HalfSamples::Pairs& halves) {
  json list = json::array();
  for (const auto& pair : halves) list.push_back({number(pair[0]), number(pair[1])});
  return list;
}

HalfSamples::Pairs pairs_of(const json& list) {
  HalfSamples::Pairs halves;
  for (const json& pair : list) halves.push_back({value(pair.at(0)), value(pair.at(1))});
  return halves;
}

json point(const OperatingPoint& p) {
  return {{"threshold", number(p.threshold)},       {"sensitivity", number(p.sensitivity())},
          {"specificity", number(p.specificity())}, {"true_positive", p.true_positive},
          {"false_positive", p.false_positive},     {"true_negative", p.true_negative},
          {"false_negative", p.false_negative}};
}

json curve(const ProtocolResult& r) {
  json rate = json::array(), sensitivity = json::array(), low = json::array(), high = json::array();
  for (std::size_t k = 0; k < r.roc.size(); ++k) {
    rate.push_back(static_cast<double>(k) / kRocSteps);
    sensitivity.push_back(number(r.roc[k]));
  }
  for (const Interval& i : r.band) {
    low.push_back(number(i.low));
    high.push_back(number(i.high));
  }
  return {
      {"false_positive_rate", rate}, {"sensitivity", sensitivity}, {"low", low}, {"high", high}};
}

json summary(const std::vector<double>& values) {
  json folds = json::array();
  for (const double v : values) folds.push_back(number(v));
  return {{"mean", number(mean(values))}, {"sd", number(sample_sd(values))}, {"folds", folds}};
}

}  // namespace

std::vector<double> over_folds(const CrossValidation& cv, double BinaryScores::*measure) {
  std::vector<double> values;
  for (const BinaryScores& s : cv.scores) values.push_back(s.*measure);
  return values;
}

std::string mean_sd(const std::vector<double>& values) {
  return fmt::format("{:.2f} ({:.2f})", mean(values), sample_sd(values));
}

ProtocolResult summarise(const Cohort& cohort, const std::string& name, CrossValidation cv,
                         HalfSamples halves, double sensitivity,
                         const std::vector<Subgroups>& subgroups) {
  ProtocolResult r;
  r.name = name;
  r.subjects = cohort.set.subjects();
  r.positives = std::count(cohort.set.positive.begin(), cohort.set.positive.end(), 1);
  r.slices = cohort.set.rows();
  r.subject_names = cohort.set.names;
  r.positive = cohort.set.positive;
  r.excluded = cohort.excluded;
  r.cv = std::move(cv);
  r.halves = std::move(halves);
  if (!r.halves.within.empty())
    r.within = within_datasets_auc(r.cv, cohort.set.positive, cohort.set.dataset);
  r.delong = delong(r.cv.probability.front(), cohort.set.positive);
  r.calibration = calibration(r.cv.probability.front(), cohort.set.positive);
  r.roc = roc_curve(r.cv, cohort.set.positive);
  r.band = roc_band(r.roc, r.halves);
  r.stated_sensitivity = sensitivity;
  r.youden = youden_point(r.cv.probability.front(), cohort.set.positive);
  r.at_sensitivity =
      point_of_sensitivity(r.cv.probability.front(), cohort.set.positive, sensitivity);
  if (std::any_of(cohort.reader.begin(), cohort.reader.end(), [](int c) { return c >= 0; }))
    r.reader = reader_scores(cohort);
  r.subgroups = subgroup_scores(cohort.set, r.cv, r.halves, subgroups);
  return r;
}

ProtocolResult run_protocol(const Cohort& cohort, const std::string& name,
                            const ProtocolOptions& o) {
  LogisticFits fits(cohort.set);
  CrossValidation cv = cross_validate(cohort.set, fits, cohort.set.positive, o.cv);
  HalfSamples halves =
      half_samples(cohort.set, fits, cv, o.cv, o.divisions, groupings_of(o.subgroups));
  ProtocolResult r =
      summarise(cohort, name, std::move(cv), std::move(halves), o.sensitivity, o.subgroups);
  if (o.permutations > 0)
    r.permutation = permute_labels(cohort.set, fits, r.cv, o.cv, o.permutations);
  if (o.shortcuts) {
    const double c = quantile(r.cv.chosen_c.front(), 0.5);
    r.shortcuts = shortcut_probes(cohort, fits, o.cv.folds, o.cv.seed, c);
  }
  return r;
}

json to_json(const ProtocolResult& r) {
  json j{{"name", r.name},
         {"subjects", r.subjects},
         {"positive", r.positives},
         {"slices", r.slices},
         {"folds", r.cv.chosen_c.front().size()},
         {"repeats", r.cv.fold.size()},
         {"auc", summary(over_folds(r.cv, &BinaryScores::auc))},
         {"balanced_accuracy", summary(over_folds(r.cv, &BinaryScores::balanced_accuracy))},
         {"sensitivity", summary(over_folds(r.cv, &BinaryScores::sensitivity))},
         {"specificity", summary(over_folds(r.cv, &BinaryScores::specificity))},
         {"brier", summary(over_folds(r.cv, &BinaryScores::brier))},
         {"chosen_c", r.cv.chosen_c},
         {"delong_conditional_on_folds",
          {{"pooled_auc", number(r.delong.auc)},
           {"interval", {number(r.delong.low), number(r.delong.high)}}}},
         {"calibration",
          {{"in_the_large", number(r.calibration.in_the_large)},
           {"slope", number(r.calibration.slope)},
           {"intercept", number(r.calibration.intercept)},
           {"expected_error", number(r.calibration.expected_error)}}}};
  const HalfSamples& h = r.halves;
  j["intervals"] = {
      {"refitted", h.refitted},
      {"divisions", h.auc.size()},
      {"auc", interval(auc_interval(r.cv.mean_auc(), h, h.auc))},
      {"balanced_accuracy",
       interval(mean_interval(mean(over_folds(r.cv, &BinaryScores::balanced_accuracy)), h,
                              h.balanced_accuracy))},
      {"brier", interval(mean_interval(mean(over_folds(r.cv, &BinaryScores::brier)), h, h.brier))},
      {"half_folds", h.half_folds},
      {"auc_of_halves", pairs(h.auc)}};
  j["roc"] = curve(r);
  j["operating_points"] = {{"youden", point(r.youden)},
                           {"at_sensitivity", point(r.at_sensitivity)},
                           {"stated_sensitivity", r.stated_sensitivity}};
  j["verdict"] = verdict(r);
  if (r.within) {
    j["auc_within_datasets"] = number(*r.within);
    j["intervals"]["auc_within_datasets"] = interval(auc_interval(*r.within, h, h.within));
    j["intervals"]["within_of_halves"] = pairs(h.within);
  }
  if (r.permutation)
    j["permutation"] = {{"p", r.permutation->p},
                        {"samples", r.permutation->samples},
                        {"null_auc", interval(r.permutation->null)},
                        {"null_mean", number(r.permutation->null_mean)}};
  if (r.reader)
    j["reader"] = {{"balanced_accuracy", r.reader->balanced_accuracy},
                   {"sensitivity", r.reader->sensitivity},
                   {"specificity", r.reader->specificity},
                   {"subjects", r.reader->subjects}};
  if (!r.overlap.empty()) j["overlap"] = r.overlap;
  if (!r.excluded.empty()) j["excluded"] = r.excluded;
  for (const SubgroupScore& s : r.subgroups)
    j["subgroups"].push_back({{"name", s.name},
                              {"column", s.column},
                              {"subjects", s.subjects},
                              {"positive", s.positives},
                              {"auc", number(s.auc)},
                              {"interval", interval(s.interval)},
                              {"auc_of_halves", pairs(s.halves)}});
  for (const Shortcut& s : r.shortcuts)
    j["shortcuts"].push_back(
        s.skipped.empty() ? json{{"what", s.what}, {"auc", number(s.auc)}, {"subjects", s.subjects}}
                          : json{{"what", s.what},
                                 {"auc", nullptr},
                                 {"subjects", s.subjects},
                                 {"skipped", s.skipped}});
  for (std::size_t s = 0; s < r.subject_names.size(); ++s) {
    json p = json::array();
    for (const auto& repeat : r.cv.probability) p.push_back(number(repeat[s]));
    j["predictions"].push_back({{"subject", r.subject_names[s]},
                                {"truth", r.positive[s]},
                                {"fold", r.cv.fold.front()[s]},
                                {"probability", p}});
  }
  return j;
}

HalfSamples halves_of(const json& r) {
  HalfSamples h;
  if (!r.contains("intervals")) return h;
  const json& kept = r["intervals"];
  h.positives = r.at("positive");
  h.negatives = r.at("subjects").get<double>() - h.positives;
  h.folds = r.at("folds");
  h.half_folds = kept.at("half_folds");
  h.refitted = kept.at("refitted");
  h.scores.of.resize(1);
  for (const json& subject : r.at("predictions")) {
    h.scores.fold.push_back(subject.at("fold"));
    h.scores.positive.push_back(subject.at("truth"));
    h.scores.of.front().push_back(value(subject.at("probability").at(0)));
  }
  h.auc = pairs_of(kept.at("auc_of_halves"));
  h.within = pairs_of(kept.value("within_of_halves", json::array()));
  return h;
}

std::vector<SubgroupScore> subgroups_of(const json& r) {
  std::vector<SubgroupScore> scores;
  for (const json& kept : r.value("subgroups", json::array())) {
    SubgroupScore s;
    s.name = kept.at("name");
    s.column = kept.at("column");
    s.subjects = kept.at("subjects");
    s.positives = kept.at("positive");
    s.auc = kept.at("auc").is_number() ? kept["auc"].get<double>() : std::nan("");
    s.halves = pairs_of(kept.at("auc_of_halves"));
    s.interval = subgroup_interval(s, halves_of(r));
    scores.push_back(std::move(s));
  }
  return scores;
}

std::string verdict(const ProtocolResult& r) {
  const HalfSamples& h = r.halves;
  const std::string cohort =
      fmt::format("{} subjects, {} of them positive", r.subjects, r.positives);
  if (h.auc.empty())
    return cohort + ": there is no interval, so nothing can be concluded of other patients.";
  const Interval i =
      r.within ? auc_interval(*r.within, h, h.within) : auc_interval(r.cv.mean_auc(), h, h.auc);
  const std::string range = fmt::format("{:.2f} to {:.2f}", i.low, i.high);
  const char* what = r.within ? "the AUC within datasets" : "the AUC";
  std::string text;
  if (!h.refitted)
    text = fmt::format(
        "{}: the interval takes the scores as fixed and is too narrow to conclude from.", cohort);
  else if (i.low > 0.5)
    text = fmt::format(
        "{}: the features tell the diagnosis better than chance; how well is known no better than "
        "{} says ({}).",
        cohort, what, range);
  else if (i.high < 0.5)
    text = fmt::format(
        "{}: {} lies below chance ({}), which features cannot do by themselves: look for what "
        "differs between the folds.",
        cohort, what, range);
  else
    text = fmt::format(
        "{}: {} may be 0.5 ({}), so these subjects do not decide whether the features tell the "
        "diagnosis.",
        cohort, what, range);
  std::string told;
  for (const Shortcut& s : r.shortcuts)
    if (s.auc > 0.7) told += fmt::format("{}{} ({:.2f})", told.empty() ? "" : ", ", s.what, s.auc);
  if (!told.empty())
    text += " They also tell " + told + ": where that goes with the diagnosis, the AUC may be its.";
  if (!r.overlap.empty())
    text += " The encoder has seen some of these subjects, which flatters it.";
  return text +
         " Another pretraining, hospital or way of choosing patients is not in the interval.";
}

std::string to_text(const ProtocolResult& r) {
  std::string text =
      fmt::format("{}: {} subjects ({} positive), {} slices, {} folds{}\n", r.name, r.subjects,
                  r.positives, r.slices, r.cv.chosen_c.front().size(),
                  r.cv.fold.size() > 1 ? fmt::format(" x {}", r.cv.fold.size()) : "");
  for (const std::string& sentence : r.overlap)
    text += fmt::format("  {:<18} {}\n", "flattered", sentence);
  if (!r.excluded.empty())
    text += fmt::format("  {:<18} {} cases rated exclude\n", "left out", r.excluded.size());
  const HalfSamples& h = r.halves;
  const auto interval_text = [&](const Interval& i) {
    if (h.auc.empty()) return std::string();
    return fmt::format("  95 % interval {:.2f} to {:.2f}{}", i.low, i.high,
                       h.refitted ? "" : ", of fixed scores: too narrow");
  };
  const auto row = [&](const char* what, double BinaryScores::*measure,
                       const HalfSamples::Pairs* pairs) {
    const std::vector<double> values = over_folds(r.cv, measure);
    text +=
        fmt::format("  {:<18} {}{}\n", what, mean_sd(values),
                    pairs == nullptr ? "" : interval_text(mean_interval(mean(values), h, *pairs)));
  };
  text += fmt::format("  {:<18} {}{}{}\n", "AUC", mean_sd(over_folds(r.cv, &BinaryScores::auc)),
                      interval_text(auc_interval(r.cv.mean_auc(), h, h.auc)),
                      r.within ? ", the datasets pooled" : "");
  if (r.within)
    text += fmt::format("  {:<18} {:.2f}{}\n", "AUC within datasets", *r.within,
                        interval_text(auc_interval(*r.within, h, h.within)));
  row("balanced accuracy", &BinaryScores::balanced_accuracy, &h.balanced_accuracy);
  row("sensitivity", &BinaryScores::sensitivity, nullptr);
  row("specificity", &BinaryScores::specificity, nullptr);
  row("Brier", &BinaryScores::brier, &h.brier);
  const char* of = r.cv.fold.size() > 1 ? ", of the first repeat" : "";
  text += fmt::format("  {:<18} slope {:.2f}, in the large {:+.3f}, expected error {:.3f}{}\n",
                      "calibration", r.calibration.slope, r.calibration.in_the_large,
                      r.calibration.expected_error, of);
  text += fmt::format("  {:<18} pooled AUC {:.2f}, {:.2f} to {:.2f}, conditional on the folds{}\n",
                      "DeLong", r.delong.auc, r.delong.low, r.delong.high, of);
  if (r.permutation)
    text += fmt::format("  {:<18} p = {:.3g}; shuffled diagnoses {:.2f} to {:.2f} ({} samples{})\n",
                        "permutation", r.permutation->p, r.permutation->null.low,
                        r.permutation->null.high, r.permutation->samples, of);
  if (r.reader)
    text += fmt::format(
        "  {:<18} balanced accuracy {:.2f} (sensitivity {:.2f}, specificity {:.2f}, {} subjects)\n",
        "readers", r.reader->balanced_accuracy, r.reader->sensitivity, r.reader->specificity,
        r.reader->subjects);
  for (const Shortcut& s : r.shortcuts)
    text += s.skipped.empty()
                ? fmt::format("  {:<18} AUC {:.2f} for {}{}\n", "shortcut", s.auc, s.what,
                              s.auc > 0.7 ? "  <- the features tell it" : "")
                : fmt::format("  {:<18} {} not probed: {}\n", "shortcut", s.what, s.skipped);
  for (const SubgroupScore& s : r.subgroups)
    text += fmt::format("  {:<18} {}: {}{} ({} subjects, {} positive)\n", "subgroup", s.name,
                        std::isnan(s.auc) ? "no AUC" : fmt::format("AUC {:.2f}", s.auc),
                        std::isnan(s.interval.low)
                            ? ", no interval"
                            : fmt::format(", {:.2f} to {:.2f}", s.interval.low, s.interval.high),
                        s.subjects, s.positives);
  const auto at = [&](const char* name, const OperatingPoint& p) {
    return fmt::format(
        "  {:<18} from {:.2f}: sensitivity {:.2f} ({} of {}), specificity {:.2f} ({} of {}); "
        "chosen on these scores{}\n",
        name, p.threshold, p.sensitivity(), p.true_positive, p.true_positive + p.false_negative,
        p.specificity(), p.true_negative, p.true_negative + p.false_positive, of);
  };
  text += at("Youden's index", r.youden) +
          at(fmt::format("sensitivity {:.2f}", r.stated_sensitivity).c_str(), r.at_sensitivity);
  return text + fmt::format("  {:<18} {}\n", "verdict", verdict(r));
}

}  // namespace wsp::train

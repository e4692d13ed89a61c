// How often the interval of a cross-validated AUC holds what it should, and how often two equal
// encoders are told apart, over simulated cohorts (docs/EVALUATION.md). Two encoders see the same
// subjects: half of the variance of what they see of a subject is shared. The expected AUC is the
// mean over all cohorts and both encoders.
#include <fmt/format.h>
#include <tbb/global_control.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "io/core/counter_rng.hpp"
#include "io/core/parallel.hpp"
#include "train/eval/subgroups.hpp"
#include "train/stats/curves.hpp"

namespace {

namespace wt = wsp::train;

struct Design {
  int positives = 15, negatives = 34, slices = 3, features = 16, cohorts = 1000, divisions = 50,
      threads = 2;
  double signal = 2, other_signal = -1;  // of the second encoder; negative: the same
  std::uint64_t seed = 1;
};

wt::ProbeSet cohort(const Design& d, std::uint64_t number, std::uint64_t encoder) {
  wt::ProbeSet set;
  set.dimensions = d.features;
  set.first = {0};
  for (int s = 0; s < d.positives + d.negatives; ++s) {
    wsp::CounterRng shared(d.seed, {number, static_cast<std::uint64_t>(s)});
    wsp::CounterRng own(d.seed, {number, static_cast<std::uint64_t>(s), 1 + encoder});
    set.positive.push_back(s < d.positives ? 1 : 0);
    std::vector<double> centre;
    for (int j = 0; j < d.features; ++j)
      centre.push_back(std::sqrt(0.5) * (shared.normal() + own.normal()));
    if (s < d.positives)
      centre[0] += encoder == 1 && d.other_signal >= 0 ? d.other_signal : d.signal;
    for (int i = 0; i < d.slices; ++i)
      for (const double c : centre) set.x.push_back(static_cast<float>(c + 0.7 * own.normal()));
    set.first.push_back(set.first.back() + d.slices);
    set.names.push_back(std::to_string(s));
  }
  return set;
}

struct Outcome {
  double auc[2];
  wt::Interval interval[2];
  wt::PairedDifference difference;
  double subgroup[2];  // AUC of every second subject of each class
  wt::Interval of_subgroup[2];
  double sensitivity[2];  // at a false positive rate of 0.2
  wt::Interval band[2];
};

constexpr std::size_t kRate = wt::kRocSteps / 5;

Outcome outcome(const Design& d, std::uint64_t number) {
  Outcome o{};
  wt::HalfSamples halves[2];
  for (std::uint64_t e = 0; e < 2; ++e) {
    const wt::ProbeSet set = cohort(d, number, e);
    wt::LogisticFits fits(set, 1e-5);
    const wt::CrossValidationOptions options{.folds = 5, .seed = number};
    const wt::CrossValidation cv = wt::cross_validate(set, fits, set.positive, options);
    wt::Subgroups groups{"half", {"even"}, {}};
    for (std::size_t s = 0; s < set.positive.size(); ++s) groups.of.push_back(s % 2 == 0 ? 0 : -1);
    halves[e] = wt::half_samples(set, fits, cv, options, d.divisions, {groups.of});
    const wt::SubgroupScore group = wt::subgroup_scores(set, cv, halves[e], {groups}).front();
    o.subgroup[e] = group.auc;
    o.of_subgroup[e] = group.interval;
    const std::vector<double> curve = wt::roc_curve(cv, set.positive);
    o.sensitivity[e] = curve[kRate];
    o.band[e] = wt::roc_band(curve, halves[e])[kRate];
    o.auc[e] = cv.mean_auc();
    o.interval[e] = wt::auc_interval(o.auc[e], halves[e], halves[e].auc);
  }
  o.difference = wt::paired_difference(o.auc[0], halves[0], o.auc[1], halves[1]);
  return o;
}

}  // namespace

int main(int argc, char** argv) {
  Design d;
  double least = 0, most = 1, rejected = 1, least_rejected = 0;
  CLI::App app("Coverage of the probe's intervals over simulated cohorts");
  app.add_option("--positives", d.positives)->capture_default_str();
  app.add_option("--negatives", d.negatives)->capture_default_str();
  app.add_option("--signal", d.signal,
                 "Distance of the classes in standard deviations between subjects")
      ->capture_default_str();
  app.add_option("--other-signal", d.other_signal,
                 "The same of the second encoder; negative: the same. The intervals of single AUC "
                 "mean nothing then");
  app.add_option("--slices", d.slices)->capture_default_str();
  app.add_option("--features", d.features)->capture_default_str();
  app.add_option("--cohorts", d.cohorts)->capture_default_str();
  app.add_option("--divisions", d.divisions)->capture_default_str();
  app.add_option("--threads", d.threads)->capture_default_str();
  app.add_option("--seed", d.seed)->capture_default_str();
  app.add_option("--least", least, "Exit with 1 where the coverage is below")
      ->capture_default_str();
  app.add_option("--most", most, "Exit with 1 where the coverage is above")->capture_default_str();
  app.add_option("--rejected", rejected,
                 "Exit with 1 where more equal encoders differ with p < 0.05")
      ->capture_default_str();
  app.add_option("--least-rejected", least_rejected, "Exit with 1 where fewer do")
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  const tbb::global_control limit(tbb::global_control::max_allowed_parallelism,
                                  static_cast<std::size_t>(d.threads));
  std::vector<Outcome> outcomes(static_cast<std::size_t>(d.cohorts));
  wsp::parallel_loop(std::size_t{0}, outcomes.size(),
                     [&](std::size_t i) { outcomes[i] = outcome(d, i); });
  std::vector<double> auc, subgroup, sensitivity;
  for (const Outcome& o : outcomes) {
    auc.insert(auc.end(), o.auc, o.auc + 2);
    subgroup.insert(subgroup.end(), o.subgroup, o.subgroup + 2);
    sensitivity.insert(sensitivity.end(), o.sensitivity, o.sensitivity + 2);
  }
  const double expected = wt::mean(auc), of_subgroup = wt::mean(subgroup),
               at_rate = wt::mean(sensitivity);
  double subgroup_covered = 0, band_covered = 0;
  for (const Outcome& o : outcomes)
    for (std::size_t e = 0; e < 2; ++e) {
      subgroup_covered +=
          o.of_subgroup[e].low <= of_subgroup && of_subgroup <= o.of_subgroup[e].high ? 1 : 0;
      band_covered += o.band[e].low <= at_rate && at_rate <= o.band[e].high ? 1 : 0;
    }
  double covered = 0, below = 0, above = 0, width = 0, differ = 0, difference = 0,
         difference_covered = 0;
  for (const Outcome& o : outcomes) difference += o.difference.difference / d.cohorts;
  for (const Outcome& o : outcomes) {
    differ += o.difference.p < 0.05 ? 1 : 0;
    const wt::Interval& held = o.difference.interval;
    difference_covered += held.low <= difference && difference <= held.high ? 1 : 0;
    for (const wt::Interval& i : o.interval) {
      covered += i.low <= expected && expected <= i.high ? 1 : 0;
      below += i.high < expected ? 1 : 0;
      above += i.low > expected ? 1 : 0;
      width += i.high - i.low;
    }
  }
  const double n = 2 * static_cast<double>(d.cohorts), coverage = covered / n,
               rejections = 2 * differ / n;
  fmt::print(
      "{}\n",
      nlohmann::json{
          {"positives", d.positives},    {"negatives", d.negatives},
          {"signal", d.signal},          {"features", d.features},
          {"slices", d.slices},          {"cohorts", d.cohorts},
          {"divisions", d.divisions},    {"auc", expected},
          {"sd", wt::sample_sd(auc)},    {"coverage", coverage},
          {"interval_below", below / n}, {"interval_above", above / n},
          {"width", width / n},          {"told_apart", rejections},
          {"difference", difference},    {"difference_coverage", difference_covered / d.cohorts},
          {"subgroup_auc", of_subgroup}, {"subgroup_coverage", subgroup_covered / n},
          {"sensitivity", at_rate},      {"band_coverage", band_covered / n}}
          .dump());
  return coverage >= least && coverage <= most && rejections <= rejected &&
                 rejections >= least_rejected
             ? 0
             : 1;
}

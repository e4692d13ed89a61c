// Curves, operating points and pictures against explicit loops, published numbers and what stands
// in the file.
#include "train/stats/curves.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "io/core/counter_rng.hpp"
#include "io/core/error.hpp"
#include "train/eval/plots.hpp"
#include "train/eval/protocol.hpp"
#include "train/stats/probe_support.hpp"

namespace wsp::train {
namespace {

using test::make_probe_set;

struct Drawn {
  std::vector<double> score;
  std::vector<std::uint8_t> positive;
};

// Scores with ties; both classes.
Drawn draw(std::uint64_t seed) {
  CounterRng rng(seed, {7});
  Drawn d;
  const std::size_t n = 6 + rng.below(40);
  for (std::size_t i = 0; i < n; ++i) {
    d.positive.push_back(static_cast<std::uint8_t>(i < 2 ? i : rng.below(2)));
    d.score.push_back(static_cast<double>(rng.below(12) + 3 * d.positive.back()) / 16);
  }
  return d;
}

TEST(Curves, AreThoseOfExplicitLoops) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    const Drawn d = draw(seed);
    std::vector<double> thresholds = d.score;
    thresholds.push_back(2);
    const auto rates = [&](double t) {
      double hit = 0, positives = 0, wrong = 0, negatives = 0;
      for (std::size_t i = 0; i < d.score.size(); ++i) {
        (d.positive[i] != 0 ? positives : negatives) += 1;
        if (d.score[i] >= t) (d.positive[i] != 0 ? hit : wrong) += 1;
      }
      return std::pair{hit / positives, wrong / negatives};
    };
    const std::vector<double> curve = roc_curve(d.score, d.positive);
    ASSERT_EQ(curve.size(), kRocSteps + 1U);
    double most = -1, highest = -1;
    for (int k = 0; k <= kRocSteps; ++k) {
      double best = 0;
      for (const double t : thresholds)
        if (const auto [hit, wrong] = rates(t); wrong <= static_cast<double>(k) / kRocSteps + 1e-9)
          best = std::max(best, hit);
      EXPECT_DOUBLE_EQ(curve[static_cast<std::size_t>(k)], best)
          << "seed " << seed << ", rate " << k << "/50";
    }
    for (const double t : d.score) {
      most = std::max(most, rates(t).first + 1 - rates(t).second);
      if (rates(t).first >= 0.8) highest = std::max(highest, t);
    }
    const OperatingPoint youden = youden_point(d.score, d.positive),
                         stated = point_of_sensitivity(d.score, d.positive, 0.8);
    EXPECT_NEAR(youden.sensitivity() + youden.specificity(), most, 1e-12) << seed;
    EXPECT_EQ(stated.threshold, highest) << seed;
    EXPECT_GE(stated.sensitivity(), 0.8);
    EXPECT_EQ(
        stated.true_positive + stated.false_positive + stated.true_negative + stated.false_negative,
        static_cast<std::int64_t>(d.score.size()));
    // Acting on all: the prevalence less the odds-weighted rest.
    const double prevalence =
        static_cast<double>(std::count(d.positive.begin(), d.positive.end(), 1)) /
        static_cast<double>(d.positive.size());
    const std::vector<double> certain(d.score.size(), 1.0);
    EXPECT_NEAR(net_benefit(certain, d.positive, 0.2), prevalence - (1 - prevalence) * 0.25, 1e-12);
  }
  EXPECT_TRUE(
      std::isnan(roc_curve(std::vector<double>{0.5}, std::vector<std::uint8_t>{1}).front()));
}

// Newcombe 1998, Statistics in Medicine 17:857, table I, method 3: 81 of 263, 15 of 148, 0 of 20,
// 29 of 29.
TEST(Wilson, IsTheOneOfTheLiterature) {
  const double published[4][4] = {{81, 263, 0.2553, 0.3662},
                                  {15, 148, 0.0624, 0.1605},
                                  {0, 20, 0, 0.1611},
                                  {29, 29, 0.8830, 1}};
  for (const auto& [count, of, low, high] : published) {
    const Interval i = wilson_interval(count, of);
    EXPECT_NEAR(i.low, low, 5e-5) << count;
    EXPECT_NEAR(i.high, high, 5e-5) << count;
  }
}

Cohort cohort_of(const ProbeSet& set) {
  Cohort cohort;
  cohort.set = set;
  cohort.depth.assign(static_cast<std::size_t>(set.rows()), 0.5);
  for (std::size_t s = 0; s < set.positive.size(); ++s) {
    cohort.case_facts.push_back({1, 1});
    cohort.kernel.emplace_back("soft");
    cohort.scanner.emplace_back("GE");
    cohort.dataset.emplace_back("a");
    cohort.reader.push_back(-1);
  }
  return cohort;
}

ProtocolOptions quick() {
  ProtocolOptions o;
  o.divisions = 20;
  o.permutations = 0;
  return o;
}

TEST(RocBand, HoldsTheCurveAndHasAWidthWhereAllIsRight) {
  const ProbeSet set = make_probe_set(60, 3, 8, 21, 6);
  const ProtocolResult r = run_protocol(cohort_of(set), "a", quick());
  ASSERT_EQ(r.band.size(), r.roc.size());
  for (std::size_t k = 0; k < r.roc.size(); ++k) {
    EXPECT_LE(r.band[k].low, r.roc[k]);
    EXPECT_GE(r.band[k].high, r.roc[k]);
    EXPECT_GE(r.roc[k], k > 0 ? r.roc[k - 1] : 0);
  }
  HalfSamples perfect = r.halves;
  for (auto& pair : perfect.roc)
    pair = {std::vector<double>(kRocSteps + 1, 1.0), std::vector<double>(kRocSteps + 1, 1.0)};
  const std::vector<Interval> top = roc_band(std::vector<double>(kRocSteps + 1, 1.0), perfect);
  EXPECT_LT(top[10].low, 0.97);
  EXPECT_GT(top[10].low, 0.7);
  EXPECT_EQ(top[10].high, 1);
  EXPECT_TRUE(roc_band(r.roc, {}).empty());
}

TEST(Verdict, SaysWhatTheIntervalAllows) {
  const ProtocolResult good =
      run_protocol(cohort_of(make_probe_set(60, 3, 8, 21, 6)), "a", quick());
  EXPECT_NE(verdict(good).find("better than chance"), std::string::npos) << verdict(good);
  const ProtocolResult noise =
      run_protocol(cohort_of(make_probe_set(60, 3, 8, 22, 0)), "a", quick());
  EXPECT_NE(verdict(noise).find("do not decide"), std::string::npos) << verdict(noise);
  ProtocolResult none = good;
  none.halves.auc.clear();
  EXPECT_NE(verdict(none).find("nothing can be concluded"), std::string::npos);
  ProtocolResult fixed = good;
  fixed.halves.refitted = false;
  EXPECT_NE(verdict(fixed).find("too narrow"), std::string::npos);
}

// Half of the subjects have noise in place of features: their AUC is 0.5, the others' is high, and
// both intervals say so.
TEST(Subgroups, AreJudgedByTheirOwnPairs) {
  ProbeSet set = make_probe_set(160, 3, 6, 5, 6);
  CounterRng rng(3, {1});
  for (std::size_t s = 0; s < 160; s += 2)
    for (std::int64_t i = set.first[s] * 6; i < set.first[s + 1] * 6;
         ++i)  // as wide as the others'
      set.x[static_cast<std::size_t>(i)] = static_cast<float>(
          3.0 + static_cast<double>(i % 6) + (0.2 + static_cast<double>(i % 6 % 5)) * rng.normal());
  Cohort cohort = cohort_of(set);
  for (std::size_t s = 0; s < 160; ++s)
    cohort.scanner[s] = s == 0 ? "unknown" : s % 2 == 0 ? "GE" : "Siemens";
  const Subgroups groups = subgroups_by(cohort, {}, "scanner");
  ASSERT_EQ(groups.names, (std::vector<std::string>{"scanner GE", "scanner Siemens"}));
  EXPECT_EQ(groups.of[0], -1);
  EXPECT_EQ(groups.of[3], 1);
  ProtocolOptions options = quick();
  options.subgroups = {groups};
  const ProtocolResult r = run_protocol(cohort, "a", options);
  ASSERT_EQ(r.subgroups.size(), 2U);
  EXPECT_EQ(r.subgroups[0].subjects, 79);
  EXPECT_LT(r.subgroups[0].interval.low, 0.5);
  EXPECT_GT(r.subgroups[0].interval.high, 0.5);
  EXPECT_GT(r.subgroups[1].interval.low, 0.6) << r.subgroups[1].auc;
  // By explicit loops over the pairs of one fold.
  double won = 0, pairs = 0;
  for (std::size_t i = 0; i < 160; ++i)
    for (std::size_t j = 0; j < 160; ++j) {
      if (set.positive[i] == 0 || set.positive[j] != 0 || groups.of[i] != 1 || groups.of[j] != 1 ||
          r.cv.fold[0][i] != r.cv.fold[0][j])
        continue;
      const double a = r.cv.probability[0][i], b = r.cv.probability[0][j];
      won += a > b ? 1 : a == b ? 0.5 : 0;
      pairs += 1;
    }
  EXPECT_NEAR(r.subgroups[1].auc, won / pairs, 1e-12);
  for (auto& facts : cohort.case_facts) facts = {0, 0.7};
  cohort.case_facts[4] = {0, 0.9};
  EXPECT_EQ(subgroups_by(cohort, {}, "pixel_mm").of[4], 1);
  EXPECT_THROW((void)subgroups_by(cohort, {}, "spacing_mm"), Error) << "known of nobody";
  FeatureTable table;
  table.label_names = {"age", "sex"};
  table.labels.resize(2);
  table.label_words = {{}, {{"f", 0}, {"m", 1}}};
  for (std::size_t s = 0; s < 160; ++s) {
    table.cases.push_back({"c", cohort.set.names[s]});
    table.labels[0].push_back(s == 7 ? -1 : static_cast<std::int64_t>(40 + s % 40));
    table.labels[1].push_back(static_cast<std::int64_t>(s % 2));
  }
  EXPECT_EQ(subgroups_by(cohort, {&table}, "sex").names,
            (std::vector<std::string>{"sex f", "sex m"}));
  const Subgroups age = subgroups_by(cohort, {&table}, "age");
  EXPECT_EQ(age.names.size(), 2U);
  EXPECT_EQ(age.of[7], -1);
  EXPECT_EQ(age.of[39], 1);
  EXPECT_THROW((void)subgroups_by(cohort, {&table}, "weight"), Error);
  for (std::size_t s = 0; s < 160; ++s)
    table.numbers["stiffness_kPa"].push_back(s == 3 ? std::nan("") : 2 + 0.05 * double(s));
  const Subgroups stiffness = subgroups_by(cohort, {&table}, "Stiffness_kPa");
  EXPECT_EQ(stiffness.names.front(), "stiffness_kPa up to 6");
  EXPECT_EQ(stiffness.of[3], -1);
  EXPECT_EQ(stiffness.of[0], 0);
  EXPECT_EQ(stiffness.of[159], 1);
  // Two columns beside each other are what each is alone.
  options.subgroups =
      subgroups_by(cohort, {&table}, std::vector<std::string>{"scanner", "stiffness_kPa"});
  const ProtocolResult both = run_protocol(cohort, "a", options);
  ASSERT_EQ(both.subgroups.size(), 4U);
  for (std::size_t g = 0; g < 2; ++g) {
    EXPECT_EQ(both.subgroups[g].auc, r.subgroups[g].auc);
    EXPECT_EQ(both.subgroups[g].interval.low, r.subgroups[g].interval.low);
  }
  const auto kept = subgroups_of(to_json(both));
  ASSERT_EQ(kept.size(), 4U);
  EXPECT_EQ(kept[3].column, "stiffness_kPa");
  EXPECT_EQ(kept[3].interval.high, both.subgroups[3].interval.high);
  EXPECT_THROW((void)subgroups_by(cohort, {&table}, std::vector<std::string>{"sex", "SEX"}), Error);
}

std::size_t count_of(const std::string& text, const std::string& what) {
  std::size_t n = 0;
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; ++at) ++n;
  return n;
}

TEST(Diagnostics, ShowCountsThresholdsAndNoNames) {
  ProtocolOptions options = quick();
  options.sensitivity = 0.8;
  const ProtocolResult r = run_protocol(cohort_of(make_probe_set(60, 3, 8, 21, 3)), "a", options);
  nlohmann::json result = to_json(r);
  const std::string svg = diagnostics_svg(result, "a <title> & more");
  EXPECT_NE(svg.find("a &lt;title&gt; &amp; more"), std::string::npos);
  EXPECT_NE(svg.find("prefers-color-scheme:dark"), std::string::npos);
  EXPECT_EQ(svg, diagnostics_svg(result, "a <title> & more"));
  for (const std::int64_t n : {r.youden.true_positive, r.youden.false_negative,
                               r.at_sensitivity.false_positive, r.at_sensitivity.true_negative})
    EXPECT_NE(svg.find(">" + std::to_string(n) + "</text>"), std::string::npos) << n;
  EXPECT_NE(svg.find("Sensitivity of 0.80 or more"), std::string::npos);
  EXPECT_EQ(svg.find("sub-17"), std::string::npos) << "a picture names no subject";
  EXPECT_GE(r.at_sensitivity.sensitivity(), 0.8);
  // Of an earlier toolkit: no curve, no thresholds, and no failure.
  result.erase("roc");
  result.erase("operating_points");
  EXPECT_EQ(count_of(diagnostics_svg(result, "t"), "called positive"), 0U);
}

TEST(Forest, PlacesValuesOnOneScale) {
  const std::string svg =
      forest_svg({{"better", 0.1, {0.02, 0.18}, "+0.10", false},
                  {"unknown", std::nan(""), {std::nan(""), std::nan("")}, "not computed", false}},
                 0, "t", "s", "d");
  EXPECT_EQ(count_of(svg, "<circle"), 1U);
  EXPECT_NE(svg.find("not computed"), std::string::npos);
  EXPECT_EQ(svg.find("nan"), std::string::npos);
}

}  // namespace
}  // namespace wsp::train

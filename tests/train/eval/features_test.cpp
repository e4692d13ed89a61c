// Feature tables, the cohorts made of them, and what forbids to trust them.
#include "train/eval/features.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "eval_support.hpp"
#include "io/core/atomic_file.hpp"
#include "io/core/counter_rng.hpp"
#include "io/core/error.hpp"
#include "support/damage.hpp"
#include "support/test_data.hpp"
#include "train/eval/cohort.hpp"
#include "train/eval/overlap.hpp"
#include "train/eval/pca_figure.hpp"
#include "train/eval/published.hpp"

namespace wsp::train {
namespace {

using test::make_features;
using test::message_of;

TEST(Features, ComeBackAsTheyWereAndDamageIsSeen) {
  const wsp::test::TemporaryDirectory scratch;
  FeatureTable t = make_features(10, 1, "a");
  t.cases[3].trained_on = 1;
  const auto path = scratch.path() / "f.h5";
  write_features(path, t);
  const std::string bytes = read_file(path);
  const FeatureTable back = read_features(path);
  EXPECT_EQ(back.values, t.values);
  EXPECT_EQ(back.content, t.content);
  EXPECT_EQ(back.depth, t.depth);
  EXPECT_EQ(back.labels, t.labels);
  EXPECT_EQ(back.facts, t.facts);
  EXPECT_EQ(back.cases[3].kernel, "sharp");
  EXPECT_EQ(back.cases[3].scanner, "Siemens");
  EXPECT_EQ(back.cases[3].phase, "portal");
  EXPECT_EQ(back.cases[4].phase, "unknown");
  EXPECT_EQ(back.cases[3].trained_on, 1);
  EXPECT_EQ(back.cases[4].trained_on, -1);
  write_features(path, t);
  EXPECT_EQ(read_file(path), bytes) << "the same table gives other bytes";
  int seen = 0;
  CounterRng rng(5, {5});
  for (int round = 0; round < 40; ++round) {
    std::string damaged = bytes;
    damaged[rng.below(damaged.size())] ^= 1;
    write_file_atomic(scratch.path() / "d.h5", damaged);
    try {
      const FeatureTable other = read_features(scratch.path() / "d.h5");
      EXPECT_EQ(other.values, t.values);
      EXPECT_EQ(other.labels, t.labels);
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::corrupt);
      ++seen;
    }
  }
  EXPECT_GT(seen, 10);
  EXPECT_THROW((void)read_features(scratch.path() / "absent.h5"), Error);
}

TEST(Cohort, RefusesWhatWouldFlatter) {
  const FeatureTable a = make_features(12, 1, "a");
  const Diagnosis d{"LABEL", "1", ""};
  EXPECT_NE(message_of([&] {
              (void)make_cohort({&a}, {{"grade", "1", ""}});
            }).find("label, stage"),
            std::string::npos);
  EXPECT_NE(message_of([&] {
              (void)make_cohort({&a}, {{"label", "7", ""}});
            }).find("all 12 subjects"),
            std::string::npos);
  FeatureTable other = make_features(12, 2, "b");
  EXPECT_EQ(make_cohort({&a, &other}, {d}).set.subjects(), 24);
  FeatureTable foreign = other;
  foreign.facts["encoder_sha256"] = "zz";
  EXPECT_NE(message_of([&] {
              (void)make_cohort({&a, &foreign}, {d});
            }).find("different encoders"),
            std::string::npos);
  FeatureTable copies = other;
  for (std::size_t i = 0; i < 5; ++i) copies.content[8 + i] = a.content[16 + i];  // 5 of 8 slices
  EXPECT_NE(message_of([&] {
              (void)make_cohort({&a, &copies}, {d});
            }).find("1 volumes stand in a and in b"),
            std::string::npos);
  for (std::size_t i = 0; i < 2; ++i) copies.content[8 + i] = i;  // 3 of 8 are no copy
  EXPECT_NO_THROW((void)make_cohort({&a, &copies}, {d}));
  FeatureTable same_person = other;
  same_person.cases[4].subject = a.cases[2].subject;
  EXPECT_NE(message_of([&] {
              (void)make_cohort({&a, &same_person}, {d});
            }).find("two of the datasets"),
            std::string::npos);
  EXPECT_EQ(shared_subjects(a, {a.cases[2].subject, "nobody"}),
            std::vector<std::string>{a.cases[2].subject});
  // Unknown diagnoses are left out, and a reader's call stands beside.
  EXPECT_EQ(make_cohort({&a}, {{"stage", "2,3", ""}}).set.subjects(), 10);
  const ReaderScores reader = reader_scores(make_cohort({&a}, {{"label", "1", "label"}}));
  EXPECT_EQ(reader.balanced_accuracy, 1);
  const std::vector<std::int64_t> labels = {4, -1, 0, 1, 3, 2, 3};
  for (const auto& [text, expected] :
       std::map<std::string, std::vector<std::int64_t>>{{"F3,F4", {3, 4}},
                                                        {"3", {3}},
                                                        {">=3", {3, 4}},
                                                        {">2", {3, 4}},
                                                        {"<=F1", {0, 1}},
                                                        {"<2", {0, 1}},
                                                        {"0,>=4", {0, 4}}})
    EXPECT_EQ(parse_positive(text).among(labels), expected) << text;
  EXPECT_EQ(parse_positive("F3,F4").text, "3,4");
  EXPECT_EQ(parse_positive(">=F3").text, ">=3");
  for (const char* bad : {"", "F", "3,", "3;4", "F3x", "not 3", "-1", ".4", "=3", "> 3", "3 ", "!3",
                          "3-4", "3..4", "F3,G4", "0,>=F4", "1234567"})
    EXPECT_THROW((void)parse_positive(bad), Error) << bad;
}

TEST(Cohort, AsksTheManifestWhatAWordMeans) {
  const std::map<std::string, std::int64_t> words = {
      {"none", 0}, {"mild fibrosis", 1}, {"F3", 2}, {"F4", 3}, {"n/a", -1}};
  const std::vector<std::int64_t> labels = {0, 1, 2, 3, -1};
  for (const auto& [text, expected] :
       std::map<std::string, std::vector<std::int64_t>>{{"F3,F4", {2, 3}},
                                                        {"F3,3", {2, 3}},
                                                        {">=mild fibrosis", {1, 2, 3}},
                                                        {"<F3", {0, 1}},
                                                        {"2", {2}},
                                                        {"none", {0}}})
    EXPECT_EQ(parse_positive(text, words).among(labels), expected) << text;
  EXPECT_EQ(parse_positive(">F3", words).text, ">2");
  for (const char* bad : {"F5", "F2", "f3", "n/a", "mild", "not 3", "", "F3,"})
    EXPECT_NE(message_of([&] {
                (void)parse_positive(bad, words);
              }).find("the manifest's words F3, F4, mild fibrosis, none"),
              std::string::npos)
        << bad;
  // A number that is a word is the word, and that is said.
  const PositiveClasses grade = parse_positive("2", {{"1", 0}, {"2", 1}});
  EXPECT_EQ(grade.among(labels), std::vector<std::int64_t>{1});
  EXPECT_NE(grade.remark.find("whose class is 1"), std::string::npos);
  // Words are kept with the features.
  FeatureTable t = make_features(12, 1, "a");
  t.label_words = {{{"F0", 0}, {"F3", 1}}, {}};
  const wsp::test::TemporaryDirectory scratch;
  write_features(scratch.path() / "f.h5", t);
  const FeatureTable read = read_features(scratch.path() / "f.h5");
  EXPECT_EQ(read.label_words, t.label_words);
  EXPECT_EQ(make_cohort({&read}, {{"label", "F3", ""}}).set.positive,
            make_cohort({&read}, {{"label", "1", ""}}).set.positive);
  EXPECT_NE(message_of([&] {
              (void)make_cohort({&read}, {{"label", "F4", ""}});
            }).find("words F0, F3"),
            std::string::npos);
}

TEST(TrainingOverlap, KnowsSubjectsByTheWeightsByNameAndByPixels) {
  FeatureTable t = make_features(6, 1, "a");
  const std::vector<std::string> all = subjects_of(t);
  const auto first_of = [](const std::vector<std::string>& overlap) {
    return overlap.empty() ? "" : overlap.front();
  };
  ASSERT_EQ(all.size(), 6U);
  EXPECT_EQ(first_of(training_overlap(t, all)), "");  // trained on another dataset, no word on whom
  t.facts["pretraining_sha256"] = t.facts["dataset_sha256"];
  EXPECT_NE(first_of(training_overlap(t, all)).find("trained on a itself"), std::string::npos);
  FeatureTable random = t;
  random.facts["method"] = "random";
  EXPECT_EQ(first_of(training_overlap(random, all)), "");
  for (std::size_t c = 0; c < 6; ++c) t.cases[c].trained_on = c < 2 ? 1 : 0;
  EXPECT_NE(first_of(training_overlap(t, all)).find("on 2 of the 6 subjects of a, e.g. sub-a100"),
            std::string::npos)
      << first_of(training_overlap(t, all));
  const std::vector<std::string> held_back(all.begin() + 2, all.end());
  EXPECT_EQ(first_of(training_overlap(t, held_back)), "")
      << "of the same dataset, but none of those trained on";
  EXPECT_EQ(first_of(training_overlap(t, held_back, &t)), "")
      << "their own volumes stand in it, and were not trained on";

  FeatureTable pretraining = make_features(6, 2, "b");
  t = make_features(6, 1, "a");
  EXPECT_TRUE(training_overlap(t, all, &pretraining).empty());
  pretraining.cases[5].subject = all[1];
  for (std::size_t i = 0; i < 5; ++i)
    pretraining.content[i] = t.content[16 + i];  // 5 of 8 slices of the third case
  const auto found = training_overlap(t, all, &pretraining);
  ASSERT_EQ(found.size(), 2U);
  EXPECT_NE(found[0].find("1 of the 6 subjects of a stand in b"), std::string::npos) << found[0];
  EXPECT_NE(found[1].find("1 volumes of a have the same pixels"), std::string::npos) << found[1];
  EXPECT_TRUE(training_overlap(t, {all[0], all[3]}, &pretraining).empty())
      << "nobody asked about is in it";
  EXPECT_NE(message_of([&] { judge_overlap(found, false); }).find("--allow-overlap"),
            std::string::npos);
  EXPECT_NO_THROW(judge_overlap(found, true));
  EXPECT_NO_THROW(judge_overlap({}, false));
}

TEST(ShortcutProbes, FindWhatTheFeaturesTell) {
  const FeatureTable t =
      make_features(40, 3, "a");  // spacing and scanner follow the diagnosis, the kernel nothing
  const Cohort cohort = make_cohort({&t}, {{"label", "1", ""}});
  LogisticFits fits(cohort.set);
  double spacing = 0, kernel = 1, scanner = 0;
  for (const Shortcut& s : shortcut_probes(cohort, fits, 5, 1, 1)) {
    if (s.what.starts_with("slice spacing")) spacing = s.auc;
    if (s.what.starts_with("kernel")) kernel = s.auc;
    if (s.what.starts_with("scanner")) scanner = s.auc;
  }
  EXPECT_GT(spacing, 0.8);
  EXPECT_LT(kernel, 0.8);
  EXPECT_GT(scanner, 0.8);
  for (const Shortcut& s : shortcut_probes(cohort, fits, 21, 1, 1)) {
    EXPECT_TRUE(std::isnan(s.auc)) << s.what;
    EXPECT_NE(s.skipped.find("too few for 21 folds"), std::string::npos) << s.what;
  }
}

TEST(PcaFigure, MeasuresWhatTheEyeSees) {
  const FeatureTable t = make_features(30, 4, "a");
  const PcaSummary s = summarise_pca(make_cohort({&t}, {{"label", "1", ""}}), 10, 1, "title <&>");
  EXPECT_GT(std::abs(s.depth_correlation[0]), 0.95);  // the widest axis is depth
  EXPECT_LT(std::abs(s.depth_correlation[1]), 0.2);
  EXPECT_GT(s.class_auc[1], 0.8);
  EXPECT_GT(s.class_silhouette, 0.2);
  EXPECT_EQ(s.figure.lines.size(), 10U);
  EXPECT_EQ(std::count_if(s.figure.lines.begin(), s.figure.lines.end(),
                          [](const auto& l) { return l.series == 1; }),
            5);
  const std::string svg = scatter_svg(s.figure);
  EXPECT_NE(svg.find("title &lt;&amp;&gt;"), std::string::npos);
  std::size_t circles = 0;
  for (std::size_t at = 0; (at = svg.find("<circle", at)) != std::string::npos; ++at) ++circles;
  EXPECT_EQ(circles, 10U * 8 + 2);  // and the legend's
  EXPECT_THROW((void)scatter_svg({}), Error);
}

}  // namespace
}  // namespace wsp::train

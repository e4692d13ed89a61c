#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>

#include "io/core/atomic_file.hpp"
#include "io/core/counter_rng.hpp"
#include "io/core/error.hpp"
#include "support/damage.hpp"
#include "support/test_data.hpp"
#include "train/eval/cohort.hpp"
#include "train/eval/features.hpp"
#include "train/eval/overlap.hpp"
#include "train/eval/pca_figure.hpp"
#include "train/eval/plan.hpp"
#include "train/eval/published.hpp"
#include "train/eval/saved_probe.hpp"
#include "train/eval/table.hpp"

namespace wsp::train {
namespace {

using nlohmann::json;

// Depth runs along feature 0, the diagnosis along feature 1; the rest is noise.
FeatureTable make_features(int cases, std::uint64_t seed, const std::string& dataset) {
  FeatureTable t;
  t.dimensions = 12;
  t.label_names = {"label", "stage"};
  t.labels.resize(2);
  for (int c = 0; c < cases; ++c) {
    CounterRng rng(seed, {static_cast<std::uint64_t>(c)});
    const std::string number = std::to_string(100 + c);
    t.cases.push_back({"case-" + dataset + number, "sub-" + dataset + number,
                       c % 2 == 0 ? 2.0 : 5.0, 0.8, c % 3 == 0 ? "sharp" : "soft",
                       c % 2 == 0 ? "GE" : "Siemens", c == 3 ? "portal" : ""});
    t.labels[0].push_back(c % 2);
    t.labels[1].push_back(c % 5 == 4 ? -1 : c % 5);
    const double centre = 2.0 * (c % 2) + rng.normal();
    for (int s = 0; s < 8; ++s) {
      t.case_id.push_back(c);
      t.depth.push_back(s / 7.0);
      t.content.push_back(rng.bits());
      for (int j = 0; j < 12; ++j)
        t.values.push_back(static_cast<float>(j == 0   ? 8 * s / 7.0
                                              : j == 1 ? centre
                                                       : 0.3 * rng.normal()));
    }
  }
  t.facts = {{"encoder", "tinynet"},       {"method", "wsp"},    {"encoder_sha256", "aa"},
             {"pretraining_sha256", "bb"}, {"dataset", dataset}, {"dataset_sha256", "cc"},
             {"image_size", "64"},         {"precision", "fp32"}};
  return t;
}

std::string message_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::usage) << e.what();
    return e.what();
  }
  return "";
}

TEST(Features, ComeBackAsTheyWereAndDamageIsSeen) {
  const test::TemporaryDirectory scratch;
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
  const test::TemporaryDirectory scratch;
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

TEST(SavedProbe, PredictsAfterAWriteAndARead) {
  const test::TemporaryDirectory scratch;
  const FeatureTable t = make_features(40, 5, "a");
  const Diagnosis d{"label", "1", ""};
  const Cohort cohort = make_cohort({&t}, {d});
  const SavedProbe probe = fit_saved_probe(cohort, {&t}, {d}, 0.1, 30, 3);
  write_probe(scratch.path() / "P.json", probe);
  const SavedProbe back = read_probe(scratch.path() / "P.json");
  const FeatureTable fresh = make_features(20, 6, "fresh");
  const auto predictions = predict(back, fresh);
  ASSERT_EQ(predictions.size(), 20U);
  int right = 0;
  for (std::size_t i = 0; i < 20; ++i) {
    EXPECT_LE(predictions[i].low, predictions[i].high);
    EXPECT_EQ(predictions[i].probability, predict(probe, fresh)[i].probability);
    EXPECT_EQ(predictions[i].driving.size(), 5U);
    right += (predictions[i].probability > 0.5) == (fresh.labels[0][i] == 1) ? 1 : 0;
  }
  EXPECT_GE(right, 14);
  EXPECT_EQ(subjects_fitted_on(back, t), 40);
  ASSERT_EQ(back.sources.size(), 1U);
  EXPECT_EQ(back.sources[0].subjects, 40);
  EXPECT_EQ(median_choice({10, 0.1, 1, 0.01}), 0.1);  // one that was chosen
  FeatureTable foreign = fresh;
  foreign.facts["encoder_sha256"] = "zz";
  EXPECT_NE(message_of([&] { (void)predict(back, foreign); }).find("encoder_sha256"),
            std::string::npos);
  write_file_atomic(scratch.path() / "Q.json", std::string_view("{\"format\": \"wsp-probe\"}"));
  EXPECT_NE(message_of([&] { (void)read_probe(scratch.path() / "Q.json"); }).find("no saved probe"),
            std::string::npos);
}

// A flipped bit is found, or changes nothing that is read (an exponent's e and E).
TEST(SavedProbe, NoFlippedBitIsTakenInSilence) {
  const test::TemporaryDirectory scratch;
  const FeatureTable t = make_features(20, 5, "a");
  const Diagnosis d{"label", "1", ""};
  const auto path = scratch.path() / "P.json", again = scratch.path() / "again.json";
  write_probe(path, fit_saved_probe(make_cohort({&t}, {d}), {&t}, {d}, 0.1, 3, 3));
  const std::string good = read_file(path);
  std::size_t found = 0;
  for (std::size_t i = 0; i < 600; ++i) {
    std::string bad = good;
    const std::size_t at = i * 7919 % good.size();
    bad[at] = static_cast<char>(bad[at] ^ (1 << i % 8));
    write_file_unsynced(path, bad);
    try {
      write_probe(again, read_probe(path));
      EXPECT_EQ(read_file(again), good) << "byte " << at << ", bit " << i % 8;
    } catch (const Error&) {
      ++found;
    }
  }
  EXPECT_GT(found, 500U);
}

// People write plans, so they have no hash: a flip is read as what it says or refused in words.
TEST(Plan, NoFlippedBitIsFatal) {
  const test::TemporaryDirectory scratch;
  const std::string good = read_file(WSP_SOURCE_DIR "/schemas/examples/plan.json");
  std::size_t refused = 0;
  test::for_each_damage(good, [&](const std::string& bad) {
    write_file_unsynced(scratch.path() / "plan.json", bad);
    try {
      (void)load_plan(scratch.path() / "plan.json").cells();
    } catch (const Error&) {
      ++refused;
    }
  });
  EXPECT_GT(refused, good.size() * 3 / 2);
}

TEST(Plan, ThoseShippedAreSound) {
  int plans = 0;
  for (const auto& entry : std::filesystem::directory_iterator(WSP_SOURCE_DIR "/plans")) {
    if (entry.path().extension() != ".json") continue;
    ++plans;
    const Plan plan = load_plan(entry.path());
    EXPECT_EQ(plan.name, entry.path().stem().string());
    std::vector<std::string> names;
    for (const Cell& cell : plan.cells()) names.push_back(cell.name());
    EXPECT_FALSE(names.empty());
    std::sort(names.begin(), names.end());
    EXPECT_EQ(std::adjacent_find(names.begin(), names.end()), names.end())
        << "two cells share a directory";
  }
  EXPECT_EQ(plans, 5);
  // Without a pretraining dataset only what needs none is run.
  for (const Cell& cell : load_plan(WSP_SOURCE_DIR "/plans/tcga-lihc.json").cells())
    EXPECT_TRUE(cell.method == "random" || cell.method == "imagenet" || cell.method == "supervised")
        << cell.name();
}

TEST(Table, ShowsMeansOverSeedsAndFoldsBesideThePaper) {
  Plan plan = load_plan(WSP_SOURCE_DIR "/schemas/examples/plan.json");
  plan.published = true;
  plan.aggregate.clear();
  plan.evaluations.resize(1);
  const auto cell = [](const std::string& method, std::uint64_t seed, double auc) {
    json r{{"auc", {{"folds", {auc, auc + 0.1}}}},
           {"balanced_accuracy", {{"folds", {0.5, 0.7}}}},
           {"predictions", json::array()}};
    for (int s = 0; s < 20; ++s)
      r["predictions"].push_back({{"subject", std::to_string(s)},
                                  {"truth", s % 2},
                                  {"fold", s / 10},
                                  {"probability", {method == "wsp" ? s % 2 : 0.5}}});
    r.update({{"subjects", 20}, {"positive", 10}, {"folds", 2}});
    r["intervals"] = {{"refitted", method == "wsp"},
                      {"half_folds", 2},
                      {"auc_of_halves", {{auc, auc - 0.1}, {auc + 0.1, auc}}}};
    return json{{"cell", method + std::to_string(seed)},
                {"method", method},
                {"backbone", "tinynet"},
                {"seed", seed},
                {"variant", ""},
                {"results", {{"D1", r}}}};
  };
  const auto tables = make_tables(plan, {cell("random", 1, 0.4), cell("random", 2, 0.6),
                                         cell("wsp", 1, 0.8), cell("wsp", 2, 0.8)});
  const auto& auc = tables.front();
  ASSERT_EQ(auc.rows.size(), 3U);
  EXPECT_EQ(auc.rows[0][2].substr(0, 11), "0.55 (0.13)");
  EXPECT_EQ(auc.rows[0][3], "0.64 (0.10)");
  EXPECT_EQ(auc.rows[0][4], "-0.30 [-0.41, -0.17]*") << "the halves of both differ alike";
  EXPECT_EQ(auc.rows[1][2], "-") << "simclr has no cell";
  EXPECT_EQ(auc.rows[2][2], "0.85 (0.06) [0.66, 0.94]");
  EXPECT_NE(auc.notes.back().find("5 of 9 cells are missing"), std::string::npos)
      << auc.notes.back();
  EXPECT_EQ(tables[1].rows[2][1], "0.60 (0.12)");
  const std::string tsv = to_tsv(auc);
  EXPECT_EQ(std::count(tsv.begin(), tsv.end(), '\n'), 4);
  EXPECT_NE(to_html(tables, "a<b").find("<title>a&lt;b</title>"), std::string::npos);
  EXPECT_NE(to_markdown(tables, "t").find("| random | tinynet | 0.55 (0.13)"), std::string::npos);
  EXPECT_EQ(published_auc("resnet18", "wsp", "D1+2")->text(), "0.84 (0.07)");
  EXPECT_EQ(published_balanced_accuracy("readers", "D1")->text(), "0.82");
  EXPECT_FALSE(published_balanced_accuracy("readers", "D2"));
  EXPECT_EQ(published_sigma("tinynet", 0.3, "D2")->text(), "0.82 (0.31)");
  EXPECT_FALSE(published_sigma("resnet18", 0.3, "D2"));
  EXPECT_FALSE(published_auc("tinynet", "imagenet", "D1"));
}

// A cell's results by hand: on each evaluation two folds of AUC and balanced accuracy around the
// numbers given.
json hand_made_cell(const std::string& method, const std::string& backbone,
                    const std::string& variant, double auc, double accuracy, bool reader = false) {
  json results;
  for (const char* e : {"D1", "D2", "D1+2"}) {
    json r{{"auc", {{"folds", {auc - 0.1, auc + 0.1}}}},
           {"balanced_accuracy", {{"folds", {accuracy - 0.1, accuracy + 0.1}}}},
           {"predictions", json::array()}};
    for (int s = 0; s < 8; ++s)
      r["predictions"].push_back({{"subject", std::to_string(s)},
                                  {"truth", s % 2},
                                  {"fold", s / 4},
                                  {"probability", {0.5}}});
    if (reader && std::string(e) == "D1") r["reader"] = {{"balanced_accuracy", 0.66}};
    results[e] = r;
  }
  return {{"cell", Cell{method, backbone, 1, variant, {}}.name()},
          {"method", method},
          {"backbone", backbone},
          {"seed", 1},
          {"variant", variant},
          {"results", results}};
}

Plan plan_of_two_backbones(const std::vector<std::string>& backbones) {
  Plan plan = load_plan(WSP_SOURCE_DIR "/schemas/examples/plan.json");
  plan.published = true;
  plan.methods = {"supervised", "imagenet", "wsp"};
  plan.backbones = backbones;
  plan.seeds = {1};
  plan.weights = {{"resnet18", "resnet18.safetensors"}};
  plan.sigmas = {0.01, 0.1};
  plan.text["ablation"] = {{"kernel", {"rbf", "laplacian"}}, {"depth_scale", {"kept", "liver"}}};
  return plan;
}

const ResultTable& named(const std::vector<ResultTable>& tables, const char* name) {
  return *std::find_if(tables.begin(), tables.end(),
                       [&](const ResultTable& t) { return t.name == name; });
}

using Row = std::vector<std::string>;

TEST(Table, ShowsTwoBackbonesReadersAndTheBetterOfBothBesideThePaper) {
  const Plan plan = plan_of_two_backbones({"tinynet", "resnet18"});
  json supervised = hand_made_cell("supervised", "tinynet", "", 0.6, 0.7);
  supervised["results"].erase("D1+2");
  const auto tables =
      make_tables(plan, {supervised, hand_made_cell("wsp", "tinynet", "", 0.7, 0.5, true),
                         hand_made_cell("imagenet", "resnet18", "", 0.5, 0.55),
                         hand_made_cell("wsp", "resnet18", "", 0.8, 0.65)});
  const ResultTable& auc = named(tables, "auc");
  EXPECT_EQ(auc.header,
            (Row{"method", "backbone", "D1", "D1 in the paper", "D1 minus WSP", "D2",
                 "D2 in the paper", "D2 minus WSP", "D1+2", "D1+2 within datasets",
                 "D1+2 in the paper", "D1+2 minus WSP", "seeds", "permutation p on D1 (median)"}));
  const auto paper = [&](std::size_t row) {
    return Row{auc.rows[row][0], auc.rows[row][1], auc.rows[row][3], auc.rows[row][6],
               auc.rows[row][10]};
  };
  ASSERT_EQ(auc.rows.size(), 5U);  // no ImageNet weights of TinyNet
  EXPECT_EQ(paper(0), (Row{"supervised", "tinynet", "0.79 (0.05)", "0.65 (0.25)", "0.71 (0.04)"}));
  EXPECT_EQ(paper(1), (Row{"wsp", "tinynet", "0.84 (0.12)", "0.91 (0.11)", "0.79 (0.11)"}));
  EXPECT_EQ(paper(2), (Row{"supervised", "resnet18", "0.77 (0.10)", "0.56 (0.29)", "0.72 (0.08)"}));
  EXPECT_EQ(paper(3), (Row{"imagenet", "resnet18", "0.72 (0.17)", "0.76 (0.04)", "0.66 (0.10)"}));
  EXPECT_EQ(paper(4), (Row{"wsp", "resnet18", "0.84 (0.07)", "0.85 (0.10)", "0.84 (0.07)"}));
  EXPECT_EQ(auc.rows[0][8], "-") << "a supervised network is of one dataset";
  EXPECT_EQ(auc.rows[1][2].substr(0, 11), "0.70 (0.14)");
  EXPECT_EQ(auc.rows[2][2], "-") << "resnet18 has no supervised cell";
  EXPECT_EQ(auc.rows[3][11].substr(0, 5), "-0.30") << "against the WSP of its own backbone";
  EXPECT_EQ(auc.rows[4][8].substr(0, 11), "0.80 (0.14)");

  const ResultTable& accuracy = named(tables, "balanced-accuracy");
  EXPECT_EQ(accuracy.header, (Row{"method", "tinynet", "resnet18", "better backbone", "no network",
                                  "in the paper"}));
  ASSERT_EQ(accuracy.rows.size(), 4U);
  EXPECT_EQ(accuracy.rows[0],
            (Row{"supervised", "0.70 (0.14)", "-", "0.70 (0.14)", "", "0.78 (0.04)"}));
  EXPECT_EQ(accuracy.rows[1],
            (Row{"imagenet", "-", "0.55 (0.14)", "0.55 (0.14)", "", "0.74 (0.13)"}));
  EXPECT_EQ(accuracy.rows[2],
            (Row{"wsp", "0.50 (0.14)", "0.65 (0.14)", "0.65 (0.14)", "", "0.85 (0.09)"}));
  EXPECT_EQ(accuracy.rows[3], (Row{"readers", "", "", "", "0.66", "0.82"}));
}

TEST(Table, ShowsThePapersSigmaBesideTinyNetAloneAndNamesTheRunsShownTwice) {
  json again = hand_made_cell("wsp", "tinynet", "sigma=0.1", 0.7, 0.5);
  again["same_as"] = "wsp-tinynet-s1";
  const auto tables =
      make_tables(plan_of_two_backbones({"tinynet", "resnet18"}),
                  {hand_made_cell("wsp", "tinynet", "sigma=0.01", 0.6, 0.5), again,
                   hand_made_cell("wsp", "tinynet", "laplacian,liver,paper", 0.4, 0.5)});
  const ResultTable& sigma = named(tables, "sigma");
  EXPECT_EQ(sigma.header, (Row{"sigma", "D1", "D1 in the paper", "D2", "D2 in the paper", "D1+2",
                               "D1+2 in the paper"}));
  ASSERT_EQ(sigma.rows.size(), 2U);
  EXPECT_EQ((Row{sigma.rows[0][0], sigma.rows[0][2], sigma.rows[0][4], sigma.rows[0][6]}),
            (Row{"0.01", "0.81 (0.07)", "0.85 (0.13)", "0.81 (0.08)"}));
  EXPECT_EQ(sigma.rows[0][1].substr(0, 11), "0.60 (0.14)");
  EXPECT_EQ(sigma.rows[1][1].substr(0, 11), "0.70 (0.14)");
  ASSERT_EQ(sigma.notes.size(), 1U);
  EXPECT_EQ(sigma.notes[0],
            "sigma=0.1 shows the runs of wsp-tinynet-s1, whose training is the same: no repetition "
            "of them.");
  const ResultTable& ablation = named(tables, "ablation");
  EXPECT_EQ(ablation.header, (Row{"kernel", "depth over", "normalisation", "D1", "D2", "D1+2"}));
  ASSERT_EQ(ablation.rows.size(), 4U);
  EXPECT_EQ(ablation.rows[0], (Row{"rbf", "kept", "paper", "-", "-", "-"}));
  EXPECT_EQ((Row{ablation.rows[3].begin(), ablation.rows[3].begin() + 3}),
            (Row{"laplacian", "liver", "paper"}));
  EXPECT_EQ(ablation.rows[3][4].substr(0, 11), "0.40 (0.14)");
  EXPECT_TRUE(ablation.notes.empty());

  const auto other = make_tables(plan_of_two_backbones({"resnet18", "tinynet"}),
                                 {hand_made_cell("wsp", "resnet18", "sigma=0.01", 0.6, 0.5)});
  EXPECT_EQ(named(other, "sigma").header, (Row{"sigma", "D1", "D2", "D1+2"}));
  EXPECT_NE(named(other, "sigma").title.find("resnet18"), std::string::npos);
  EXPECT_EQ(named(other, "sigma").rows[0][1].substr(0, 11), "0.60 (0.14)");
}

}  // namespace
}  // namespace wsp::train

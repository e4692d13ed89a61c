// Saved probes and plans: read as written, and damage is seen.
#include "train/eval/plan.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "eval_support.hpp"
#include "io/core/atomic_file.hpp"
#include "io/core/counter_rng.hpp"
#include "io/core/error.hpp"
#include "support/damage.hpp"
#include "support/test_data.hpp"
#include "train/eval/cohort.hpp"
#include "train/eval/features.hpp"
#include "train/eval/published.hpp"
#include "train/eval/saved_probe.hpp"

namespace wsp::train {
namespace {

using test::make_features;
using test::message_of;

TEST(SavedProbe, PredictsAfterAWriteAndARead) {
  const wsp::test::TemporaryDirectory scratch;
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
  const wsp::test::TemporaryDirectory scratch;
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
  const wsp::test::TemporaryDirectory scratch;
  const std::string good = read_file(WSP_SOURCE_DIR "/schemas/examples/plan.json");
  std::size_t refused = 0;
  wsp::test::for_each_damage(good, [&](const std::string& bad) {
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

}  // namespace
}  // namespace wsp::train

// What wsp-qa says of a dataset as a whole, and of which gravity by which rules.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "io/core/error.hpp"
#include "judge_support.hpp"
#include "preprocess/report/signature.hpp"

namespace wsp::qa {
namespace {

using test::codes_of;
using test::sound_case;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// Two classes of six subjects, one case of 24 slices each.
std::vector<CaseFacts> cohort() {
  std::vector<CaseFacts> cases;
  for (int i = 0; i < 12; ++i) {
    cases.push_back(sound_case("case-" + std::to_string(i), "sub-" + std::to_string(i)));
    cases.back().labels = {i % 2};
    cases.back().pixels.content = 100 + static_cast<std::uint64_t>(i);
    // Each its own quarter of the words: nothing in common with its neighbours.
    cases.back().pixels.signature.assign(64, 0);
    for (std::size_t w = 0; w < 5; ++w)
      cases.back().pixels.signature[static_cast<std::size_t>(i) * 5 + w] = ~std::uint64_t{0};
  }
  return cases;
}

std::vector<std::string> said_of_cohort(const std::function<void(std::vector<CaseFacts>&)>& change,
                                        const DatasetKind& kind = {}) {
  std::vector<CaseFacts> cases = cohort();
  change(cases);
  const Rules rules = load_rules({}, nlohmann::json());
  Judge judge(rules);
  judge_cohort(cases, {"label"}, kind, judge);
  return codes_of(judge.take());
}

TEST(JudgeCohort, SaysWhatNoCaseShows) {
  EXPECT_THAT(said_of_cohort([](auto&) {}), IsEmpty());
  EXPECT_THAT(said_of_cohort([](auto& c) {
                c[2].subject = c[0].subject;
                c[2].split = "val";
              }),
              ElementsAre("SUBJECT_IN_TWO_SPLITS"));
  EXPECT_THAT(said_of_cohort([](auto& c) { c[1].subject = c[0].subject; }),
              ElementsAre("LABEL_CONFLICT"));
  // An unknown label contradicts none.
  EXPECT_THAT(said_of_cohort([](auto& c) {
                c[1].subject = c[0].subject;
                c[1].labels[0] = -1;
              }),
              IsEmpty());
  // Four subjects of a class, held back or flagged ones aside.
  EXPECT_THAT(said_of_cohort([](auto& c) {
                c[1].split = "test";
                c[3].flags = {Code::LIVER_TRUNCATED};
              }),
              ElementsAre("CLASS_TINY"));
  EXPECT_THAT(said_of_cohort([](auto& c) {
                for (const std::size_t i : {1, 3}) c[i].flags = {Code::GAP, Code::MASK_UNSURE};
              }),
              ElementsAre("CLASS_TINY"));
  // 31 slices of a class: a batch of 64 over two classes needs 32.
  EXPECT_THAT(said_of_cohort([](auto& c) {
                for (std::size_t i = 1; i < c.size(); i += 2) c[i].kept = i == 1 ? 6 : 5;
              }),
              ElementsAre("BATCH_INFEASIBLE"));
  EXPECT_THAT(said_of_cohort([](auto& c) {
                for (std::size_t i = 1; i < c.size(); i += 2) c[i].kept = i < 4 ? 6 : 5;
              }),
              IsEmpty());
}

TEST(JudgeCohort, AsksForNoClassesWhereThereAreToBeNone) {
  const auto unlabelled = [](auto& cases) {
    for (CaseFacts& f : cases) f.labels[0] = -1;
  };
  EXPECT_THAT(said_of_cohort(unlabelled), ElementsAre("BATCH_INFEASIBLE"));
  DatasetKind kind;
  kind.without_labels = true;
  EXPECT_THAT(said_of_cohort(unlabelled, kind), ElementsAre("LABELS_ABSENT"));
  kind = {};
  kind.all_slices = true;
  EXPECT_THAT(said_of_cohort(unlabelled, kind), IsEmpty());
}

std::vector<std::string> said_of_pairs(const std::function<void(std::vector<CaseFacts>&)>& change,
                                       const std::vector<KnownVolume>& others = {}) {
  std::vector<CaseFacts> cases = cohort();
  change(cases);
  const Rules rules = load_rules({}, nlohmann::json());
  Judge judge(rules);
  judge_duplicates(cases, others, judge);
  return codes_of(judge.take());
}

TEST(JudgeDuplicates, FindsVolumesThatAreOne) {
  EXPECT_THAT(said_of_pairs([](auto&) {}), IsEmpty());
  const auto alike = [](auto& c) { c[7].pixels.signature = c[3].pixels.signature; };
  EXPECT_THAT(said_of_pairs(alike), ElementsAre("DUPLICATE_VOLUME"));
  // Two series of one study look alike by right, unless they are the same pixels.
  const auto one_subject = [&](auto& c) {
    alike(c);
    c[7].subject = c[3].subject;
  };
  EXPECT_THAT(said_of_pairs(one_subject), IsEmpty());
  EXPECT_THAT(said_of_pairs([&](auto& c) {
                one_subject(c);
                c[7].pixels.content = c[3].pixels.content;
              }),
              ElementsAre("DUPLICATE_VOLUME"));
  // What could not be read is like nothing.
  EXPECT_THAT(said_of_pairs([&](auto& c) {
                alike(c);
                c[7].pixels.slices = 0;
              }),
              IsEmpty());
  const CaseFacts known = cohort()[5];
  EXPECT_THAT(said_of_pairs([](auto&) {}, {{"other", "sub-x", known.pixels.content, {}}}),
              ElementsAre("DUPLICATE_VOLUME"));
}

// The distance by its own definition: bits in one alone over bits in either.
TEST(Signature, DistanceCountsBits) {
  const std::vector<std::uint64_t> a{0b1111, 0b11}, b{0b0111, 0b110};
  int both = 0, either = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    for (int bit = 0; bit < 64; ++bit) {
      const bool x = (a[i] >> bit & 1) != 0, y = (b[i] >> bit & 1) != 0;
      both += x && y ? 1 : 0;
      either += x || y ? 1 : 0;
    }
  EXPECT_DOUBLE_EQ(signature_distance(a, b), 1 - static_cast<double>(both) / either);
  EXPECT_EQ(signature_distance(a, a), 0);
  EXPECT_EQ(signature_distance({0, 0}, {0, 0}), 1);
}

TEST(JudgeLedger, CountsWhatWasRefused) {
  const Rules rules = load_rules({}, nlohmann::json());
  const auto said = [&](std::size_t refused, std::size_t cases) {
    LedgerAccount account;
    account.quarantine.assign(refused, {"case", "case-q", "TRUNCATED_FILE", "", ""});
    Judge judge(rules);
    judge_ledger(account, cases, judge);
    return codes_of(judge.take());
  };
  EXPECT_THAT(said(0, 4), IsEmpty());
  EXPECT_THAT(said(1, 4), ElementsAre("TRUNCATED_FILE"));  // a fifth
  EXPECT_THAT(said(2, 7),
              testing::UnorderedElementsAre("QUARANTINE_HIGH", "TRUNCATED_FILE", "TRUNCATED_FILE"));
}

TEST(JudgeRatings, TakesTheWordExcludeAlone) {
  const Rules rules = load_rules({}, nlohmann::json());
  Judge judge(rules);
  judge_ratings({{"case-1", "exclude"}, {"case-2", "good"}, {"case-99", "exclude"}}, cohort(),
                judge);
  const auto found = judge.take();
  EXPECT_THAT(codes_of(found), ElementsAre("RATED_EXCLUDE"));
  EXPECT_EQ(found[0].case_name, "case-1");
}

TEST(Rules, AFileOverridesAndIsChecked) {
  const auto path =
      std::filesystem::temp_directory_path() /
      ("wsp-rules-" + std::to_string(::testing::UnitTest::GetInstance()->random_seed()) + "-" +
       std::to_string(::getpid()) + ".json");
  const auto with = [&](const nlohmann::json& fields) {
    nlohmann::json text{{"format", "wsp-qa-rules"}, {"version", 1}};
    text.update(fields);
    std::ofstream(path) << text;
    return load_rules(path, nlohmann::json());
  };
  const auto refusal = [&](const nlohmann::json& fields) -> std::string {
    try {
      (void)with(fields);
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::usage);
      return e.what();
    }
    return "";
  };
  const Rules ours = with({{"severity", {{"KERNEL_SHARP", "ignore"}, {"NOISE_HIGH", "error"}}},
                           {"limits", {{"noise_hu", 5}}}});
  EXPECT_EQ(ours.of(Code::KERNEL_SHARP), Severity::ignore);
  EXPECT_EQ(ours.of(Code::HU_OFFSET), Severity::error) << "what is not named keeps its default";
  Judge judge(ours);
  CaseFacts facts = sound_case("case-1", "sub-1");
  facts.kernel = "sharp";
  judge_case(facts, {}, {}, {}, judge);
  const auto found = judge.take();
  ASSERT_EQ(codes_of(found), std::vector<std::string>{"NOISE_HIGH"});
  EXPECT_EQ(found[0].severity, Severity::error);
  EXPECT_THAT(refusal({{"severity", {{"KERNEL_SHRAP", "ignore"}}}}), HasSubstr("KERNEL_SHRAP"));
  EXPECT_THAT(refusal({{"severity", {{"KERNEL_SHARP", "grave"}}}}), HasSubstr("grave"));
  EXPECT_THAT(refusal({{"limits", {{"liver_ml", {900, 100}}}}}), HasSubstr("liver_ml"));
  EXPECT_THAT(refusal({{"limits", {{"nose_hu", 5}}}}), HasSubstr("nose_hu"));
  EXPECT_THAT(refusal({{"limits", {{"noise_hu", -5}}}}), HasSubstr("noise_hu"));
  EXPECT_THAT(refusal({{"limits", {{"noise_hu", {1, 5}}}}}), HasSubstr("one number"));
  EXPECT_THAT(refusal({{"limits", {{"liver_ml", 900}}}}), HasSubstr("two numbers"));
  std::filesystem::remove(path);
}

TEST(Rules, AnOrganWithoutAShapeIsNotJudgedByIt) {
  const Rules spleen =
      load_rules({}, nlohmann::json{{"name", "spleen"}, {"volume_ml", {50, 1500}}});
  EXPECT_EQ(spleen.limits.range("liver_ml"), (Range{50, 1500}));
  Judge judge(spleen);
  CaseDepth depth;
  depth.shape = 9;
  DatasetKind kind;
  kind.organ = "spleen";
  CaseFacts facts = sound_case("case-1", "sub-1");
  facts.liver_ml = 200;
  judge_case(facts, depth, {}, kind, judge);
  EXPECT_THAT(codes_of(judge.take()), IsEmpty());
}

TEST(Judge, PutsTheGravestFirst) {
  const Rules rules = load_rules({}, nlohmann::json());
  Judge judge(rules);
  judge.add(Code::NOISE_HIGH, "case-2", "", "loud");
  judge.add(Code::HU_OFFSET, "case-9", "", "shifted");
  judge.add(Code::HU_OFFSET, "case-1", "", "shifted");
  judge.add(Code::LABEL_MISSING, "case-0", "", "none");
  EXPECT_THAT(codes_of(judge.take()),
              ElementsAre("HU_OFFSET", "HU_OFFSET", "LABEL_MISSING", "NOISE_HIGH"));
}

}  // namespace
}  // namespace wsp::qa

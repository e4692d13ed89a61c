#include "preprocess/pipeline/plan.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "preprocess/pipeline/plan_misfits.hpp"
#include "preprocess/pipeline/scan_report.hpp"
#include "support/test_data.hpp"

namespace wsp {
namespace {

using testing::Contains;
using testing::Not;

// A scan without files on disk: the plan looks at headers only.
class PlanTest : public testing::Test {
 protected:
  Series& add(const std::string& patient, const std::string& study, const std::string& uid,
              double score = 50, Phase phase = Phase::portal) {
    Series series;
    series.key = series.series_uid = uid;
    series.patient_id = patient;
    series.study_uid = study;
    series.relative_path = patient + "/" + uid;
    series.score = score;
    series.phase = phase;
    Plane plane;
    plane.file = scan_.files.size();
    series.planes.push_back(plane);
    FileEntry file;
    file.relative_path = series.relative_path;
    file.code = Code::USED;
    scan_.files.push_back(file);
    scan_.series.push_back(series);
    return scan_.series.back();
  }
  Series& image(const std::string& path) {
    Series& series = add("", "", path);
    series.is_dicom = false;
    series.series_uid.clear();
    series.relative_path = path;
    scan_.files.back().relative_path = path;
    return series;
  }
  IngestPlan plan() {
    const Naming naming(IdMode::keep, SiteKey(std::vector<std::uint8_t>(32, 0)));
    return plan_cases({scan_, config_, manifest_, labels_ ? &*labels_ : nullptr,
                       masks_ ? &*masks_ : nullptr, naming, false});
  }
  void label(const std::string& text) {
    const test::TemporaryDirectory work;
    write_file_atomic(work.path() / "labels.csv", std::string_view(text));
    labels_ = LabelTable::load(work.path() / "labels.csv", manifest_);
  }
  static std::vector<std::string> names(const IngestPlan& plan) {
    std::vector<std::string> found;
    for (const CasePlan& c : plan.cases) found.push_back(c.name);
    std::sort(found.begin(), found.end());
    return found;
  }
  static std::vector<Code> rejected(const IngestPlan& plan) {
    std::vector<Code> codes;
    for (const Rejection& r : plan.rejections) codes.push_back(r.code);
    return codes;
  }
  using Names = std::vector<std::string>;
  using Codes = std::vector<Code>;

  Scan scan_;
  IngestConfig config_;
  DataManifest manifest_ = default_manifest();
  std::optional<LabelTable> labels_;
  std::optional<MaskDirectory> masks_;
};

TEST_F(PlanTest, TakesTheBestSeriesOfAStudyAndSaysSoOfTheOthers) {
  add("P1", "S1", "good", 80);
  add("P1", "S1", "fair", 60);
  const IngestPlan result = plan();
  EXPECT_EQ(names(result), Names{"good"});
  EXPECT_EQ(result.files[1].code, Code::NOT_SELECTED);
  EXPECT_TRUE(result.series[0].chosen);
  EXPECT_FALSE(result.series[1].chosen);
  config_.all_series = true;
  EXPECT_EQ(names(plan()), (Names{"fair", "good"}));
}

TEST_F(PlanTest, AddsTheMaskBonusToTheScoreThatScanShows) {
  add("P1", "S1", "bare", 60);
  add("P1", "S1", "masked", 50);
  MaskObject mask;
  mask.file = scan_.files.size();
  mask.series_uids = {"masked"};
  FileEntry file;
  file.code = Code::USED;
  scan_.files.push_back(file);
  scan_.masks.push_back(mask);
  EXPECT_EQ(names(plan()), Names{"masked"});
  manifest_.score_weights["mask"] = 0.5;
  const IngestPlan result = plan();
  EXPECT_EQ(names(result), Names{"masked"});
  EXPECT_DOUBLE_EQ(result.series[1].score, 65);
  const auto report = scan_report(scan_, result, false);
  EXPECT_EQ(report["series"][1]["score"], 65);
  EXPECT_EQ(report["series"][1]["chosen"], true);
  manifest_.score_weights["mask"] = 0;
  EXPECT_EQ(names(plan()), Names{"bare"});
}

TEST_F(PlanTest, FollowsPinsAndCountsThoseThatDoNothing) {
  add("P1", "S1", "best", 80);
  add("P1", "S1", "pinned", 10, Phase::arterial);
  add("P2", "S2", "other", 50);
  add("P2", "S2", "scout", 0).code = Code::LOCALIZER;
  manifest_.pin_series = {"pinned", "scout", "nowhere", "gone"};
  const IngestPlan result = plan();
  EXPECT_EQ(names(result), (Names{"other", "pinned"}));
  EXPECT_EQ(result.unmatched_pins, 2U);
  EXPECT_EQ(result.unusable_pins, 1U);
  for (const CasePlan& c : result.cases) {
    EXPECT_EQ(c.pinned, c.name == "pinned");
    // What the user pinned is not questioned; the study whose pin failed says so.
    EXPECT_THAT(c.flags, Not(Contains(Code::PHASE_UNSURE)));
    EXPECT_EQ(std::count(c.flags.begin(), c.flags.end(), Code::PIN_UNUSABLE),
              c.name == "other" ? 1 : 0);
  }
}

TEST_F(PlanTest, LeavesAnUnknownPhaseToTheLiverWherePortalIsRequired) {
  config_.require_portal = true;
  add("P1", "S1", "silent", 50, Phase::unknown);
  add("P2", "S2", "late", 50, Phase::delayed);
  add("P3", "S3", "early", 90, Phase::arterial);
  add("P3", "S3", "quiet", 20, Phase::unknown);
  const IngestPlan result = plan();
  EXPECT_EQ(names(result), (Names{"quiet", "silent"}));
  EXPECT_EQ(rejected(result), Codes{Code::PHASE_NOT_PORTAL});
  EXPECT_EQ(result.files[1].code, Code::PHASE_NOT_PORTAL);
  EXPECT_THAT(result.cases[0].flags, Contains(Code::PHASE_UNSURE));
  manifest_.pin_series = {"late"};
  EXPECT_EQ(names(plan()), (Names{"late", "quiet", "silent"}));
}

TEST_F(PlanTest, KnowsAPersonByIssuerAndIdOrByTheMap) {
  add("17", "S1", "a").issuer = "HOSPITAL A";
  add("17", "S2", "b").issuer = "HOSPITAL B";
  add("X", "S3", "c");
  add("Y", "S4", "d");
  manifest_.subject_map = {{"X", "person-1"}, {"S4", "person-1"}};
  std::map<std::string, std::string> subjects;
  for (const CasePlan& c : plan().cases) subjects[c.name] = c.subject;
  EXPECT_NE(subjects["a"], subjects["b"]);
  EXPECT_EQ(subjects["c"], "person-1");
  EXPECT_EQ(subjects["d"], "person-1");
}

TEST_F(PlanTest, FlagsOrRefusesAPatientWithoutAnId) {
  add("", "S1", "a");
  add("Anonymous", "S2", "b");
  const IngestPlan flagged = plan();
  ASSERT_EQ(flagged.cases.size(), 2U);
  EXPECT_NE(flagged.cases[0].subject, flagged.cases[1].subject);
  for (const CasePlan& c : flagged.cases) EXPECT_THAT(c.flags, Contains(Code::SUBJECT_UNVERIFIED));
  config_.strict_subjects = true;
  EXPECT_EQ(rejected(plan()), (Codes{Code::SUBJECT_MISSING, Code::SUBJECT_MISSING}));
}

TEST_F(PlanTest, QuarantinesOneIdOfTwoPersons) {
  add("17", "S1", "a").patient_sex = "F";
  add("17", "S2", "b").patient_sex = "M";
  add("18", "S3", "c").patient_birth_date = "19500101";
  add("18", "S4", "d").patient_birth_date = "19510101";
  add("19", "S5", "e").patient_sex = "F";
  const IngestPlan result = plan();
  EXPECT_EQ(names(result), Names{"e"});
  EXPECT_EQ(rejected(result), Codes(4, Code::SUBJECT_CONFLICT));
}

TEST_F(PlanTest, LabelsBothWays) {
  add("A", "S1", "a");
  add("B", "S2", "b");
  add("C", "S3", "c");
  manifest_.split_column = "split";
  label("subject,label,split\nA,2,test\nB,0,train\nB,1,train\nZ,3,train\n");
  const IngestPlan result = plan();
  EXPECT_EQ(names(result), (Names{"a", "c"}));
  EXPECT_EQ(rejected(result), Codes{Code::LABEL_AMBIGUOUS});
  for (const CasePlan& c : result.cases) {
    EXPECT_EQ(c.labels, std::vector<std::int64_t>{c.name == "a" ? 2 : -1});
    EXPECT_EQ(c.split, c.name == "a" ? "test" : "");
    EXPECT_EQ(std::count(c.flags.begin(), c.flags.end(), Code::LABEL_MISSING), c.name == "c");
  }
  EXPECT_EQ(result.unlabelled, 1U);
  EXPECT_EQ(labels_->unmatched_row_numbers(), std::vector<std::size_t>{4});
}

TEST_F(PlanTest, KnowsAVolumesPersonByTheManifestOnly) {
  image("siteA/001.nii.gz");
  image("siteB/001.nii.gz");
  image("siteB/002.nii.gz");
  const auto subjects = [&] {
    std::map<std::string, std::pair<std::string, bool>> found;  // subject, unverified
    for (const CasePlan& c : plan().cases)
      found[scan_.series[c.series].key] = {
          c.subject, std::count(c.flags.begin(), c.flags.end(), Code::SUBJECT_UNVERIFIED) > 0};
    return found;
  };
  auto found = subjects();
  EXPECT_NE(found["siteA/001.nii.gz"].first, found["siteB/001.nii.gz"].first);
  for (const auto& [key, subject] : found) EXPECT_TRUE(subject.second) << key;
  // One person in two folders, joined by path, stem or folder and stem.
  manifest_.subject_map = {{"siteA/001.nii.gz", "one"}, {"siteB/002", "one"}};
  found = subjects();
  EXPECT_EQ(found["siteA/001.nii.gz"], std::pair(std::string("one"), false));
  EXPECT_EQ(found["siteB/002.nii.gz"], std::pair(std::string("one"), false));
  EXPECT_TRUE(found["siteB/001.nii.gz"].second);
  manifest_.subject_map = {{"001", "one"}, {"siteB/001", "two"}};
  found = subjects();
  EXPECT_EQ(found["siteA/001.nii.gz"].first, "one");
  EXPECT_EQ(found["siteB/001.nii.gz"].first, "two");
  manifest_.subject_map.clear();
  manifest_.subject_pattern = "([0-9]+)\\.nii";
  EXPECT_EQ(subjects()["siteB/002.nii.gz"], std::pair(std::string("002"), false));
  manifest_.subject_pattern.clear();
  config_.strict_subjects = true;
  EXPECT_EQ(rejected(plan()), Codes(3, Code::SUBJECT_MISSING));
}

TEST_F(PlanTest, WritesOfOneSexOrDateDoNotConflict) {
  for (const auto& [sex, date] : {std::pair{"F", "19500101"},
                                  {"f", "1950-01-01"},
                                  {"Female ", "1950.01.01"},
                                  {"W", "01.01.1950"},
                                  {"O", ""},
                                  {"", "1950"},
                                  {"weiblich", "19000101"}}) {
    Series& series = add("17", "S", "u" + std::to_string(scan_.series.size()));
    series.study_uid = series.series_uid;
    series.patient_sex = sex;
    series.patient_birth_date = date;
  }
  EXPECT_EQ(plan().cases.size(), 7U);
  scan_.series[0].patient_birth_date = "1950-01-02";
  EXPECT_EQ(rejected(plan()), Codes(7, Code::SUBJECT_CONFLICT));
}

// Two people whose IDs were blanked in one study.
TEST_F(PlanTest, TellsPeopleWithoutAnIdApart) {
  for (const char* id : {"", "000000"}) {
    scan_ = {};
    add(id, "S1", "a").patient_sex = "F";
    add(id, "S1", "b").patient_sex = "M";
    add(id, "S1", "c").patient_sex = "m";
    const IngestPlan result = plan();
    ASSERT_EQ(result.cases.size(), 2U);
    EXPECT_NE(result.cases[0].subject, result.cases[1].subject);
    for (const CasePlan& c : result.cases) {
      EXPECT_THAT(c.flags, Contains(Code::SUBJECT_UNVERIFIED));
      EXPECT_EQ(c.subject.find("F"), std::string::npos) << c.subject;
    }
    // A series that does not say whose it is could be of either.
    add(id, "S1", "d");
    EXPECT_EQ(rejected(plan()), Codes{Code::SUBJECT_CONFLICT});
  }
}

TEST_F(PlanTest, LabelsNoTwoPeopleByOneRow) {
  image("siteA/001.nii.gz");
  image("siteB/001.nii.gz");
  label("subject,label\n001,3\n");
  EXPECT_EQ(rejected(plan()), (Codes{Code::LABEL_AMBIGUOUS, Code::LABEL_AMBIGUOUS}));
  label("subject,label\nsiteA/001,3\n");
  IngestPlan result = plan();
  ASSERT_EQ(result.cases.size(), 2U);
  for (const CasePlan& c : result.cases)
    EXPECT_EQ(c.labels[0], scan_.series[c.series].key == "siteA/001.nii.gz" ? 3 : -1);
  label("subject,label\nsiteC/001,3\nsiteA/001,1\n");
  EXPECT_THAT(plan().hints, Contains("row 1 would match a case if the folders were the same"));
  // Joined by the manifest they are one.
  manifest_.subject_map = {{"001", "one"}};
  label("subject,label\n001,3\n");
  EXPECT_EQ(plan().cases.size(), 2U);
  // Placeholders and the names of DICOM files are no keys.
  manifest_.subject_map.clear();
  scan_ = {};
  add("ANON", "S1", "a").relative_path = "x/1.dcm";
  add("", "S2", "b").relative_path = "y/1.dcm";
  label("subject,label\nANON,3\n1,2\n");
  result = plan();
  EXPECT_THAT(result.hints, Contains(testing::HasSubstr("2 cases have no patient ID")));
  ASSERT_EQ(result.cases.size(), 2U);
  for (const CasePlan& c : result.cases) EXPECT_THAT(c.flags, Contains(Code::LABEL_MISSING));
  // One verified person's studies share a row.
  scan_ = {};
  add("17", "S1", "a");
  add("17", "S2", "b");
  label("subject,label\n17,3\n");
  for (const CasePlan& c : plan().cases) EXPECT_EQ(c.labels[0], 3);
}

TEST_F(PlanTest, RefusesATableOfWhichNothingFits) {
  add("00471", "S1", "1.2.3");
  add("P\xC3\xBC", "S2", "1.2.4");
  add("Case 7", "S3", "1.2.5");
  label("subject,label\n471,3\nPu\xCC\x88,1\ncase 7,1\nCASE7,1\n1.2.4,0\nx,0\n");
  IngestPlan result = plan();
  ASSERT_EQ(result.misfits.size(), 1U);
  EXPECT_THAT(result.misfits[0], testing::HasSubstr("none of the 6 rows"));
  EXPECT_THAT(result.hints, Contains("row 1 would match a case if leading zeros were the same"));
  EXPECT_THAT(result.hints,
              Contains("row 3 would match a case if upper and lower case were the same"));
#ifdef WSP_HAS_UTF8PROC
  EXPECT_THAT(result.hints, Contains(testing::HasSubstr("row 2 would match a case if accented")));
#endif
  EXPECT_THAT(result.hints, Contains("row 4 would match a case if leading zeros, case, spaces and "
                                     "Unicode form were the same"));
  for (const auto& hint : result.hints) EXPECT_EQ(hint.find("471"), std::string::npos);
  try {
    refuse_misfits(result);
    ADD_FAILURE();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::no_input);
    EXPECT_THAT(e.what(), testing::HasSubstr("hint: row 1 would"));
  }
  label("subject,label\n1.2.3,3\n");
  EXPECT_THAT(plan().hints,
              Contains(testing::HasSubstr(
                  "1 rows would match a case if the manifest's key were series_uid")));
  label("subject,label\n00471,3\nx,0\n");
  EXPECT_NO_THROW(refuse_misfits(plan()));
  scan_ = {};  // nothing to fit
  EXPECT_NO_THROW(refuse_misfits(plan()));
}

TEST_F(PlanTest, RefusesMasksOfWhichNothingFits) {
  const test::TemporaryDirectory work;
  add("P1", "S1", "1.2.3");
  write_file_atomic(work.path() / "P2.nii", std::string_view("x"));
  masks_.emplace(work.path());
  EXPECT_THROW(refuse_misfits(plan()), Error);
  write_file_atomic(work.path() / "P1.nii", std::string_view("x"));
  masks_.emplace(work.path());
  IngestPlan result = plan();
  EXPECT_NO_THROW(refuse_misfits(result));
  ASSERT_EQ(result.cases.size(), 1U);
  EXPECT_EQ(result.cases[0].mask_files, std::vector<std::filesystem::path>{work.path() / "P1.nii"});
  add("P1", "S2", "1.2.4");
  result = plan();
  EXPECT_EQ(rejected(result), (Codes{Code::MASK_AMBIGUOUS, Code::MASK_AMBIGUOUS}));
  EXPECT_NO_THROW(refuse_misfits(result));
}

// A table may give one file to two volumes of one person, not to two people.
TEST_F(PlanTest, OneMaskFileIsOnePersons) {
  const test::TemporaryDirectory work;
  write_file_atomic(work.path() / "m.nii", std::string_view("x"));
  add("P1", "S1", "1.2.3");
  add("P2", "S2", "1.2.4");
  masks_.emplace(
      work.path(),
      std::vector<MaskRow>{{"1.2.3", work.path() / "m.nii"}, {"1.2.4", work.path() / "m.nii"}},
      false);
  EXPECT_EQ(rejected(plan()), (Codes{Code::MASK_AMBIGUOUS, Code::MASK_AMBIGUOUS}));
  scan_.series[1].patient_id = "P1";
  EXPECT_EQ(plan().cases.size(), 2U);
}

// NIfTI volumes whose names differ in the extension only.
TEST_F(PlanTest, RefusesTheSecondCaseOfOneName) {
  for (const char* path : {"liver.nii", "liver.nii.gz"}) image(path);
  const IngestPlan result = plan();
  EXPECT_EQ(names(result), Names{"liver"});
  EXPECT_EQ(rejected(result), Codes{Code::DUPLICATE_CASE});
}

TEST_F(PlanTest, PersonsWithoutAnIdInOneStudyAreSubjectsOfTheirOwn) {
  for (const char* key : {"1.2#1", "1.2#2"}) {
    Series& series = add("", "S1", "1.2");
    series.key = key;
    series.several_persons = true;
  }
  config_.all_series = true;
  const IngestPlan result = plan();
  ASSERT_EQ(result.cases.size(), 2U);
  EXPECT_NE(result.cases[0].subject, result.cases[1].subject);
  for (const CasePlan& c : result.cases) EXPECT_THAT(c.flags, Contains(Code::SUBJECT_UNVERIFIED));
}

}  // namespace
}  // namespace wsp

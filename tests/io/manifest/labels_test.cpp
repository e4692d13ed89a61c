#include <gtest/gtest.h>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/manifest/csv.hpp"
#include "io/manifest/manifest.hpp"
#include "support/test_data.hpp"

namespace wsp {
namespace {

LabelTable table(const std::string& text, const DataManifest& manifest = default_manifest()) {
  const test::TemporaryDirectory work;
  write_file_atomic(work.path() / "labels.csv", std::string_view(text));
  return LabelTable::load(work.path() / "labels.csv", manifest);
}

CaseKeys patient(const std::string& id) {
  CaseKeys keys;
  keys.patient_id = id;
  return keys;
}

TEST(Labels, ReadThePublishedTableOfTcgaLihc) {
  WSP_REQUIRE_TEST_DATA(data);
  const auto manifest = load_manifest(WSP_SOURCE_DIR "/data-manifests/tcga-lihc.json");
  LabelTable labels = LabelTable::load(data / "lihc_labels.csv", manifest);
  ASSERT_EQ(labels.rows(), 49U);
  const CsvTable csv = parse_csv(read_file(data / "lihc_labels.csv"), "lihc");
  int healthy = 0, pathological = 0;
  for (const auto& row : csv.rows) {
    CaseKeys keys;
    keys.relative_path = "images/" + row[1];
    const auto found = labels.find(keys);
    ASSERT_EQ(found.state, LabelTable::Lookup::State::found);
    ++(found.labels.values[0] == 0 ? healthy : pathological);
    EXPECT_EQ(found.labels.values[1], std::stoi(row[3]));
  }
  EXPECT_EQ(healthy, 34);
  EXPECT_EQ(pathological, 15);
  EXPECT_EQ(labels.unmatched_rows(), 0U);
}

TEST(Labels, CountWhatDoesNotMatchBothWays) {
  LabelTable labels = table("subject,label\nA,0\nB,3\nC,\n");
  EXPECT_EQ(labels.find(patient("B")).labels.values, std::vector<std::int64_t>{3});
  EXPECT_EQ(labels.find(patient("C")).labels.values, std::vector<std::int64_t>{-1});
  EXPECT_EQ(labels.find(patient("Z")).state, LabelTable::Lookup::State::missing);
  EXPECT_EQ(labels.unmatched_row_numbers(), std::vector<std::size_t>{1});
}

TEST(Labels, TakeAgreeingDuplicatesAndNameContradictions) {
  LabelTable labels = table("subject,label\nA,1\nA,1\nB,0\nB,2\n");
  EXPECT_EQ(labels.find(patient("A")).state, LabelTable::Lookup::State::found);
  EXPECT_EQ(labels.find(patient("B")).state, LabelTable::Lookup::State::ambiguous);
}

TEST(Labels, ReadWhatSpreadsheetsWrite) {
  DataManifest manifest = default_manifest();
  manifest.labels[0].values = {{"none", 0}, {"mild; early", 1}};
  LabelTable labels = table("\xEF\xBB\xBFsubject;label\r\n A1 ;none\r\n\"B\"\"2\";\"mild; early\"\r\n\r\n", manifest);
  EXPECT_EQ(labels.find(patient("A1")).labels.values, std::vector<std::int64_t>{0});
  EXPECT_EQ(labels.find(patient("B\"2")).labels.values, std::vector<std::int64_t>{1});
}

TEST(Labels, SayWhatIsWrongWhereAndWhatWasExpected) {
  const auto refused = [](const std::string& text, std::initializer_list<const char*> words) {
    try {
      (void)table(text);
      ADD_FAILURE() << "accepted: " << text;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::usage);
      for (const char* word : words)
        EXPECT_NE(std::string(e.what()).find(word), std::string::npos) << e.what();
    }
  };
  refused("patient,label\nA,1\n", {"'subject'", "'patient'"});
  refused("subject,label\nA,1\nB,mild\n", {"row 2", "'label'", "'mild'"});
  refused("subject,label\nA,1,7\n", {"row 1", "3 cells", "2"});
  refused("subject,label\nA,\"1\n", {"quote"});
  refused("subject,label\n,1\n", {"row 1", "empty"});
  refused("", {"empty"});
  refused("subject,label\n\xFF\xFE,1\n", {"UTF-8"});
}

}  // namespace
}  // namespace wsp

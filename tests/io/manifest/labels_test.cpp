// Label tables: what their cells say, and what is refused.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/manifest/csv.hpp"
#include "io/manifest/manifest.hpp"
#include "labels_support.hpp"
#include "support/damage.hpp"
#include "support/test_data.hpp"

namespace wsp {
namespace {

using test::Classes;
using test::classes;
using test::find;
using test::image;
using test::of_numbers;
using test::patient;
using test::table;

TEST(Labels, ReadThePublishedTableOfTcgaLihc) {
  WSP_REQUIRE_TEST_DATA(data);
  const auto manifest = load_manifest(WSP_SOURCE_DIR "/data-manifests/tcga-lihc.json");
  LabelTable labels = LabelTable::load(data / "lihc_labels.csv", manifest);
  ASSERT_EQ(labels.rows(), 49U);
  const CsvTable csv = parse_csv(read_file(data / "lihc_labels.csv"), "lihc");
  int healthy = 0, pathological = 0;
  for (const auto& row : csv.rows) {
    const auto found = find(labels, image("images/" + row[1]));
    ASSERT_EQ(found.state, LabelTable::Lookup::State::found);
    ++(found.labels.values[0] == 0 ? healthy : pathological);
    EXPECT_EQ(found.labels.values[1], std::stoi(row[3]));
  }
  EXPECT_EQ(healthy, 34);
  EXPECT_EQ(pathological, 15);
  EXPECT_EQ(labels.unmatched_rows(), 0U);
}

// Neither file has a hash: people write them. Two flipped bits of each byte, and every cut, are
// as what it says or refused in words, and most are refused.
TEST(Labels, NoFlippedBitOfTableOrManifestIsFatal) {
  const test::TemporaryDirectory work;
  const std::string manifest = read_file(WSP_SOURCE_DIR "/schemas/examples/manifest.json"),
                    csv = "subject,label,fibrosis\nA,0,F0\n\"B, x\",3,F4\nC,,F1\n";
  std::size_t refused = 0, tried = 0;
  const auto each = [&](const std::string& good, const std::filesystem::path& path,
                        const std::function<void()>& read) {
    test::for_each_damage(good, [&](const std::string& bad) {
      write_file_unsynced(path, bad);
      ++tried;
      try {
        read();
      } catch (const Error& e) {
        ++refused;
        EXPECT_NE(std::string(e.what()), "");
      }
    });
  };
  each(manifest, work.path() / "m.json", [&] { (void)load_manifest(work.path() / "m.json"); });
  EXPECT_GT(refused, tried / 2);
  const DataManifest plain = default_manifest();
  each(csv, work.path() / "l.csv", [&] { (void)LabelTable::load(work.path() / "l.csv", plain); });
}

TEST(Labels, CountWhatDoesNotMatchBothWays) {
  LabelTable labels = table("subject,label\nA,0\nB,3\nC,\n");
  EXPECT_EQ(find(labels, patient("B")).labels.values, std::vector<std::int64_t>{3});
  EXPECT_EQ(find(labels, patient("C")).labels.values, std::vector<std::int64_t>{-1});
  EXPECT_EQ(find(labels, patient("Z")).state, LabelTable::Lookup::State::missing);
  EXPECT_EQ(labels.unmatched_row_numbers(), std::vector<std::size_t>{1});
}

TEST(Labels, TakeAgreeingDuplicatesAndNameContradictions) {
  LabelTable labels = table("subject,label\nA,1\nA,1\nB,0\nB,2\n");
  EXPECT_EQ(find(labels, patient("A")).state, LabelTable::Lookup::State::found);
  EXPECT_EQ(find(labels, patient("B")).state, LabelTable::Lookup::State::ambiguous);
}

TEST(Labels, ReadWhatSpreadsheetsWrite) {
  DataManifest manifest = default_manifest();
  manifest.labels[0].values = {{"none", 0}, {"mild; early", 1}};
  LabelTable labels = table(
      "\xEF\xBB\xBFsubject;label\r\n A1 ;none\r\n\"B\"\"2\";\"mild; early\"\r\n\r\n", manifest);
  EXPECT_EQ(find(labels, patient("A1")).labels.values, std::vector<std::int64_t>{0});
  EXPECT_EQ(find(labels, patient("B\"2")).labels.values, std::vector<std::int64_t>{1});
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
  refused("subject,label\nA,1\nB,mild\n", {"row 2", "'label'", "integer", "4 bytes"});
  refused("subject,label,label\nA,1,2\n", {"2 columns 'label'", "expected one"});
  refused("subject,label\n\n\nA,1\nB,19981224\n", {"row 2", "line 5", "32767"});
  refused("subject,label\nA,-2\n", {"row 1", "integer"});
  refused("subject,label\nA,1.5\n", {"row 1", "integer"});
  refused("subject,label\nA,1,7\n", {"row 1", "3 cells", "2"});
  refused("subject,label\nA\n", {"row 1", "1 cells", "2"});
  refused("subject,label\nA,\"1\nB,2\n", {"row 1", "line 2", "quote"});
  refused("subject,label\nA,\"1\"2\n", {"row 1", "quote"});
  refused("subject,label\n,1\n", {"row 1", "empty"});
  refused("", {"empty", "header"});
  refused("\xEF\xBB\xBF\r\n\r\n", {"empty", "header"});
  refused(std::string("subject,label\nA,\0001\n", 18), {"UTF-8", "line 2"});
  for (const char* bytes :
       {"\xC0\xAF", "\xE0\x80\xAF", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xC3", "\x80"})
    refused("subject,label\nA,1\n" + std::string(bytes), {"UTF-8", "line 3"});
  refused("subject,label\n\xFF\xFE,1\n", {"UTF-8"});
}

TEST(Labels, MapWordsAndSayWhichAreKnown) {
  DataManifest manifest = default_manifest();
  manifest.labels[0].values = {{"none", 0}, {"severe", 3}};
  manifest.labels[0].missing = {"n/a"};
  LabelTable labels = table("subject,label\nA,severe\nB,n/a\nC,\n", manifest);
  EXPECT_EQ(find(labels, patient("A")).labels.values, std::vector<std::int64_t>{3});
  EXPECT_EQ(find(labels, patient("B")).labels.values, std::vector<std::int64_t>{-1});
  EXPECT_EQ(find(labels, patient("C")).labels.values, std::vector<std::int64_t>{-1});
  try {
    (void)table("subject,label\nA,severe\nB,Severe\n", manifest);
    ADD_FAILURE() << "'Severe' was accepted";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::usage);
    for (const char* word : {"row 2", "line 3", "'label'", "'none', 'severe'"})
      EXPECT_NE(std::string(e.what()).find(word), std::string::npos) << e.what();
  }
}

// A name that slipped into the label's column must not reach a log.
TEST(Labels, NeverRepeatACell) {
  DataManifest words = default_manifest();
  words.labels[0].values = {{"none", 0}};
  DataManifest splits = default_manifest();
  splits.split_column = "split";
  for (const auto& [text, manifest] : {std::pair<std::string, DataManifest>{
                                           "subject,label\nA,Jane Roe 1950\n", default_manifest()},
                                       {"subject,label\nA,Jane Roe 1950\n", words},
                                       {"subject,label,split\nA,1,Jane Roe 1950\n", splits}}) {
    try {
      (void)table(text, manifest);
      ADD_FAILURE() << "accepted: " << text;
    } catch (const Error& e) {
      EXPECT_EQ(std::string(e.what()).find("Roe"), std::string::npos) << e.what();
      EXPECT_NE(std::string(e.what()).find("row 1"), std::string::npos) << e.what();
    }
  }
}

TEST(Labels, ReadClassesThatPandasWroteAsDecimals) {
  LabelTable labels = table("subject,label\nA,2.0\nB,\n");
  EXPECT_EQ(find(labels, patient("A")).labels.values, std::vector<std::int64_t>{2});
  // Also where the manifest names the numbers.
  DataManifest manifest = default_manifest();
  manifest.labels[0].values = {{"0", 0}, {"1", 0}, {"2", 1}};
  manifest.labels[0].missing = {"9"};
  LabelTable named = table("subject,label\nA,2.0\nB,9.0\nC,1\n", manifest);
  EXPECT_EQ(find(named, patient("A")).labels.values, std::vector<std::int64_t>{1});
  EXPECT_EQ(find(named, patient("B")).labels.values, std::vector<std::int64_t>{-1});
  EXPECT_EQ(find(named, patient("C")).labels.values, std::vector<std::int64_t>{0});
}

TEST(Labels, ReadNumbersAsTheyAreWritten) {
  const std::string text =
      "subject,label,kpa,age\nA,1,7.3,61.5\nB,,,1e2\nC,0,n/a,-0.25\nD,2,-1.0,0\nE,2, 12 ,5e-324\n";
  LabelTable labels = table(text, of_numbers());
  const auto numbers = [&](const char* id) { return find(labels, patient(id)).labels.continuous; };
  EXPECT_EQ(numbers("A"), (std::vector<double>{7.3, 61.5}));
  EXPECT_TRUE(same_numbers(numbers("B"), {std::nan(""), 100}));
  EXPECT_TRUE(same_numbers(numbers("C"), {std::nan(""), -0.25}));
  EXPECT_TRUE(same_numbers(numbers("D"), {std::nan(""), 0}));
  EXPECT_EQ(numbers("E"), (std::vector<double>{12, 5e-324}));
  EXPECT_FALSE(same_numbers({std::nan("")}, {0}));
  EXPECT_FALSE(same_numbers({1}, {1, 1}));
}

TEST(Labels, ReadDecimalCommasWhereTheManifestSaysSo) {
  DataManifest german = of_numbers();
  german.continuous[0].decimal = ',';
  LabelTable labels =
      table("subject;label;kpa;age\nA;1;7,3;61.5\nB;1;-1,0;60\nC;0;12;59\n", german);
  EXPECT_EQ(find(labels, patient("A")).labels.continuous, (std::vector<double>{7.3, 61.5}));
  EXPECT_TRUE(same_numbers(find(labels, patient("B")).labels.continuous, {std::nan(""), 60}));
  EXPECT_EQ(find(labels, patient("C")).labels.continuous, (std::vector<double>{12, 59}));
  for (const char* cell : {"7.3", "1.234,5", "1,234,5", ",", "7,3 kPa"})
    EXPECT_THROW((void)table("subject;label;kpa;age\nA;1;" + std::string(cell) + ";60\n", german),
                 Error)
        << cell;
}

TEST(Labels, RefuseWhatIsNotANumberAlone) {
  for (const char* cell :
       {"\"7,3\"", "7.3kPa", "7.3 kPa", "inf", "-inf", "infinity", "nan", "NaN", "0x1p3", "1e400",
        "1e-400", "--1", "+-1", "7.3.1", "1 2", "7.3e", ".", "12/3", "Jane Roe"}) {
    try {
      (void)table("subject,label,kpa,age\nA,1,7.3,61\nB,1," + std::string(cell) + ",60\n",
                  of_numbers());
      ADD_FAILURE() << "accepted: " << cell;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::usage);
      for (const char* word : {"row 2", "'kpa'", "a number alone", "without a unit", "missing"})
        EXPECT_NE(std::string(e.what()).find(word), std::string::npos) << e.what();
      EXPECT_EQ(std::string(e.what()).find("Roe"), std::string::npos) << e.what();
    }
  }
}

TEST(Labels, ACohortOfNumbersAloneNeedsNoClasses) {
  const test::TemporaryDirectory work;
  write_file_atomic(
      work.path() / "m.json",
      std::string_view(R"({"name": "a", "version": 1, "continuous": [{"name": "age"}]})"));
  const DataManifest manifest = load_manifest(work.path() / "m.json");
  LabelTable labels = table("subject,age\nA,61\n", manifest);
  EXPECT_EQ(find(labels, patient("A")).labels.values, std::vector<std::int64_t>{-1});
  EXPECT_EQ(find(labels, patient("A")).labels.continuous, std::vector<double>{61});
}

TEST(Labels, CarryTheSplitAndRefuseFreeTextInIt) {
  DataManifest manifest = default_manifest();
  manifest.split_column = "fold";
  LabelTable labels = table("subject,fold,label\nA,train,1\nB,,1\nC,val,1\nC,test,1\n", manifest);
  EXPECT_EQ(find(labels, patient("A")).labels.split, "train");
  EXPECT_EQ(find(labels, patient("B")).labels.split, "");
  EXPECT_EQ(find(labels, patient("C")).state, LabelTable::Lookup::State::ambiguous);
  EXPECT_THROW((void)table("subject,fold,label\nA,seen by Dr No,1\n", manifest), Error);
}

TEST(Labels, DropEmptyRowsOfSpreadsheetsAndCountTheOthers) {
  LabelTable labels = table("subject\tlabel\r\n\t\r\nA\t1\r\n\t\r\nB\t2\r\n\t");
  EXPECT_EQ(labels.rows(), 2U);
  EXPECT_EQ(find(labels, patient(" A ")).labels.values, std::vector<std::int64_t>{1});
  EXPECT_EQ(labels.unmatched_row_numbers(), std::vector<std::size_t>{2});
}

// A table without a header row begins with a patient.
TEST(Labels, NeverRepeatAFirstRowThatIsData) {
  for (const char* text : {"Roe^Jane,19500101,2\nDoe^John,19510101,3\n", "00471;F2\n00472;F1\n",
                           "Roe,mild\nDoe,none\n"}) {
    try {
      (void)table(text);
      ADD_FAILURE() << "accepted: " << text;
    } catch (const Error& e) {
      const std::string what = e.what();
      for (const char* cell : {"Roe", "1950", "0047", "F2", "mild"})
        EXPECT_EQ(what.find(cell), std::string::npos) << what;
      EXPECT_NE(what.find("header"), std::string::npos) << what;
      EXPECT_NE(what.find("'subject', 'label'"), std::string::npos) << what;
    }
  }
}

TEST(Labels, SeveralWordsMayMeanUnknown) {
  DataManifest manifest = default_manifest();
  manifest.labels[0].missing = {"NA", "?"};
  EXPECT_EQ(classes(table("subject,label\nA,NA\nB,?\nC,2\n", manifest),
                    {patient("A"), patient("B"), patient("C")}),
            (Classes{-1, -1, 2}));
}

TEST(Csv, ReadsWhatWasWritten) {
  // Every cell that a quoted writer can write comes back, for each separator and line end.
  const std::vector<std::vector<std::string>> rows = {
      {"a,b", "say \"yes\"", "x;y"}, {"two\nlines", "tab\there", "\xC3\xA9"}, {"", "", "z"}};
  for (const char* separator : {",", ";", "\t"})
    for (const char* end : {"\n", "\r\n", "\r"}) {
      std::string text = "one";
      text += separator + std::string("two") + separator + "three" + end;
      for (const auto& row : rows) {
        for (std::size_t c = 0; c < row.size(); ++c) {
          std::string quoted;
          for (const char x : row[c]) quoted += x == '"' ? "\"\"" : std::string(1, x);
          text += (c == 0 ? "" : separator) + ("\"" + quoted + "\"");
        }
        text += end;
      }
      const CsvTable read = parse_csv(text, "table");
      EXPECT_EQ(read.header, (std::vector<std::string>{"one", "two", "three"}));
      EXPECT_EQ(read.rows, rows);
      EXPECT_EQ(read.lines, (std::vector<std::size_t>{2, 3, 5}));
    }
}

}  // namespace
}  // namespace wsp

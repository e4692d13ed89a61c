#include "io/manifest/manifest_init.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/manifest/manifest.hpp"
#include "io/manifest/manifest_check.hpp"
#include "support/test_data.hpp"

namespace wsp {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class Init : public testing::Test {
 protected:
  std::filesystem::path file(const std::string& name, const std::string& text) const {
    write_file_atomic(work_.path() / name, std::string_view(text));
    return work_.path() / name;
  }
  // A draft is a manifest as it is, and fits its table.
  DataManifest draft(const std::string& table) {
    const auto csv = file("scores.csv", table);
    draft_ = draft_manifest(csv);
    const auto path = file("scores.json", draft_.json);
    EXPECT_THAT(check_manifest(path, csv), IsEmpty());
    const DataManifest manifest = load_manifest(path);
    EXPECT_NO_THROW((void)LabelTable::load(csv, manifest));
    return manifest;
  }
  std::vector<std::string> check(const std::string& manifest, const std::string& table = "") const {
    return check_manifest(file("m.json", manifest),
                          table.empty() ? std::nullopt : std::optional(file("t.csv", table)));
  }
  test::TemporaryDirectory work_;
  ManifestDraft draft_;
};

TEST_F(Init, GuessesFromAHospitalsTable) {
  const DataManifest m = draft(
      "PatientID;Alter;METAVIR;Ishak;cirrhosis;Bilirubin;Split\n00471;63;F2;3;no;3,5;train\n"
      "00472;55;F0;NA;no;1,2;train\n00473;71;F4;6;yes;0,8;test\n00474;70;?;5;yes;0,9;test\n");
  EXPECT_EQ(m.key, "patient_id");
  EXPECT_EQ(m.key_column, "PatientID");
  EXPECT_EQ(m.split_column, "Split");
  ASSERT_EQ(m.labels.size(), 3U);
  EXPECT_EQ(m.labels[0].name, "label");
  EXPECT_EQ(m.labels[0].column, "METAVIR");
  EXPECT_EQ(m.labels[0].values,
            (std::map<std::string, std::int64_t>{{"F0", 0}, {"F2", 2}, {"F4", 4}}));
  EXPECT_EQ(m.labels[0].missing, std::vector<std::string>{"?"});
  EXPECT_EQ(m.labels[1].column, "Ishak");
  EXPECT_TRUE(m.labels[1].values.empty());
  EXPECT_EQ(m.labels[1].missing, std::vector<std::string>{"NA"});
  EXPECT_EQ(m.labels[2].values, (std::map<std::string, std::int64_t>{{"no", 0}, {"yes", 1}}));
  EXPECT_THAT(draft_.notes, Contains(HasSubstr("'Bilirubin': it holds measurements")).Times(1));
  EXPECT_THAT(draft_.notes,
              Contains(HasSubstr(R"({"name":"bilirubin","column":"Bilirubin","decimal":","})")));
  for (const std::string& note : draft_.notes) EXPECT_THAT(note, Not(HasSubstr("0047")));
}

TEST_F(Init, GuessesOtherKeys) {
  EXPECT_EQ(draft("StudyInstanceUID,label\n1.2.3.4,0\n1.2.3.5,1\n").key, "study_uid");
  EXPECT_EQ(draft("SeriesInstanceUID,label\n1.2.3.4,0\n1.2.3.5,1\n").key, "series_uid");
  EXPECT_EQ(draft("file,label\nsiteA/001.nii.gz,0\nsiteB/001.nii.gz,1\n").key, "path");
  EXPECT_EQ(draft("Nummer,label\nA1,0\nA2,1\n").key_column, "Nummer");
  EXPECT_THAT(draft_.notes[0], HasSubstr("its name says nothing"));
}

TEST_F(Init, MarksWordsThatItDoesNotKnow) {
  const DataManifest m = draft("subject,grade\n1,weiss\n2,blau\n3,blau\n4,weiss\n");
  EXPECT_EQ(m.labels[0].values.size(), 2U);
  EXPECT_THAT(draft_.notes, Contains(HasSubstr("NOT known")));
}

TEST_F(Init, SaysWhyATableGivesNoManifest) {
  const auto refused = [&](const std::string& table, const char* words) {
    try {
      (void)draft_manifest(file("t.csv", table));
      ADD_FAILURE() << table;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::usage);
      EXPECT_THAT(e.what(), HasSubstr(words));
      EXPECT_THAT(e.what(), Not(HasSubstr("Roe")));
    }
  };
  refused("Roe Jane;1950;F2\nDoe John;1951;F3\n", "looks like data");
  refused("PatientID,bilirubin\n1,3.5\n2,1.2\n", "no column of the table looks like a label");
  refused("PatientID,label\n", "no other row");
}

TEST_F(Init, ChecksInPlainWords) {
  EXPECT_THAT(check(R"({"name": "a", "version": 1})"), IsEmpty());
  const auto says = [&](const std::string& manifest, const char* words,
                        const std::string& table = "") {
    EXPECT_THAT(check(manifest, table), Contains(HasSubstr(words))) << manifest;
  };
  says(R"({"version": 1})", "the manifest: 'name' is missing");
  says(R"({"name": "a", "version": 2})", "version: expected 1");
  says(R"({"name": "a", "version": 1, "keys": "x"})", "'keys' is no field of it; the fields are");
  says(R"({"name": "a", "version": 1, "key": "mrn"})", "key: expected one of \"patient_id\"");
  says(R"({"name": "a", "version": 1, "labels": [{"name": "Label"}]})",
       "labels[0].name: 'Label' must begin with a small letter");
  says(R"({"name": "a", "version": 1, "labels": [{"name": "label", "values": {"Jane Roe": "x"}}]})",
       "labels[0].values, an entry: expected a whole number, found a text");
  says(R"({"name": "a", "version": 1, "labels": {}})",
       "labels: expected a list [ ], found a group { }");
  says(R"({"name": "a", "version": 1, "labels": [{"name": "score"}]})", "expected 'label'");
  const std::string table = "patient,score\n1,F1\n2,F2\n3,x\n";
  says(
      R"({"name": "a", "version": 1, "key_column": "patient", "labels": [{"name": "label", "column": "fibrosis"}]})",
      "labels[0].column: 'fibrosis' is not a column of the table; the table has 'patient', 'score'",
      table);
  const auto odd = check(
      R"({"name": "a", "version": 1, "key_column": "patient", "labels": [{"name": "label", "column": "score", "values": {"F1": 1, "F2": 2}}]})",
      table);
  EXPECT_THAT(odd, Contains(HasSubstr("no class in row 3; add it to 'values'")));
  for (const std::string& line : odd) EXPECT_THAT(line, Not(HasSubstr("'x'")));
  const std::string numbers = "patient,kpa,age\n1,7.3,61\n2,\"7,3\",\n3,n/a,\n";
  const auto of = [](const std::string& fields) {
    return R"({"name": "a", "version": 1, "key_column": "patient", "continuous": [)" + fields +
           "]}";
  };
  EXPECT_THAT(check(of(R"({"name": "kpa", "missing": ["n/a", "7,3"]}, {"name": "age"})"), numbers),
              IsEmpty());
  says(of(R"({"name": "kpa", "missing": "n/a"})"),
       "continuous[0]: the column 'kpa' holds a text that is no number in row 2; expected",
       numbers);
  says(of(R"({"name": "kpa"})"), "in rows 2, 3", numbers);
  says(of(R"({"name": "e", "column": "age", "missing": "61"})"), "every cell of 'age' is empty",
       numbers);
  says(of(R"({"name": "label", "column": "age"})"), "'label' is named twice", numbers);
  says(of(R"({"name": "z_mm", "column": "age"})"), "is taken by a column of the index", numbers);
  says(of(R"({"name": "age", "values": {"old": 1}})"), "'values' is no field of it", numbers);
  says(R"({"name": "a", "version": 1})", "may be data", "Roe,1950\nDoe,1951\n");
}

// Whatever the schema refuses is said in plain words too.
TEST_F(Init, SaysAllThatTheSchemaSays) {
  const auto example = load_json(WSP_SOURCE_DIR "/schemas/examples/manifest.json");
  EXPECT_THAT(check_manifest_fields(example), IsEmpty());
  const nlohmann::json bad[] = {
      nullptr,    7,      1.5,  "", "?", nlohmann::json::array(), nlohmann::json::object(),
      {{"x", 1}}, {1, 2}, true, -5};
  for (const auto& [field, value] : example.items())
    for (const auto& other : bad) {
      auto broken = example;
      broken[field] = other;
      EXPECT_EQ(check_manifest_fields(broken).empty(),
                schema_violations("manifest.schema.json", broken).empty())
          << field << " " << other;
    }
}

}  // namespace
}  // namespace wsp

// Which row of a label table speaks of which case.
#include <gtest/gtest.h>

#include "io/manifest/csv.hpp"
#include "io/manifest/manifest.hpp"
#include "labels_support.hpp"

namespace wsp {
namespace {

using test::Classes;
using test::classes;
using test::find;
using test::image;
using test::of_numbers;
using test::patient;
using test::table;

TEST(Labels, RowsThatDisagreeInANumberAreAmbiguous) {
  LabelTable labels = table(
      "subject,label,kpa,age\nA,1,,61\nA,1,n/"
      "a,61\nB,1,7.3,61\nB,1,7.30000001,61\nC,1,7,61\nC,1,,61\n",
      of_numbers());
  EXPECT_EQ(find(labels, patient("A")).state, LabelTable::Lookup::State::found);
  EXPECT_EQ(find(labels, patient("B")).state, LabelTable::Lookup::State::ambiguous);
  EXPECT_EQ(find(labels, patient("C")).state, LabelTable::Lookup::State::ambiguous);
}

TEST(Labels, FindBySeriesStudyAndAccession) {
  CaseKeys keys;
  keys.patient_id = "p";
  keys.accession = "a";
  keys.study_uid = "1.2";
  keys.series_uid = "1.2.3";
  for (const auto& [key, text] : std::map<std::string, std::string>{{"patient_id", "p"},
                                                                    {"accession", "a"},
                                                                    {"study_uid", "1.2"},
                                                                    {"series_uid", "1.2.3"}}) {
    DataManifest manifest = default_manifest();
    manifest.key = key;
    LabelTable labels = table("subject,label\nother,0\n" + text + ",7\n", manifest);
    const auto found = find(labels, keys);
    ASSERT_EQ(found.state, LabelTable::Lookup::State::found) << key;
    EXPECT_EQ(found.labels.values, std::vector<std::int64_t>{7}) << key;
    EXPECT_EQ(find(labels, CaseKeys{}).state, LabelTable::Lookup::State::missing) << key;
  }
}

TEST(Labels, FindByPathNameAndPattern) {
  DataManifest manifest = default_manifest();
  manifest.key = "path";
  manifest.path_pattern = "volume-([0-9]+)\\.nii";
  LabelTable labels = table("subject,label\n7,1\nb.nii,2\nsub/c.nii,3\n", manifest);
  const auto value = [&](const char* path) {
    const auto found = find(labels, image(path));
    return found.state == LabelTable::Lookup::State::found ? found.labels.values[0] : -99;
  };
  EXPECT_EQ(value("train/volume-7.nii"), 1);
  EXPECT_EQ(value("sub/b.nii"), 2);
  EXPECT_EQ(value("sub/c.nii"), 3);
  EXPECT_EQ(value("more/sub/c.nii"), 3);
  EXPECT_EQ(value("c.nii"), -99);  // of which sub is not known
  EXPECT_EQ(value("other/c.nii"), -99);
  EXPECT_EQ(value("volume-8.nii"), -99);
}

TEST(Labels, FindNiftiByTheSubjectOfItsPath) {
  DataManifest manifest = default_manifest();
  const CaseKeys keys = image("data/P12__VEN.nii.gz");
  LabelTable by_stem = table("subject,label\nP12__VEN,1\n", manifest);
  EXPECT_EQ(find(by_stem, keys).state, LabelTable::Lookup::State::found);
  manifest.subject_pattern = "(P[0-9]+)__";
  LabelTable by_pattern = table("subject,label\nP12,1\n", manifest);
  EXPECT_EQ(find(by_pattern, keys).state, LabelTable::Lookup::State::found);
}

CaseKeys of(CaseKeys keys, const std::string& subject) {
  keys.subject = subject;
  return keys;
}

TEST(Labels, OneRowIsOneSubjects) {
  const std::vector<CaseKeys> two{of(image("siteA/001.nii.gz"), "a"),
                                  of(image("siteB/001.nii.gz"), "b")};
  EXPECT_EQ(classes(table("subject,label\n001,3\n"), two), (Classes{-2, -2}));
  EXPECT_EQ(classes(table("subject,label\nsiteA/001,3\n"), two), (Classes{3, -1}));
  EXPECT_EQ(classes(table("subject,label\nsiteA/001,3\nsiteB/001.nii.gz,2\n"), two),
            (Classes{3, 2}));
  EXPECT_EQ(classes(table("subject,label\nsiteC/001,3\n"), two), (Classes{-1, -1}));
  EXPECT_EQ(classes(table("subject,label\nsiteA/001,3\n001,2\n"), two), (Classes{3, -2}));
  EXPECT_EQ(classes(table("subject,label\n01,3\n1,2\n"), two), (Classes{-1, -1}));
  // Several volumes of one person may share a row, people of one ID may not.
  EXPECT_EQ(classes(table("subject,label\n001,3\n"), {of(two[0], "a"), of(two[1], "a")}),
            (Classes{3, 3}));
  EXPECT_EQ(
      classes(table("subject,label\n7,3\n"), {of(patient("7"), "x|7"), of(patient("7"), "x|7")}),
      (Classes{3, 3}));
  EXPECT_EQ(
      classes(table("subject,label\n7,3\n"), {of(patient("7"), "x|7"), of(patient("7"), "y|7")}),
      (Classes{-2, -2}));
  EXPECT_EQ(
      classes(table("subject,label\nliver_3,1\nx,0\n"), {image("imagesTr/liver_3_0000.nii.gz")}),
      Classes{1});
}

// Three patients without an ID whose files are all called the same.
TEST(Labels, AFilesNameIsNoPatient) {
  std::vector<CaseKeys> cases(3);
  for (int i = 0; i < 3; ++i) {
    cases[static_cast<std::size_t>(i)].relative_path = "p" + std::to_string(i) + "/1.dcm";
    cases[static_cast<std::size_t>(i)].subject = "study " + std::to_string(i);
  }
  EXPECT_EQ(classes(table("subject,label\n1,1\n2,2\n3,3\n"), cases), (Classes{-1, -1, -1}));
  DataManifest manifest = default_manifest();
  manifest.key = "path";
  EXPECT_EQ(classes(table("subject,label\n1,1\n1.dcm,2\n", manifest), cases),
            (Classes{-1, -1, -1}));
  EXPECT_EQ(classes(table("subject,label\np1/1.dcm,2\n", manifest), cases), (Classes{-1, 2, -1}));
}

}  // namespace
}  // namespace wsp

#include "train/data/training_set.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>

#include "io/core/error.hpp"
#include "io/manifest/manifest.hpp"
#include "support/test_data.hpp"
#include "train/data/dataset_support.hpp"

namespace wsp::train {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using wsp::test::TemporaryDirectory;

/// What a selection throws, or "".
std::string refusal(const DatasetReader& reader, const SelectOptions& options, ErrorCode code) {
  try {
    (void)select_slices(reader, options);
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), code) << e.what();
    return e.what();
  }
  return "";
}

std::set<std::string> subjects_of(const TrainingSet& set, const std::vector<TrainSlice>& slices) {
  std::set<std::string> names;
  for (const TrainSlice& slice : slices)
    names.insert(set.subjects.at(static_cast<std::size_t>(slice.subject)));
  return names;
}

TEST(SelectSlices, LeavesOutTheCasesRatedSoAndHoldsBackOfTheRest) {
  const TemporaryDirectory root;
  test::write_changed_dataset(root.path(), 16, [](CaseRecord& record, int c) {
    record.labels[0] = c % 2;
    record.split = "";
    record.flags.clear();
  });
  const DatasetReader reader(root.path());
  SelectOptions options;
  options.hold_back = 0.25;
  const auto count_of = [&](const TrainingSet& set, std::int64_t y) {
    std::set<std::int32_t> cases;
    for (const auto* part : {&set.slices, &set.held_back})
      for (const TrainSlice& slice : *part)
        if (slice.label == y) cases.insert(slice.case_id);
    return cases;
  };
  const TrainingSet all = select_slices(reader, options);
  ASSERT_EQ(count_of(all, 0).size(), 8U);
  // One that would be trained on, and one that would be held back.
  const auto& cases = reader.cases();
  const std::int32_t trained = all.slices.front().case_id, held = all.held_back.front().case_id;
  for (const std::int32_t c : {trained, held})
    options.exclude.push_back(cases[static_cast<std::size_t>(c)].name);
  const TrainingSet rest = select_slices(reader, options);
  EXPECT_EQ(count_of(rest, 0).size() + count_of(rest, 1).size(), 14U);
  for (const std::int32_t c : {trained, held})
    for (const std::int64_t y : {0, 1}) EXPECT_FALSE(count_of(rest, y).contains(c));
  EXPECT_THAT(rest.left_out, testing::Contains("2 cases rated exclude"));
  EXPECT_FALSE(rest.held_back.empty());  // another subject in its place
  options.exclude.emplace_back("nobody");
  EXPECT_THAT(refusal(reader, options, ErrorCode::usage), HasSubstr("nobody"));
}

TEST(SelectSlices, TakesTheSubjectsAskedForAndMakesTheLabelBinary) {
  const TemporaryDirectory root;
  test::write_changed_dataset(root.path(), 12, [](CaseRecord&, int) {});
  const DatasetReader reader(root.path());
  const TrainingSet all = select_slices(reader, {});
  std::set<std::int64_t> classes;
  for (const TrainSlice& slice : all.slices) classes.insert(slice.label);
  ASSERT_GT(classes.size(), 2U);
  SelectOptions options;
  options.positive = {*classes.rbegin()};
  const TrainingSet binary = select_slices(reader, options);
  ASSERT_EQ(binary.slices.size(), all.slices.size());
  EXPECT_EQ(binary.classes, 2);
  for (std::size_t i = 0; i < all.slices.size(); ++i)
    EXPECT_EQ(binary.slices[i].label, all.slices[i].label == *classes.rbegin() ? 1 : 0);
  const std::set<std::string> known = subjects_of(all, all.slices);
  options.subjects = {*known.begin(), *known.rbegin(), "nobody"};
  const TrainingSet some = select_slices(reader, options);
  EXPECT_EQ(subjects_of(some, some.slices),
            (std::set<std::string>{*known.begin(), *known.rbegin()}));
  EXPECT_THAT(some.left_out, testing::Contains(HasSubstr("not asked for")));
  options.subjects = {"nobody"};
  EXPECT_THAT(refusal(reader, options, ErrorCode::no_input), HasSubstr("not asked for"));
}

TEST(SelectSlices, TakesEveryColumnFromTheIndex) {
  const TemporaryDirectory root;
  test::write_changed_dataset(root.path(), 12, [](CaseRecord&, int) {});
  const DatasetReader reader(root.path());
  SelectOptions options;
  options.columns = {parse_kernel_column("metavir"), parse_kernel_column("z_mm:20"),
                     parse_kernel_column("liver_area_mm2:5e2"), parse_kernel_column("label:1.5")};
  const DepthScale scales[] = {DepthScale::kept, DepthScale::liver, DepthScale::volume};
  for (const DepthScale scale : scales) {
    options.depth = scale;
    const TrainingSet set = select_slices(reader, options);
    std::size_t at = 0;
    for (std::size_t row = 0; row < reader.slices().size(); ++row) {
      const IndexRow& index = reader.slices()[row];
      const IndexCase& entry = reader.cases()[static_cast<std::size_t>(index.case_id)];
      EXPECT_EQ(set.column_values[0][row], static_cast<double>(entry.labels[1]));
      EXPECT_EQ(set.column_values[1][row], index.z_mm);
      EXPECT_EQ(set.column_values[2][row], index.liver_area_mm2);
      EXPECT_EQ(set.column_values[3][row], static_cast<double>(entry.labels[0]));
      if (entry.split == "test") continue;
      const TrainSlice& slice = set.slices.at(at++);
      EXPECT_EQ(slice.row, row);
      EXPECT_EQ(slice.case_id, index.case_id);
      EXPECT_EQ(slice.label, entry.labels[0]);
      EXPECT_EQ(set.subjects.at(static_cast<std::size_t>(slice.subject)), entry.subject);
      EXPECT_EQ(slice.depth, scale == DepthScale::kept    ? index.depth_kept
                             : scale == DepthScale::liver ? index.depth_liver
                                                          : index.depth_volume);
    }
    EXPECT_EQ(at, set.slices.size());
    EXPECT_EQ(set.classes, 4);
    EXPECT_TRUE(set.held_back.empty());
    EXPECT_THAT(set.left_out, ElementsAre("4 cases of split 'test'"));
    EXPECT_EQ(set.columns[1].sigma, 20);
    EXPECT_EQ(set.columns[2].sigma, 500);
    EXPECT_FALSE(set.columns[0].sigma.has_value());
  }
}

TEST(SelectSlices, SubjectsByNameAreTakenWhateverTheirSplit) {
  const TemporaryDirectory root;
  test::write_changed_dataset(root.path(), 12, [](CaseRecord& record, int c) {
    record.split = c % 3 == 0 ? "val" : c % 3 == 1 ? "test" : "train";
  });
  const DatasetReader reader(root.path());
  SelectOptions options;
  options.hold_back = 0;
  for (const IndexCase& entry : reader.cases()) options.subjects.push_back(entry.subject);
  const TrainingSet set = select_slices(reader, options);
  EXPECT_EQ(set.slices.size(), reader.slices().size());
  EXPECT_TRUE(set.held_back.empty());
}

TEST(SelectSlices, UnknownValuesOfAGaussianColumnAreNoNumbers) {
  const TemporaryDirectory root;
  test::write_changed_dataset(root.path(), 12, [](CaseRecord& record, int c) {
    if (c % 3 == 0) record.labels[1] = -1;
  });
  const DatasetReader reader(root.path());
  SelectOptions options;
  options.columns = {parse_kernel_column("metavir"), parse_kernel_column("metavir:1.5")};
  const TrainingSet set = select_slices(reader, options);
  std::size_t unknown = 0;
  for (std::size_t row = 0; row < reader.slices().size(); ++row) {
    const bool known = set.column_values[0][row] >= 0;
    unknown += known ? 0 : 1;
    EXPECT_EQ(std::isnan(set.column_values[1][row]), !known);
    if (known) {
      EXPECT_EQ(set.column_values[1][row], set.column_values[0][row]);
    }
  }
  EXPECT_GT(unknown, 0U);
  EXPECT_LT(unknown, reader.slices().size());
}

TEST(SelectSlices, TakesANumberAsItStandsAndWhoeverHasOne) {
  const TemporaryDirectory root;
  test::write_changed_dataset(root.path(), 12, [](CaseRecord& record, int c) {
    record.split = "train";
    record.flags.clear();
    if (c % 3 == 0) record.labels[0] = -1;  // of no class, which does not matter here
  });
  const DatasetReader reader(root.path());
  const auto number = [&](const IndexRow& row) {
    return reader.cases()[static_cast<std::size_t>(row.case_id)].continuous[0];
  };
  SelectOptions options;
  options.columns = {parse_kernel_column("age:5")};
  options.continuous = KernelColumn{"stiffness_kpa", std::nullopt};
  const TrainingSet ranked = select_slices(reader, options);
  options.continuous = parse_kernel_column("stiffness_kpa:2.5");
  const TrainingSet weighed = select_slices(reader, options);
  ASSERT_EQ(ranked.columns.size(), 1U);
  ASSERT_EQ(weighed.columns.size(), 2U);
  EXPECT_EQ(weighed.columns[1].sigma, 2.5);
  EXPECT_TRUE(weighed.values.empty());
  ASSERT_EQ(ranked.values.size(), reader.slices().size());
  std::size_t known = 0;
  for (std::size_t row = 0; row < reader.slices().size(); ++row) {
    const double y = number(reader.slices()[row]);
    EXPECT_TRUE(same_numbers({ranked.values[row]}, {y}));
    EXPECT_TRUE(same_numbers({weighed.column_values[1][row]}, {y}));
    EXPECT_EQ(ranked.column_values[0][row],
              reader.cases()[static_cast<std::size_t>(reader.slices()[row].case_id)].continuous[1]);
    known += std::isnan(y) ? 0 : 1;
  }
  EXPECT_EQ(ranked.slices.size(), known);
  EXPECT_LT(known, reader.slices().size());
  EXPECT_THAT(ranked.left_out,
              ElementsAre("3 cases without a value in label column 'stiffness_kpa'"));
  EXPECT_THAT(ranked.slices, testing::Contains(testing::Field(&TrainSlice::label, -1)));
  options.include_unlabelled = true;
  EXPECT_EQ(select_slices(reader, options).slices.size(), reader.slices().size());
  // Whole classes and positions are numbers too.
  options.include_unlabelled = false;
  options.continuous = KernelColumn{"metavir", std::nullopt};
  for (const double value : select_slices(reader, options).values)
    EXPECT_TRUE(std::isnan(value) || value > 0);
  options.continuous = KernelColumn{"z_mm", std::nullopt};
  EXPECT_EQ(select_slices(reader, options).slices.size(), reader.slices().size());
  options.continuous = KernelColumn{"kpa", std::nullopt};
  EXPECT_THAT(refusal(reader, options, ErrorCode::usage),
              HasSubstr("label, metavir, stiffness_kpa, age, z_mm"));
}

TEST(SelectSlices, LeavesOutUntrustedDepthAndUnknownLabelsUnlessAsked) {
  const TemporaryDirectory root;
  test::write_changed_dataset(root.path(), 12, [](CaseRecord& record, int c) {
    record.split = "";
    record.labels[0] = c < 3 ? -1 : c % 2;
    record.flags = {Code::GAP, Code::TILT_RESAMPLED, Code::SPACING_IRREGULAR, Code::LIVER_SMALL};
    if (c == 1 || c == 4) record.flags = {Code::LIVER_TRUNCATED, Code::LIVER_FRAGMENTED};
    if (c == 5) record.flags = {Code::LIVER_FRAGMENTED};
  });
  const DatasetReader reader(root.path());
  const auto cases_of = [](const TrainingSet& set) {
    std::set<std::int32_t> cases;
    for (const TrainSlice& slice : set.slices) cases.insert(slice.case_id);
    return cases.size();
  };
  SelectOptions options;
  TrainingSet set = select_slices(reader, options);
  EXPECT_EQ(cases_of(set), 7U);
  EXPECT_THAT(set.left_out,
              ElementsAre("2 cases flagged LIVER_TRUNCATED", "1 case flagged LIVER_FRAGMENTED",
                          "2 cases without a value in label column 'label'"));
  for (const TrainSlice& slice : set.slices)
    EXPECT_TRUE(depth_is_trusted(reader.cases()[static_cast<std::size_t>(slice.case_id)].flags));
  options.include_flagged = true;
  EXPECT_EQ(cases_of(select_slices(reader, options)), 9U);
  options.include_unlabelled = true;
  set = select_slices(reader, options);
  EXPECT_EQ(cases_of(set), 12U);
  EXPECT_TRUE(set.left_out.empty());
  EXPECT_EQ(set.classes, 2);
}

TEST(SelectSlices, HoldsBackAPartOfEachClassBySubject) {
  const TemporaryDirectory root;
  test::write_changed_dataset(root.path(), 60, [](CaseRecord& record, int c) {
    record.split = "train";
    record.labels[0] = c / 2 % 3 == 0 ? 1 : 0;  // 10 subjects of class 1, 20 of class 0
  });
  const DatasetReader reader(root.path());
  SelectOptions options;
  options.hold_back = 0.2;
  const TrainingSet set = select_slices(reader, options);
  const auto trained = subjects_of(set, set.slices), kept = subjects_of(set, set.held_back);
  EXPECT_EQ(trained.size(), 24U);
  EXPECT_EQ(kept.size(), 6U);
  for (const std::string& subject : kept) EXPECT_FALSE(trained.contains(subject));
  std::set<std::int64_t> classes;
  for (const TrainSlice& slice : set.held_back) classes.insert(slice.label);
  EXPECT_EQ(classes.size(), 2U);
  EXPECT_EQ(subjects_of(set, select_slices(reader, options).held_back), kept);
  options.hold_back = 0.999;  // a subject of each class stays
  EXPECT_EQ(subjects_of(set, select_slices(reader, options).slices).size(), 2U);
  options.hold_back = 1;
  EXPECT_THAT(refusal(reader, options, ErrorCode::usage), HasSubstr("below 1"));
}

TEST(SelectSlices, ProbesOnTheSplitValWhereThereIsOneAndNeverOnASubjectTrainedOn) {
  const TemporaryDirectory root;
  test::write_changed_dataset(root.path(), 12, [](CaseRecord& record, int c) {
    record.labels[0] = c % 2;
    record.split = c >= 9 ? "val" : "train";  // cases 8 and 9 are one subject
  });
  const DatasetReader reader(root.path());
  SelectOptions options;
  options.hold_back = 0.5;
  TrainingSet set = select_slices(reader, options);
  EXPECT_THAT(subjects_of(set, set.held_back), ElementsAre("sub-5"));
  EXPECT_THAT(subjects_of(set, set.slices),
              ElementsAre("sub-0", "sub-1", "sub-2", "sub-3", "sub-4"));
  EXPECT_THAT(set.left_out,
              ElementsAre("1 case of split 'val' whose subjects are also trained on"));
  options.splits = {"val"};
  options.hold_back = 0;
  set = select_slices(reader, options);
  EXPECT_THAT(subjects_of(set, set.slices), ElementsAre("sub-4", "sub-5"));
}

TEST(SelectSlices, NamesWhatItKnowsWhereSomethingIsUnknown) {
  const TemporaryDirectory root;
  test::write_changed_dataset(root.path(), 6, [](CaseRecord&, int) {});
  const DatasetReader reader(root.path());
  const auto with = [&](auto change, ErrorCode code = ErrorCode::usage) {
    SelectOptions options;
    change(options);
    return refusal(reader, options, code);
  };
  EXPECT_THAT(with([](auto& o) { o.label = "fibrosis"; }), HasSubstr("label, metavir"));
  EXPECT_THAT(with([](auto& o) {
                o.columns = {{"fat", 3.0}};
              }),
              HasSubstr("label, metavir, stiffness_kpa, age, z_mm, liver_area_mm2"));
  EXPECT_THAT(with([](auto& o) { o.columns = {{"age", {}}}; }), HasSubstr("age:20"));
  EXPECT_THAT(with([](auto& o) { o.columns = {{"z_mm", {}}}; }), HasSubstr("z_mm:20"));
  EXPECT_THAT(with([](auto& o) { o.splits = {"training"}; }), HasSubstr("'test', 'train'"));
}

TEST(SelectSlices, SaysWhyNothingIsLeft) {
  const TemporaryDirectory root;
  test::write_changed_dataset(root.path(), 4,
                              [](CaseRecord& record, int) { record.split = "test"; });
  EXPECT_THAT(refusal(DatasetReader(root.path()), {}, ErrorCode::no_input),
              HasSubstr("4 cases of split 'test'"));
}

TEST(SelectSlices, RefusesMeasurementsAsClassesAndDepthsThatAreNoNumbers) {
  const TemporaryDirectory large, broken;
  test::write_changed_dataset(large.path(), 4,
                              [](CaseRecord& record, int) { record.labels[0] = 1'000'000; });
  EXPECT_THAT(refusal(DatasetReader(large.path()), {}, ErrorCode::usage), HasSubstr("NAME:SIGMA"));
  test::write_changed_dataset(broken.path(), 4, [](CaseRecord& record, int c) {
    record.split = "";
    if (c == 2) record.slices[1].depth_kept = std::numeric_limits<double>::quiet_NaN();
  });
  EXPECT_THAT(refusal(DatasetReader(broken.path()), {}, ErrorCode::corrupt),
              HasSubstr(wsp::test::made_name(2) + ", slice 11"));
}

TEST(KernelColumn, ParsesNamesAndSigmas) {
  EXPECT_EQ(parse_kernel_column("metavir").name, "metavir");
  EXPECT_EQ(parse_kernel_column("a:b:0.25").name, "a:b");
  EXPECT_EQ(parse_kernel_column("a:b:0.25").sigma, 0.25);
  for (const char* bad : {"", ":1", "a:", "a:0", "a:-1", "a:nan", "a:inf", "a:1x", "a:1 "})
    EXPECT_THROW((void)parse_kernel_column(bad), Error) << bad;
}

TEST(DepthScale, HasNames) {
  for (const char* name : {"kept", "liver", "volume"})
    EXPECT_EQ(to_string(parse_depth_scale(name)), name);
  EXPECT_THROW((void)parse_depth_scale("body"), Error);
}

}  // namespace
}  // namespace wsp::train

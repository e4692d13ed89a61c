#include "train/data/volume_set.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "io/core/error.hpp"
#include "support/test_data.hpp"
#include "train/data/dataset_support.hpp"
#include "train/data/slice_sampler.hpp"

namespace wsp::train {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using wsp::test::TemporaryDirectory;

/// Cases of which the upper half of the slices holds liver; `split` by case number.
void write_volumes(const std::filesystem::path& root, int count,
                   const std::function<std::string(int)>& split) {
  test::write_changed_dataset(root, count, [&](CaseRecord& record, int c) {
    record.subject = "sub-" + std::to_string(c / 2);  // two cases each
    record.split = split(c);
    for (std::size_t s = 0; s < record.slices.size(); ++s)
      record.slices[s].liver_area_mm2 = s >= record.slices.size() / 2 ? 500 : 0;
  });
}

std::set<std::string> subjects_of(const std::vector<MaskedVolume>& volumes) {
  std::set<std::string> names;
  for (const MaskedVolume& volume : volumes) names.insert(volume.subject);
  return names;
}

TEST(VolumeSet, LeavesOutMasksThatFailedACheck) {
  const TemporaryDirectory root;
  test::write_changed_dataset(root.path(), 6, [](CaseRecord& record, int c) {
    record.subject = "sub-" + std::to_string(c);
    record.split.clear();
    if (c < 2) record.flags = {Code::MASK_FROM_BUILTIN_MODEL, Code::MASK_UNSURE};
    if (c == 2) record.flags = {Code::MASK_FROM_BUILTIN_MODEL};
    for (std::size_t s = 0; s < record.slices.size(); ++s)
      record.slices[s].liver_area_mm2 = s % 2 == 0 ? 500 : 0;
  });
  const VolumeSet set = select_volumes(DatasetReader(root.path()), {{}, 0});
  EXPECT_EQ(subjects_of(set.training), (std::set<std::string>{"sub-2", "sub-3", "sub-4", "sub-5"}));
  EXPECT_THAT(set.left_out, ElementsAre("2 volumes flagged MASK_UNSURE"));
}

TEST(VolumeSet, HoldsBackWholeSubjectsAndSortsSlicesByLiver) {
  const TemporaryDirectory root;
  write_volumes(root.path(), 20, [](int) { return ""; });
  const DatasetReader reader(root.path());
  const VolumeSet set = select_volumes(reader, {{}, 0.3});
  EXPECT_EQ(subjects_of(set.validation).size(), 3U);
  EXPECT_EQ(subjects_of(set.training).size(), 7U);
  for (const std::string& subject : subjects_of(set.validation))
    EXPECT_FALSE(subjects_of(set.training).contains(subject));
  EXPECT_EQ(set.training.size() + set.validation.size(), 20U);
  for (const MaskedVolume& volume : set.training) {
    EXPECT_EQ(static_cast<std::int64_t>(volume.liver.size() + volume.background.size()),
              volume.count);
    for (const std::uint32_t row : volume.liver) {
      EXPECT_GT(reader.slices()[row].liver_area_mm2, 0);
      EXPECT_EQ(reader.slices()[row].case_id, volume.case_id);
    }
    for (const std::uint32_t row : volume.background)
      EXPECT_EQ(reader.slices()[row].liver_area_mm2, 0);
  }
  EXPECT_TRUE(select_volumes(reader, {{}, 0}).validation.empty());
}

TEST(VolumeSet, TakesTheSplitsOfTheDataset) {
  const TemporaryDirectory root;
  // Subject 0 stands in both; subject 1 in val; the others train but the last, which tests.
  write_volumes(root.path(), 10, [](int c) {
    return c == 1 || c == 2 || c == 3 ? "val" : c >= 8 ? "test" : "train";
  });
  const DatasetReader reader(root.path());
  const VolumeSet set = select_volumes(reader, {{}, 0.5});
  EXPECT_THAT(subjects_of(set.validation), ElementsAre("sub-1"));
  EXPECT_THAT(subjects_of(set.training), ElementsAre("sub-0", "sub-2", "sub-3"));
  EXPECT_THAT(set.left_out, ElementsAre(HasSubstr("2 volumes of other splits"),
                                        HasSubstr("1 volumes of split 'val'")));
  EXPECT_THROW((void)select_volumes(reader, {{"fold"}, 0}), Error);
  EXPECT_THROW((void)select_volumes(reader, {{}, 1}), Error);
}

TEST(VolumeSet, LeavesOutWhatAReaderExcluded) {
  const TemporaryDirectory root;
  write_volumes(root.path(), 10, [](int c) { return c >= 8 ? "val" : ""; });
  const DatasetReader reader(root.path());
  // One of each part; the index has an order of its own.
  std::map<std::string, std::string> of_split;
  for (const IndexCase& entry : reader.cases()) of_split[entry.split] = entry.name;
  const std::vector<std::string> rated{of_split.at(""), of_split.at("val")};
  const VolumeSet set = select_volumes(reader, {{}, 0, rated});
  ASSERT_EQ(set.training.size(), 7U);
  ASSERT_EQ(set.validation.size(), 1U);
  for (const auto* part : {&set.training, &set.validation})
    for (const MaskedVolume& volume : *part)
      EXPECT_THAT(rated, testing::Not(testing::Contains(
                             reader.cases()[static_cast<std::size_t>(volume.case_id)].name)));
  EXPECT_THAT(set.left_out, ElementsAre("2 volumes rated exclude"));
  EXPECT_THROW((void)select_volumes(reader, {{}, 0, {"no-such-case"}}), Error);
}

TEST(VolumeSet, RefusesADatasetWithoutBackground) {
  const TemporaryDirectory root;
  test::write_changed_dataset(root.path(), 4, [](CaseRecord& record, int) {
    for (SliceRecord& slice : record.slices) slice.liver_area_mm2 = 700;
  });
  const DatasetReader reader(root.path());
  try {
    (void)select_volumes(reader, {});
    FAIL() << "a dataset of liver slices alone was taken";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::no_input);
    EXPECT_THAT(e.what(), HasSubstr("--slices all"));
  }
}

/// Volumes of 4 subjects: sub-0 has two, one of them long; sub-3 has no liver.
std::vector<MaskedVolume> made_volumes() {
  std::vector<MaskedVolume> volumes;
  std::uint32_t row = 0;
  const auto add = [&](const char* subject, int liver, int background) {
    MaskedVolume volume;
    volume.subject = subject;
    volume.first_row = row;
    volume.count = liver + background;
    for (int i = 0; i < liver; ++i) volume.liver.push_back(row++);
    for (int i = 0; i < background; ++i) volume.background.push_back(row++);
    volumes.push_back(volume);
  };
  add("sub-0", 200, 10);
  add("sub-0", 3, 3);
  add("sub-1", 5, 40);
  add("sub-2", 7, 2);
  add("sub-3", 0, 9);
  return volumes;
}

TEST(SliceSampler, DrawsTheShareAndEverySubjectAlike) {
  const auto volumes = made_volumes();
  const SliceSampler sampler(volumes, {7, 700, 0.5, 3});
  ASSERT_EQ(sampler.steps_per_epoch(), 100);
  std::map<std::string, int> liver_of, background_of;
  int liver = 0, total = 0;
  for (std::int64_t step = 0; step < 100; ++step) {
    std::map<std::string, int> here;
    for (const DrawnSlice& drawn : sampler.batch(0, step)) {
      const MaskedVolume& volume = volumes.at(drawn.volume);
      const bool is_liver = std::count(volume.liver.begin(), volume.liver.end(), drawn.row) == 1;
      ASSERT_EQ(is_liver,
                std::count(volume.background.begin(), volume.background.end(), drawn.row) == 0);
      liver += is_liver;
      ++total;
      ++(is_liver ? liver_of : background_of)[volume.subject];
      if (is_liver) ++here[volume.subject];
    }
    for (const auto& [subject, count] : here) EXPECT_LE(count, 2) << "3 subjects, 4 draws";
  }
  EXPECT_EQ(total, 700);
  EXPECT_NEAR(liver, 350, 30);
  EXPECT_EQ(liver_of.size(), 3U);
  EXPECT_EQ(background_of.size(), 4U);
  for (const auto& [subject, count] : liver_of) EXPECT_NEAR(count, liver / 3.0, 30) << subject;
}

TEST(SliceSampler, IsAFunctionOfSeedEpochAndStep) {
  const auto volumes = made_volumes();
  const auto rows = [&](std::uint64_t seed, std::int64_t epoch, std::int64_t step) {
    std::vector<std::uint32_t> list;
    for (const DrawnSlice& d : SliceSampler(volumes, {8, 80, 0.5, seed}).batch(epoch, step))
      list.push_back(d.row);
    return list;
  };
  EXPECT_EQ(rows(1, 2, 3), rows(1, 2, 3));
  EXPECT_NE(rows(1, 2, 3), rows(1, 2, 4));
  EXPECT_NE(rows(1, 2, 3), rows(1, 3, 3));
  EXPECT_NE(rows(1, 2, 3), rows(2, 2, 3));
}

TEST(SliceSampler, RefusesWhatCannotBeDrawn) {
  std::vector<MaskedVolume> volumes(1);
  volumes[0].background = {0, 1};
  EXPECT_THROW(SliceSampler(volumes, {2, 10, 0.5, 0}), Error);
  EXPECT_NO_THROW(SliceSampler(volumes, {2, 10, 0, 0}));
  EXPECT_THROW(SliceSampler(volumes, {2, 1, 0, 0}), Error);
  EXPECT_THROW(SliceSampler(volumes, {2, 10, 1.5, 0}), Error);
}

}  // namespace
}  // namespace wsp::train

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <thread>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/manifest/manifest.hpp"
#include "io/shard/dataset_fixture.hpp"
#include "io/shard/fields.hpp"
#include "io/shard/state.hpp"
#include "support/test_data.hpp"

namespace wsp {
namespace {

namespace fs = std::filesystem;
using test::TemporaryDirectory;

constexpr int kCases = 11;

TEST(Fields, AreNoNamesOfLabels) {
  const auto ask = [](const char* name, auto) { EXPECT_TRUE(is_reserved_label(name)) << name; };
  visit_case_identity(ask);
  visit_case_measures(ask);
  visit_slice_measures(ask);
  visit_chunks(ask);
  for (const char* name : {"case", "row", "source_index", "slice_count", "image", "mask"})
    EXPECT_TRUE(is_reserved_label(name)) << name;
}

class DatasetTest : public testing::TestWithParam<Codec> {};

TEST_P(DatasetTest, GivesBackEveryPixelAndColumn) {
  const TemporaryDirectory root;
  const DatasetLayout layout = test::small_layout(GetParam());
  test::write_dataset(root.path(), layout, kCases);
  const DatasetReader reader(root.path());
  EXPECT_EQ(reader.layout().codec, GetParam());
  EXPECT_EQ(reader.layout().label_names, layout.label_names);
  EXPECT_EQ(reader.layout().continuous_names, layout.continuous_names);
  EXPECT_EQ(reader.layout().height, test::kHeight);
  ASSERT_EQ(reader.cases().size(), static_cast<std::size_t>(kCases));
  std::size_t seen = 0;
  for (int c = 0; c < kCases; ++c) {
    const CaseRecord made = test::made_case(c, layout);
    const auto found = std::find_if(reader.cases().begin(), reader.cases().end(),
                                    [&](const auto& e) { return e.name == made.name; });
    ASSERT_NE(found, reader.cases().end());
    EXPECT_EQ(found->subject, made.subject);
    EXPECT_EQ(found->split, made.split);
    EXPECT_EQ(found->labels, made.labels);
    EXPECT_TRUE(same_numbers(found->continuous, made.continuous));
    EXPECT_EQ(found->flags.size(), made.flags.size());
    EXPECT_EQ(found->source_hash, made.source_hash);
    ASSERT_EQ(found->slice_count, static_cast<std::int64_t>(made.slices.size()));
    for (std::size_t s = 0; s < made.slices.size(); ++s, ++seen) {
      const auto i = static_cast<std::size_t>(found->first_slice) + s;
      const IndexRow& row = reader.slices().at(i);
      EXPECT_EQ(reader.cases().at(static_cast<std::size_t>(row.case_id)).name, made.name);
      EXPECT_EQ(row.shard, shard_of(made.name, layout.shards));
      EXPECT_EQ(row.z_mm, made.slices[s].z_mm);
      EXPECT_EQ(row.source_index, made.slices[s].source_index);
      EXPECT_EQ(row.depth_kept, made.slices[s].depth_kept);
      EXPECT_EQ(row.depth_liver, made.slices[s].depth_liver);
      EXPECT_EQ(row.depth_volume, made.slices[s].depth_volume);
      EXPECT_EQ(row.liver_area_mm2, made.slices[s].liver_area_mm2);
      EXPECT_EQ(reader.read_image(i), test::made_image(c, row.source_index));
      EXPECT_EQ(reader.read_mask(i), test::made_mask(c, row.source_index));
    }
  }
  EXPECT_EQ(seen, reader.slices().size());
  EXPECT_TRUE(verify_dataset(root.path()).empty());
}

INSTANTIATE_TEST_SUITE_P(All, DatasetTest,
                         testing::Values(Codec::none, Codec::lz4, Codec::zstd, Codec::gzip),
                         [](const auto& param) { return std::string(to_string(param.param)); });

TEST(Dataset, IsTheSameBytesForAnyOrderOfArrivalAndTime) {
  const TemporaryDirectory a, b;
  const DatasetLayout layout = test::small_layout(Codec::lz4, 1);
  const auto write = [&](const fs::path& root, bool reversed) {
    fs::create_directories(root / "shards");
    std::vector<CaseRecord> records;
    for (int c = 0; c < kCases; ++c)
      records.push_back(test::made_case(reversed ? kCases - 1 - c : c, layout));
    auto places = write_shard(root, 0, std::move(records), layout);
    if (reversed) std::reverse(places.begin(), places.end());
    write_index(root, std::move(places), layout);
  };
  write(a.path(), false);
  // HDF5's object times count seconds.
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));
  write(b.path(), true);
  for (const char* name : {"shards/shard-00.h5", "index.h5"})
    EXPECT_EQ(hex(sha256_file(a.path() / name)), hex(sha256_file(b.path() / name))) << name;
}

// The places of every shard live until the index is written; a dataset's pixels must not.
TEST(Dataset, KeepsNoMemoryOfChunksThatWereWritten) {
  const TemporaryDirectory root;
  const DatasetLayout layout = test::small_layout(Codec::lz4, 1);
  fs::create_directories(root.path() / "shards");
  std::vector<CaseRecord> records;
  for (int c = 0; c < kCases; ++c) records.push_back(test::made_case(c, layout));
  for (const CasePlaces& place : write_shard(root.path(), 0, std::move(records), layout))
    for (const SliceRecord& slice : place.record.slices)
      EXPECT_EQ(slice.image.bytes.capacity() + slice.mask.bytes.capacity(), 0U);
}

TEST(Dataset, RewritesAShardFromItselfToTheSameBytes) {
  const TemporaryDirectory root;
  const DatasetLayout layout = test::small_layout(Codec::lz4);
  test::write_dataset(root.path(), layout, kCases);
  std::set<std::string> names;
  for (int shard = 0; shard < layout.shards; ++shard) {
    const fs::path state = state_directory(root.path()),
                   path = state / "shards" / shard_file_name(shard);
    const std::string before = hex(sha256_file(path));
    std::vector<CaseRecord> records = read_shard_cases(state, shard);
    for (const CaseRecord& record : records) names.insert(record.name);
    (void)write_shard(state, shard, std::move(records), layout);
    EXPECT_EQ(hex(sha256_file(path)), before);
  }
  EXPECT_EQ(names.size(), static_cast<std::size_t>(kCases));
}

// What an incremental run does: take over a shard, add a case, rewrite one shard and the index.
TEST(Dataset, GrowsByOneCaseLikeADatasetMadeAtOnce) {
  const TemporaryDirectory grown, whole;
  const DatasetLayout layout = test::small_layout(Codec::zstd);
  test::write_dataset(grown.path(), layout, kCases - 1);
  test::write_dataset(whole.path(), layout, kCases);
  const int shard = shard_of(test::made_name(kCases - 1), layout.shards);
  const fs::path old = state_directory(grown.path()), made = state_directory(whole.path());
  auto records = read_shard_cases(old, shard);
  records.push_back(test::made_case(kCases - 1, layout));
  (void)write_shard(old, shard, std::move(records), layout);
  for (int s = 0; s < layout.shards; ++s) {
    const fs::path name = fs::path("shards") / shard_file_name(s);
    EXPECT_EQ(hex(sha256_file(old / name)), hex(sha256_file(made / name))) << name;
  }
}

// Without continuous labels nothing of them stands anywhere: such files are those of earlier
// toolkits.
TEST(Dataset, WithoutContinuousLabelsIsAsItWas) {
  const TemporaryDirectory root;
  DatasetLayout layout = test::small_layout(Codec::lz4);
  layout.continuous_names.clear();
  test::write_dataset(root.path(), layout, kCases);
  const DatasetReader reader(root.path());
  EXPECT_TRUE(reader.layout().continuous_names.empty());
  for (const IndexCase& entry : reader.cases()) EXPECT_TRUE(entry.continuous.empty());
  EXPECT_TRUE(verify_dataset(root.path()).empty());
  const fs::path state = state_directory(root.path());
  EXPECT_EQ(read_file(state / "index.h5").find("continuous"), std::string::npos);
  EXPECT_EQ(read_file(root.path() / "dataset.json").find("continuous"), std::string::npos);
}

TEST(Dataset, RefusesContinuousLabelsThatCannotBeColumns) {
  for (const auto& names : {std::vector<std::string>{"label"}, {"z_mm"}, {"age", "age"}, {"a,b"}}) {
    const TemporaryDirectory root;
    DatasetLayout layout = test::small_layout(Codec::lz4);
    layout.continuous_names = names;
    EXPECT_THROW(write_index(root.path(), {}, layout), Error) << names.front();
  }
}

TEST(Dataset, HoldsNoCasesWhenThereAreNone) {
  const TemporaryDirectory root;
  test::write_dataset(root.path(), test::small_layout(Codec::lz4), 0);
  const DatasetReader reader(root.path());
  EXPECT_TRUE(reader.cases().empty());
  EXPECT_TRUE(reader.slices().empty());
  EXPECT_TRUE(verify_dataset(root.path()).empty());
}

TEST(Dataset, ListsTheHashOfEveryFile) {
  const TemporaryDirectory root;
  test::write_dataset(root.path(), test::small_layout(Codec::lz4), 3);
  const auto json = nlohmann::json::parse(read_file(root.path() / "dataset.json"));
  std::set<std::string> listed;
  for (const auto& [name, hash] : json["files"].items()) {
    listed.insert(name);
    EXPECT_EQ(hash, hex(sha256_file(state_directory(root.path()) / name))) << name;
  }
  EXPECT_EQ(
      listed,
      (std::set<std::string>{
          "index.h5", "ledger.tsv", "quarantine.tsv", "shards/shard-00.h5", "shards/shard-01.h5",
          "shards/shard-02.h5", "shards/shard-03.h5", "cases/" + test::made_name(0) + ".json",
          "cases/" + test::made_name(1) + ".json", "cases/" + test::made_name(2) + ".json"}));
}

ErrorCode opening(const fs::path& root) {
  try {
    const DatasetReader reader(root);
  } catch (const Error& e) {
    return e.code();
  }
  ADD_FAILURE() << "the reader opened a broken dataset";
  return ErrorCode::failure;
}

TEST(DatasetReader, OpensOnlyCompleteDatasets) {
  const TemporaryDirectory root;
  EXPECT_EQ(opening(root.path()), ErrorCode::no_input);
  test::write_dataset(root.path(), test::small_layout(Codec::lz4), 3);
  fs::rename(root.path() / "dataset.json", root.path() / "away");
  EXPECT_EQ(opening(root.path()), ErrorCode::no_input);
  test::overwrite(root.path() / "dataset.json", "[");
  EXPECT_EQ(opening(root.path()), ErrorCode::corrupt);
  fs::rename(root.path() / "away", root.path() / "dataset.json");
  const fs::path path = state_directory(root.path()) / "index.h5";
  std::string index = read_file(path);
  index[index.size() / 2] ^= 1;
  test::overwrite(path, index);
  EXPECT_EQ(opening(root.path()), ErrorCode::corrupt);
}

TEST(DatasetReader, ReadsOtherFilesAsTheyWereWritten) {
  const TemporaryDirectory root;
  test::write_dataset(root.path(), test::small_layout(Codec::lz4), 3);
  const std::string name = "cases/" + test::made_name(1) + ".json";
  const fs::path path = state_directory(root.path()) / name;
  const DatasetReader reader(root.path());
  EXPECT_TRUE(reader.lists(name));
  EXPECT_FALSE(reader.lists("cases/other.json"));
  EXPECT_EQ(reader.read_listed(name), read_file(path));
  const auto code_of = [&](const std::string& file) {
    try {
      (void)reader.read_listed(file);
    } catch (const Error& e) {
      return e.code();
    }
    return ErrorCode::usage;
  };
  test::overwrite(path, read_file(path) + " ");
  EXPECT_EQ(code_of(name), ErrorCode::corrupt);
  fs::remove(path);
  EXPECT_EQ(code_of(name), ErrorCode::corrupt);
  EXPECT_EQ(code_of("cases/other.json"), ErrorCode::corrupt);
  // An update is no damage.
  fs::rename(state_directory(root.path()), root.path() / "state-0123456789abcdef");
  EXPECT_EQ(code_of("ledger.tsv"), ErrorCode::failure);
}

TEST(DatasetReader, MissesAShardOnlyWhenItsSlicesAreRead) {
  const TemporaryDirectory root;
  test::write_dataset(root.path(), test::small_layout(Codec::lz4), kCases);
  fs::remove(state_directory(root.path()) / "shards" / shard_file_name(0));
  const DatasetReader reader(root.path());
  int missing = 0;
  for (std::size_t i = 0; i < reader.slices().size(); ++i) {
    try {
      (void)reader.read_image(i);
      EXPECT_NE(reader.slices()[i].shard, 0);
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::corrupt);
      EXPECT_EQ(reader.slices()[i].shard, 0);
      ++missing;
    }
  }
  EXPECT_GT(missing, 0);
}

TEST(ReadShardCases, RefusesAFlippedByteInAColumn) {
  const TemporaryDirectory root;
  const DatasetLayout layout = test::small_layout(Codec::lz4, 1);
  test::write_dataset(root.path(), layout, kCases);
  const fs::path path = state_directory(root.path()) / "shards" / "shard-00.h5";
  const std::string whole = read_file(path);
  const double z = test::made_case(7, layout).slices[0].z_mm;
  const std::size_t at = whole.find(std::string(reinterpret_cast<const char*>(&z), sizeof z));
  ASSERT_NE(at, std::string::npos);
  std::string broken = whole;
  broken[at + 2] ^= 4;
  test::overwrite(path, broken);
  try {
    (void)read_shard_cases(state_directory(root.path()), 0);
    FAIL() << "the changed position went unnoticed";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::corrupt);
    EXPECT_NE(std::string(e.what()).find("slices/z_mm"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace wsp

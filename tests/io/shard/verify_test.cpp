#include <gtest/gtest.h>
#include <sys/stat.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <set>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/shard/dataset_fixture.hpp"
#include "io/shard/state.hpp"
#include "support/test_data.hpp"

namespace wsp {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

class VerifyTest : public testing::Test {
 protected:
  void SetUp() override {
    layout_ = test::small_layout(Codec::lz4);
    test::write_dataset(root(), layout_, 9);
    state_ = state_directory(root());
    ASSERT_TRUE(verify_dataset(root()).empty());
  }
  fs::path root() const { return directory_.path(); }
  fs::path place(const fs::path& name) const {
    return (name == "dataset.json" ? root() : state_) / name;
  }
  std::set<std::string> codes() const {
    std::set<std::string> found;
    for (const Finding& f : verify_dataset(root())) found.insert(std::string(to_string(f.code)));
    return found;
  }
  bool mentions(const std::string& where, const std::string& detail) const {
    for (const Finding& f : verify_dataset(root()))
      if (f.where.find(where) != std::string::npos && f.detail.find(detail) != std::string::npos)
        return true;
    return false;
  }
  void flip(const fs::path& name, std::uint64_t at) const {
    std::string bytes = read_file(place(name));
    bytes.at(at) ^= 0x10;
    test::overwrite(place(name), bytes);
  }
  void edit(const fs::path& name, const std::function<void(Json&)>& change) const {
    Json json = Json::parse(read_file(place(name)));
    change(json);
    test::overwrite(place(name), json.dump());
  }
  fs::path case_file(int c) const { return fs::path("cases") / (test::made_name(c) + ".json"); }

  test::TemporaryDirectory directory_;
  fs::path state_;
  DatasetLayout layout_;
};

using Codes = std::set<std::string>;

TEST_F(VerifyTest, NamesTheSliceWhoseByteFlipped) {
  const DatasetReader reader(root());
  const IndexRow& row = reader.slices().at(5);
  const fs::path shard = fs::path("shards") / shard_file_name(row.shard);
  flip(shard, row.place.mask_offset + row.place.mask_length / 2);
  EXPECT_EQ(codes(), (Codes{"HASH_MISMATCH", "SHARD_CORRUPT"}));
  EXPECT_TRUE(mentions(shard.string(), "slice " + std::to_string(row.source_index) + " (mask)"));
  test::forge_hashes(root());
  EXPECT_EQ(codes(), (Codes{"SHARD_CORRUPT"}));
}

// Two chunks of one length change places: HDF5 and the file's hash are content, the chunks' hashes
// are not.
TEST_F(VerifyTest, CatchesSwappedChunks) {
  const test::TemporaryDirectory other;
  test::write_dataset(other.path(), test::small_layout(Codec::none, 1), 9);
  const DatasetReader reader(other.path());
  const IndexRow &a = reader.slices().at(2), &b = reader.slices().at(9);
  std::string bytes = read_file(state_directory(other.path()) / "shards" / "shard-00.h5");
  ASSERT_EQ(a.place.image_length, b.place.image_length);
  for (std::size_t i = 0; i < a.place.image_length; ++i)
    std::swap(bytes[a.place.image_offset + i], bytes[b.place.image_offset + i]);
  test::overwrite(state_directory(other.path()) / "shards" / "shard-00.h5", bytes);
  test::forge_hashes(other.path());
  EXPECT_EQ(verify_dataset(other.path()).size(), 2U);
  EXPECT_THROW((void)DatasetReader(other.path()).read_image(2), Error);
  EXPECT_THROW((void)DatasetReader(other.path()).read_image(9), Error);
  EXPECT_NO_THROW((void)DatasetReader(other.path()).read_image(3));
}

TEST_F(VerifyTest, CatchesAStaleShard) {
  const int shard = shard_of(test::made_name(8), layout_.shards);
  std::vector<CaseRecord> records = read_shard_cases(state_, shard);
  records.back().liver_ml += 1;
  (void)write_shard(state_, shard, records, layout_);
  test::forge_hashes(root());
  EXPECT_EQ(codes(), (Codes{"INDEX_MISMATCH"}));
  EXPECT_TRUE(mentions(shard_file_name(shard), "liver_ml"));
  records.pop_back();
  (void)write_shard(state_, shard, records, layout_);
  test::forge_hashes(root());
  EXPECT_TRUE(codes().contains("COUNT_MISMATCH"));
}

TEST_F(VerifyTest, CatchesShardsThatChangedNames) {
  fs::rename(state_ / "shards" / "shard-00.h5", state_ / "shards" / "x");
  fs::rename(state_ / "shards" / "shard-01.h5", state_ / "shards" / "shard-00.h5");
  fs::rename(state_ / "shards" / "x", state_ / "shards" / "shard-01.h5");
  test::forge_hashes(root());
  EXPECT_TRUE(codes().contains("INDEX_MISMATCH"));
}

TEST_F(VerifyTest, CatchesMissingAndUnlistedFiles) {
  fs::remove(state_ / "shards" / "shard-02.h5");
  EXPECT_EQ(codes(), (Codes{"FILE_MISSING"}));
  test::overwrite(state_ / "cases" / "notes.txt", "left here");
  EXPECT_EQ(codes(), (Codes{"COUNT_MISMATCH", "FILE_MISSING", "FILE_UNLISTED"}));
}

// A key or a table that fell into the directory gains no hash that vouches for it.
TEST_F(VerifyTest, NamesForeignFilesAlsoAfterPublishing) {
  test::overwrite(root() / "site.key", std::string(64, 'a'));
  test::overwrite(state_ / "cases" / "labels.csv", "patient,label");
  const Json before = Json::parse(read_file(root() / "dataset.json"));
  fs::rename(state_, next_state(root()));
  publish_state(root(), before, layout_);
  EXPECT_EQ(Json::parse(read_file(root() / "dataset.json")).at("files"), before.at("files"));
  EXPECT_TRUE(mentions("site.key", "stands in the dataset"));
  EXPECT_TRUE(codes().contains("FILE_UNLISTED"));
}

TEST_F(VerifyTest, LeavesRunAndQaAlone) {
  test::overwrite(state_ / "run.json", "{}");
  fs::create_directories(root() / "qa");
  test::overwrite(root() / "qa" / "report.html", "x");
  EXPECT_EQ(codes(), Codes{});
  // What an update left that did not end is no part of the dataset, and no word against it.
  fs::create_directories(next_state(root()) / "cases");
  test::overwrite(next_state(root()) / "cases" / "case-1.json", "{");
  test::overwrite(root() / "dataset.json.tmp", "{");
  EXPECT_EQ(codes(), Codes{});
  test::overwrite(root() / "run.json", "{}");
  EXPECT_EQ(codes(), Codes{"FILE_UNLISTED"});
}

TEST_F(VerifyTest, CatchesEveryWrongCount) {
  for (const char* what : {"cases", "slices", "subjects", "files", "quarantined_cases"}) {
    const std::string untouched = read_file(root() / "dataset.json");
    edit("dataset.json", [&](Json& json) { json["counts"][what] = 77; });
    EXPECT_EQ(codes(), (Codes{"COUNT_MISMATCH"})) << what;
    edit("dataset.json", [&](Json& json) { json["counts"].erase(what); });
    EXPECT_EQ(codes(),
              std::string_view(what) == "quarantined_cases" ? Codes{} : Codes{"COUNT_MISMATCH"})
        << what;
    test::overwrite(root() / "dataset.json", untouched);
  }
  const std::string before = read_file(root() / "dataset.json");
  const auto with = [&](const std::function<void(Json&)>& change) {
    test::overwrite(root() / "dataset.json", before);
    edit("dataset.json", change);
    return codes();
  };
  EXPECT_EQ(with([](Json& json) { json["dispositions"]["USED"] = 8; }), (Codes{"COUNT_MISMATCH"}));
  EXPECT_EQ(with([](Json& json) { json["flags"]["GAP"] = 1; }), (Codes{"COUNT_MISMATCH"}));
  EXPECT_EQ(with([](Json& json) { json["classes"]["label"]["0"]["slices"] = 1; }),
            (Codes{"COUNT_MISMATCH"}));
  EXPECT_EQ(with([](Json& json) { json["layout"]["codec"] = "zstd"; }), (Codes{"INDEX_MISMATCH"}));
  EXPECT_EQ(with([](Json& json) { json["label_names"] = {"label"}; }),
            (Codes{"COUNT_MISMATCH", "INDEX_MISMATCH"}));
}

TEST_F(VerifyTest, CatchesALedgerThatLosesOrInventsFiles) {
  const std::string ledger = read_file(state_ / "ledger.tsv");
  const auto with = [&](const std::string& text) {
    test::overwrite(state_ / "ledger.tsv", text);
    test::forge_hashes(root());
    return codes();
  };
  EXPECT_EQ(with(ledger.substr(0, ledger.rfind('\n', ledger.size() - 2) + 1)),
            (Codes{"COUNT_MISMATCH"}));
  EXPECT_EQ(with(ledger + "00\tUSED\tused\tcase-none\t\n"), (Codes{"COUNT_MISMATCH"}));
  EXPECT_EQ(with(ledger + "00\tNONSENSE\tused\t\t\n"),
            (Codes{"COUNT_MISMATCH", "SCHEMA_VIOLATION"}));
  EXPECT_EQ(with("nothing"), (Codes{"COUNT_MISMATCH", "SCHEMA_VIOLATION"}));
  EXPECT_EQ(with(ledger), Codes{});
}

TEST_F(VerifyTest, CatchesCaseFilesThatSaySomethingElse) {
  const std::string before = read_file(place(case_file(3)));
  const auto with = [&](const std::function<void(Json&)>& change) {
    test::overwrite(place(case_file(3)), before);
    edit(case_file(3), change);
    test::forge_hashes(root());
    return codes();
  };
  EXPECT_EQ(with([](Json& json) { json["subject"] = "sub-9"; }), (Codes{"INDEX_MISMATCH"}));
  EXPECT_EQ(with([](Json& json) { json["labels"]["label"] = 2; }), (Codes{"INDEX_MISMATCH"}));
  EXPECT_EQ(with([](Json& json) { json["split"] = "val"; }), (Codes{"INDEX_MISMATCH"}));
  EXPECT_EQ(with([](Json& json) { json["flags"] = {"GAP"}; }), (Codes{"INDEX_MISMATCH"}));
  // The same number under the name that an earlier manifest gave it.
  EXPECT_EQ(with([](Json& json) {
              json["labels"]["stage"] = json["labels"]["metavir"];
              json["labels"].erase("metavir");
            }),
            (Codes{"INDEX_MISMATCH"}));
  for (const Json& wrong : {Json(7.3), Json(), Json(0)})
    EXPECT_EQ(with([&](Json& json) { json["continuous"]["stiffness_kpa"] = wrong; }),
              (Codes{"INDEX_MISMATCH"}))
        << wrong;
  EXPECT_EQ(with([](Json& json) { json.erase("continuous"); }), (Codes{"INDEX_MISMATCH"}));
  EXPECT_EQ(with([](Json& json) { json["slices"]["kept_count"] = 40; }), (Codes{"COUNT_MISMATCH"}));
  EXPECT_TRUE(with([](Json& json) { json["name"] = 3; }).contains("SCHEMA_VIOLATION"));
  EXPECT_TRUE(
      with([](Json& json) { json["slices"] = Json::array(); }).contains("SCHEMA_VIOLATION"));
  EXPECT_EQ(with([](Json& json) { json = Json::array(); }), (Codes{"SCHEMA_VIOLATION"}));
  fs::remove(place(case_file(3)));
  EXPECT_EQ(codes(), (Codes{"FILE_MISSING"}));
}

TEST_F(VerifyTest, ReadsNoFileOutsideTheDataset) {
  edit("dataset.json",
       [](Json& json) { json["files"]["../../etc/hostname"] = std::string(64, '0'); });
  EXPECT_EQ(codes(), (Codes{"SCHEMA_VIOLATION"}));
}

TEST_F(VerifyTest, DoesNotWaitForAPipe) {
  fs::remove(state_ / "shards" / "shard-01.h5");
  ASSERT_EQ(::mkfifo((state_ / "shards" / "shard-01.h5").c_str(), 0600), 0);
  EXPECT_EQ(codes(), (Codes{"FILE_MISSING"}));
  const DatasetReader reader(root());
  EXPECT_FALSE(reader.slices().empty());
}

TEST_F(VerifyTest, NamesAStateThatIsNotThere) {
  for (const char* state : {"state-0123456789abcdef", "..", "qa", "state-next", ""}) {
    edit("dataset.json", [&](Json& json) { json["state"] = state; });
    EXPECT_TRUE(codes().contains("FILE_MISSING")) << state;
    EXPECT_THROW((void)DatasetReader(root()), Error) << state;
  }
  // A link would lead out of the dataset.
  const std::string name = state_.filename();
  fs::rename(state_, root() / "elsewhere");
  fs::create_directory_symlink(root() / "elsewhere", state_);
  edit("dataset.json", [&](Json& json) { json["state"] = name; });
  EXPECT_TRUE(codes().contains("FILE_MISSING"));
}

TEST_F(VerifyTest, ReadsVersionOne) {
  test::make_version_one(root());
  EXPECT_EQ(codes(), Codes{});
  EXPECT_EQ(DatasetReader(root()).state(), root());
  test::overwrite(root() / "cases" / "notes.txt", "left here");
  EXPECT_EQ(codes(), (Codes{"COUNT_MISMATCH", "FILE_UNLISTED"}));
}

TEST_F(VerifyTest, ReportsABrokenDatasetJson) {
  for (const char* text :
       {"", "[]", "3", "{\"files\": 3}", "{\"counts\": 3, \"files\": {\"index.h5\": 1}}"}) {
    test::overwrite(root() / "dataset.json", text);
    EXPECT_TRUE(codes().contains("SCHEMA_VIOLATION")) << text;
  }
  fs::remove(root() / "dataset.json");
  EXPECT_EQ(codes(), (Codes{"FILE_MISSING"}));
}

TEST(Verify, NeedsADirectory) {
  try {
    (void)verify_dataset("/nonexistent/dataset");
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::no_input);
  }
}

}  // namespace
}  // namespace wsp

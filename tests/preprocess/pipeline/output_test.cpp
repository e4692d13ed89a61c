#include "preprocess/pipeline/output.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/shard/dataset_fixture.hpp"
#include "io/shard/state.hpp"
#include "preprocess/pipeline/crosswalk.hpp"
#include "support/test_data.hpp"

namespace wsp {
namespace {

namespace fs = std::filesystem;

class OutputTest : public testing::Test {
 protected:
  [[nodiscard]] fs::path out() const { return work_.path() / "ds"; }
  // What the shard of the dataset that stands holds; "" where none stands.
  [[nodiscard]] std::string shard() const {
    if (!fs::exists(out() / "dataset.json")) return "";
    return read_file(state_directory(out()) / "shards" / "shard-00.h5");
  }
  // A run with this configuration that ends as told.
  void run(const std::string& config, bool finish, bool force = false) const {
    OutputDirectory output(out(), RunTraits{config}, "test", force);
    output.claim();
    write_file_atomic(output.next() / "shards" / "shard-00.h5", config);
    if (finish) output.commit({{"counts", {{"cases", 3}}}}, {});
  }
  [[nodiscard]] bool refused(const std::string& config, bool force = false) const {
    try {
      const OutputDirectory output(out(), RunTraits{config}, "test", force);
      return false;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::output);
      return true;
    }
  }
  test::TemporaryDirectory work_;
};

TEST_F(OutputTest, ChangesNothingBeforeItIsCommitted) {
  { const OutputDirectory output(out(), RunTraits{"a"}, "test", false); }
  EXPECT_FALSE(fs::exists(out())) << "an empty directory stayed behind";
  run("a", true);
  run("b", false, true);
  EXPECT_EQ(finished_cases(out()), 3U);
  EXPECT_EQ(shard(), "a");
  run("b", true, true);
  EXPECT_EQ(shard(), "b");
  EXPECT_TRUE(unnamed_states(out()).empty());
}

TEST_F(OutputTest, ProtectsWhatWasCompleteOnce) {
  run("a", true);
  EXPECT_TRUE(refused("b"));
  run("a", false);
  EXPECT_TRUE(refused("b"));
  run("b", false, true);  // a replacement that was interrupted is no dataset yet
  EXPECT_TRUE(refused("b"));
  EXPECT_FALSE(refused("a"));
  run("b", true, true);
  EXPECT_EQ(shard(), "b");
  EXPECT_TRUE(refused("a"));
}

TEST_F(OutputTest, ReplacesAFirstRunThatNeverEnded) {
  run("a", false);
  write_file_atomic(next_state(out()) / "cases" / "old.json", std::string_view("{}"));
  run("b", false);
  EXPECT_FALSE(fs::exists(next_state(out()) / "cases" / "old.json"));
  EXPECT_EQ(shard(), "");
}

TEST_F(OutputTest, KeepsTheWorkOfAnInterruptedRunAndOfTheDataset) {
  run("a", true);
  run("a", false);
  OutputDirectory output(out(), RunTraits{"a"}, "test", false);
  EXPECT_EQ(output.standing().states,
            (std::vector<fs::path>{next_state(out()), state_directory(out())}));
  output.claim();
  EXPECT_EQ(read_file(output.next() / "shards" / "shard-00.h5"), "a");
}

// Killed after the folder had its name and before dataset.json had it.
TEST_F(OutputTest, GoesOnWithAStateThatWasNotNamed) {
  run("a", true);
  const fs::path state = state_directory(out());
  fs::remove(out() / "dataset.json");
  EXPECT_TRUE(refused("b"));
  {
    const OutputDirectory output(out(), RunTraits{"a"}, "test", false);
    EXPECT_EQ(output.standing().states, std::vector<fs::path>{state});
  }
  run("a", true);
  EXPECT_EQ(state_directory(out()), state);
  EXPECT_EQ(shard(), "a");
}

TEST_F(OutputTest, GoesOnWithVersionOne) {
  for (const bool was_finished : {true, false}) {
    fs::remove_all(out());
    run("a", true);
    test::make_version_one(out());
    if (!was_finished) fs::remove(out() / "dataset.json");  // as its updates began
    EXPECT_TRUE(refused("b"));
    const OutputDirectory output(out(), RunTraits{"a"}, "test", false);
    EXPECT_TRUE(output.standing().completed);
    EXPECT_EQ(output.standing().states, std::vector<fs::path>{out()});
  }
}

TEST_F(OutputTest, GoesOnWhereAKillLeftNothingWhole) {
  fs::create_directories(next_state(out()));
  EXPECT_FALSE(refused("a"));
  write_file_atomic(next_state(out()) / "run.json.tmp", std::string_view("{"));
  EXPECT_FALSE(refused("a"));
  write_file_atomic(out() / "notes.txt", std::string_view("mine"));
  EXPECT_TRUE(refused("a"));
}

TEST_F(OutputTest, RefusesAnotherSiteKeyAndForgottenLabels) {
  {
    OutputDirectory output(out(), RunTraits{"a", "key", true}, "test", false);
    output.claim();
    output.commit(nlohmann::json::object(), {});
  }
  const auto judged = [&](const RunTraits& traits, bool force = false) {
    try {
      (void)judge_output(out(), traits, force);
      return true;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::output);
      return false;
    }
  };
  EXPECT_TRUE(judged({"a", "key", true}));
  EXPECT_TRUE(judged({"a", "", true})) << "a dry run without a key";
  EXPECT_FALSE(judged({"a", "other", true}));
  EXPECT_FALSE(judged({"a", "key", false}));
  EXPECT_TRUE(judged({"a", "other", false}, true));
}

TEST_F(OutputTest, ServesOneRunAtATime) {
  const OutputDirectory first(out(), RunTraits{"a"}, "test", false);
  EXPECT_TRUE(refused("a"));
  EXPECT_TRUE(refused("a", true));
}

TEST_F(OutputTest, TouchesNoForeignDirectory) {
  write_file_atomic(work_.path() / "notes.txt", std::string_view("mine"));
  EXPECT_THROW(OutputDirectory(work_.path(), RunTraits{"a"}, "test", true), Error);
  // Its run.json cannot be read: as careful as with a complete dataset.
  run("a", true);
  write_file_atomic(state_directory(out()) / "run.json", std::string_view("{broken"));
  EXPECT_TRUE(refused("a"));
  EXPECT_FALSE(refused("a", true));
}

TEST(Crosswalk, KeepsItsRowsWhateverAFileIsCalled) {
  EXPECT_EQ(crosswalk_text({{"sub-1", "A\tB"}, {"ff", "scan\n1\\2\r.dcm"}}),
            "pseudonym\toriginal\nsub-1\tA\\tB\nff\tscan\\n1\\\\2\\r.dcm\n");
}

TEST(Crosswalk, IsRefusedBeforeTheRunWhereItCouldNotBeWritten) {
  const test::TemporaryDirectory work;
  EXPECT_NO_THROW(check_crosswalk(work.path() / "new.tsv"));
  EXPECT_THROW(check_crosswalk(work.path() / "nowhere" / "x.tsv"), Error);
  EXPECT_THROW(check_crosswalk(work.path()), Error);
  write_file_atomic(work.path() / "thesis.txt", std::string_view("three years\n"));
  EXPECT_THROW(check_crosswalk(work.path() / "thesis.txt"), Error);
  fs::create_symlink(work.path() / "thesis.txt", work.path() / "link");
  EXPECT_THROW(check_crosswalk(work.path() / "link"), Error);
  write_file_atomic(work.path() / "old.tsv", crosswalk_text({{"a", "b"}}));
  EXPECT_NO_THROW(check_crosswalk(work.path() / "old.tsv"));
}

}  // namespace
}  // namespace wsp

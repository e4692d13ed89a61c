#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <nlohmann/json.hpp>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/shard/dataset_fixture.hpp"
#include "support/test_data.hpp"

namespace wsp {
namespace {

namespace fs = std::filesystem;
using test::TemporaryDirectory;

std::vector<CaseRecord> some_cases(const DatasetLayout& layout, int count) {
  std::vector<CaseRecord> records;
  for (int c = 0; c < count; ++c) records.push_back(test::made_case(c, layout));
  return records;
}

struct FaultHook {
  explicit FaultHook(FileStep at) {
    set_file_fault_hook([this, at](FileStep step, const fs::path&) {
      if (step != at) return;
      fired = true;
      throw Error(ErrorCode::output, "injected");
    });
  }
  ~FaultHook() { set_file_fault_hook({}); }
  bool fired = false;
};

int files_in(const fs::path& directory) {
  int n = 0;
  for (const auto& entry : fs::directory_iterator(directory)) n += entry.is_regular_file() ? 1 : 0;
  return n;
}

TEST(Publish, AFailureAtAnyStepLeavesTheOldFileOrTheWholeNewOne) {
  const DatasetLayout layout = test::small_layout(Codec::lz4, 1);
  const TemporaryDirectory reference;
  fs::create_directories(reference.path() / "shards");
  write_index(reference.path(), write_shard(reference.path(), 0, some_cases(layout, 5), layout),
              layout);
  for (const FileStep step : {FileStep::open, FileStep::write, FileStep::sync, FileStep::close,
                              FileStep::rename, FileStep::sync_directory}) {
    const TemporaryDirectory root;
    fs::create_directories(root.path() / "shards");
    const fs::path shard = root.path() / "shards" / "shard-00.h5", index = root.path() / "index.h5";
    write_index(root.path(), write_shard(root.path(), 0, some_cases(layout, 2), layout), layout);
    write_dataset_json(root.path(), {{"config", 1}}, layout);
    const auto old_shard = sha256_file(shard), old_index = sha256_file(index),
               old_json = sha256_file(root.path() / "dataset.json");
    const auto failing = [&](auto&& call) {
      const FaultHook hook(step);
      try {
        call();
        EXPECT_FALSE(hook.fired);
      } catch (const Error& e) {
        EXPECT_EQ(e.code(), ErrorCode::output);
        EXPECT_TRUE(hook.fired);
      }
      return hook.fired;
    };
    const bool renamed = step == FileStep::sync_directory;
    if (failing([&] { (void)write_shard(root.path(), 0, some_cases(layout, 5), layout); })) {
      EXPECT_EQ(sha256_file(shard),
                renamed ? sha256_file(reference.path() / "shards" / "shard-00.h5") : old_shard);
    }
    const auto places = write_shard(reference.path(), 0, some_cases(layout, 5), layout);
    if (failing([&] { write_index(root.path(), places, layout); })) {
      EXPECT_EQ(sha256_file(index),
                renamed ? sha256_file(reference.path() / "index.h5") : old_index);
    }
    EXPECT_TRUE(failing([&] { write_dataset_json(root.path(), {{"config", 2}}, layout); }));
    if (!renamed) {
      EXPECT_EQ(sha256_file(root.path() / "dataset.json"), old_json);
    }
    EXPECT_EQ(files_in(root.path() / "shards"), 1) << "a temporary file was left behind";
    EXPECT_EQ(files_in(root.path()), 2) << "a temporary file was left behind";
  }
}

// A disk that fills up at any byte, told by a limit on the size of files. In a child, for the limit
// is the process's.
TEST(Publish, AFullDiskIsAnErrorAndLeavesTheOldFile) {
  const DatasetLayout layout = test::small_layout(Codec::lz4, 1);
  const TemporaryDirectory root;
  fs::create_directories(root.path() / "shards");
  const fs::path shard = root.path() / "shards" / "shard-00.h5";
  (void)write_shard(root.path(), 0, some_cases(layout, 9), layout);
  const auto size = static_cast<rlim_t>(fs::file_size(shard));
  (void)write_shard(root.path(), 0, some_cases(layout, 2), layout);
  const auto before = sha256_file(shard);
  for (rlim_t limit = 0; limit < size; limit += size / 25 + 1) {
    const pid_t child = ::fork();
    if (child == 0) {
      std::signal(SIGXFSZ, SIG_IGN);
      const rlimit bound{limit, RLIM_INFINITY};
      ::setrlimit(RLIMIT_FSIZE, &bound);
      int result = 1;
      try {
        (void)write_shard(root.path(), 0, some_cases(layout, 9), layout);
      } catch (const Error& e) {
        result = e.code() == ErrorCode::output ? 0 : 2;
      }
      // The same process goes on once there is room again.
      const rlimit free{RLIM_INFINITY, RLIM_INFINITY};
      ::setrlimit(RLIMIT_FSIZE, &free);
      try {
        if (result == 0 && sha256_file(shard) != before) result = 3;
        if (result == 0 && fs::exists(shard.string() + ".tmp")) result = 4;
        if (result == 0) (void)write_shard(root.path(), 0, some_cases(layout, 2), layout);
      } catch (const Error&) {
        result = 5;
      }
      ::_exit(result);
    }
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status)) << "the writer crashed at a limit of " << limit;
    EXPECT_EQ(WEXITSTATUS(status), 0) << "at a limit of " << limit << " of " << size;
    EXPECT_EQ(sha256_file(shard), before);
  }
}

ErrorCode writing(std::vector<CaseRecord> records, const DatasetLayout& layout, int shard = 0) {
  const TemporaryDirectory root;
  fs::create_directories(root.path() / "shards");
  try {
    (void)write_shard(root.path(), shard, std::move(records), layout);
  } catch (const Error& e) {
    EXPECT_EQ(files_in(root.path() / "shards"), 0);
    return e.code();
  }
  ADD_FAILURE() << "the shard was written";
  return ErrorCode::failure;
}

TEST(WriteShard, RefusesRecordsThatDoNotFit) {
  const DatasetLayout layout = test::small_layout(Codec::lz4, 1);
  EXPECT_EQ(writing({test::made_case(1, layout), test::made_case(1, layout)}, layout),
            ErrorCode::failure);
  DatasetLayout wider = layout;
  wider.width += 8;
  EXPECT_EQ(writing({test::made_case(1, layout)}, wider), ErrorCode::failure);
  CaseRecord labelled = test::made_case(1, layout);
  labelled.labels.push_back(3);
  EXPECT_EQ(writing({labelled}, layout), ErrorCode::failure);
  // A chunk whose hash is another case's would never be read again.
  CaseRecord renamed = test::made_case(4, layout);
  renamed.name = "case-else";
  EXPECT_EQ(writing({renamed}, layout), ErrorCode::output);
  DatasetLayout halves = layout;
  halves.shards = 2;
  EXPECT_EQ(writing({test::made_case(1, layout)}, halves, 1 - shard_of(test::made_name(1), 2)),
            ErrorCode::failure);
}

TEST(WriteShard, RefusesLayoutsThatNoReaderTakes) {
  DatasetLayout layout = test::small_layout(Codec::lz4, 1);
  for (const char* label : {"", "case", "image_offset", "a,b", "a/b", "label"}) {
    layout.label_names = {"label", label};
    EXPECT_EQ(writing({}, layout), ErrorCode::usage) << label;
  }
  layout.label_names = {"label"};
  for (const int shards : {0, -1, 3, 1 << 20}) {
    layout.shards = shards;
    EXPECT_EQ(writing({}, layout), ErrorCode::usage) << shards;
  }
}

TEST(WriteShard, SaysThatThePlaceIsNotWritable) {
  const DatasetLayout layout = test::small_layout(Codec::lz4, 1);
  try {
    (void)write_shard("/nonexistent/dataset", 0, {}, layout);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::output);
    EXPECT_NE(std::string(e.what()).find("shard-00.h5"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace wsp

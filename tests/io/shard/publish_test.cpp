#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/shard/dataset_fixture.hpp"
#include "io/shard/state.hpp"
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
    const auto old_shard = sha256_file(shard), old_index = sha256_file(index);
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
    EXPECT_EQ(files_in(root.path() / "shards"), 1) << "a temporary file was left behind";
    EXPECT_EQ(files_in(root.path()), 1) << "a temporary file was left behind";
  }
}

// The dataset as its readers see it: what each case's first image is.
std::map<std::string, std::vector<std::int16_t>> seen(const DatasetReader& reader) {
  std::map<std::string, std::vector<std::int16_t>> images;
  for (std::size_t i = 0; i < reader.slices().size(); ++i)
    images.emplace(reader.cases()[static_cast<std::size_t>(reader.slices()[i].case_id)].name,
                   reader.read_image(i));
  return images;
}

// The next state of a dataset, of this many cases, unpublished.
void make_next(const fs::path& dataset, const DatasetLayout& layout, int count) {
  const TemporaryDirectory other;
  test::write_dataset(other.path(), layout, count);
  fs::remove_all(next_state(dataset));
  fs::copy(state_directory(other.path()), next_state(dataset), fs::copy_options::recursive);
}

nlohmann::json fields_of(const DatasetLayout& layout, int count) {
  const TemporaryDirectory other;
  test::write_dataset(other.path(), layout, count);
  return nlohmann::json::parse(read_file(other.path() / "dataset.json"));
}

TEST(PublishState, AFailureAtAnyStepLeavesTheOldDatasetOrTheWholeNewOne) {
  const DatasetLayout layout = test::small_layout(Codec::lz4);
  const auto fields = fields_of(layout, 7);
  // Every step of a commit, in its order; the hook fails the n-th.
  for (int n = 0, steps = 1; n < steps; ++n) {
    const TemporaryDirectory root;
    test::write_dataset(root.path(), layout, 4);
    const DatasetReader reader(root.path());
    const auto before = seen(reader);
    make_next(root.path(), layout, 7);
    int at = 0;
    bool failed = false;
    set_file_fault_hook([&](FileStep, const fs::path&) {
      if (at++ == n) throw Error(ErrorCode::output, "injected");
    });
    try {
      publish_state(root.path(), fields, layout);
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::output);
      failed = true;
    }
    set_file_fault_hook({});
    EXPECT_TRUE(failed || n == at) << "step " << n;
    steps = std::max(steps, at + (failed ? 1 : 0));
    EXPECT_TRUE(verify_dataset(root.path()).empty()) << "step " << n;
    const auto after = seen(DatasetReader(root.path()));
    EXPECT_TRUE(after.size() == 7 || (failed && after == before)) << "step " << n;
    // Who opened it before goes on with what was there.
    EXPECT_EQ(seen(reader), before);
    // And the same again completes it, whatever was left.
    test::overwrite(root.path() / "dataset.json.tmp", "{");
    make_next(root.path(), layout, 7);
    publish_state(root.path(), fields, layout);
    EXPECT_TRUE(verify_dataset(root.path()).empty());
    EXPECT_EQ(seen(DatasetReader(root.path())).size(), 7U);
    EXPECT_TRUE(unnamed_states(root.path()).empty());
    EXPECT_FALSE(fs::exists(root.path() / "dataset.json.tmp"));
    if (n > 100) FAIL() << "the steps do not end";
  }
}

TEST(PublishState, KeepsFilesThatDidNotChange) {
  const DatasetLayout layout = test::small_layout(Codec::lz4);
  const TemporaryDirectory root;
  test::write_dataset(root.path(), layout, 4);
  const auto inode = [&](int c) {
    struct stat info {};
    EXPECT_EQ(
        ::stat((state_directory(root.path()) / "cases" / (test::made_name(c) + ".json")).c_str(),
               &info),
        0);
    return info.st_ino;
  };
  const auto before = inode(2);
  make_next(root.path(), layout, 7);
  publish_state(root.path(), fields_of(layout, 7), layout);
  EXPECT_EQ(inode(2), before);
  EXPECT_TRUE(verify_dataset(root.path()).empty());
  // A damaged file is not kept for what it was.
  const fs::path damaged = state_directory(root.path()) / "index.h5";
  std::string bytes = read_file(damaged);
  bytes[bytes.size() / 2] ^= 1;
  test::overwrite(damaged, bytes);
  ASSERT_FALSE(verify_dataset(root.path()).empty());
  make_next(root.path(), layout, 7);
  publish_state(root.path(), fields_of(layout, 7), layout);
  EXPECT_TRUE(verify_dataset(root.path()).empty());
}

TEST(PublishState, TakesTheNameFromTheContents) {
  const DatasetLayout layout = test::small_layout(Codec::lz4);
  const TemporaryDirectory a, b, c;
  test::write_dataset(a.path(), layout, 4);
  test::write_dataset(b.path(), layout, 4);
  test::write_dataset(c.path(), layout, 5);
  EXPECT_EQ(read_file(a.path() / "dataset.json"), read_file(b.path() / "dataset.json"));
  EXPECT_EQ(state_directory(a.path()).filename(), state_directory(b.path()).filename());
  EXPECT_NE(state_directory(a.path()).filename(), state_directory(c.path()).filename());
}

TEST(PublishState, ReplacesVersionOne) {
  const DatasetLayout layout = test::small_layout(Codec::lz4);
  const TemporaryDirectory root;
  test::write_dataset(root.path(), layout, 4);
  test::make_version_one(root.path());
  make_next(root.path(), layout, 7);
  publish_state(root.path(), fields_of(layout, 7), layout);
  EXPECT_TRUE(verify_dataset(root.path()).empty());
  EXPECT_FALSE(fs::exists(root.path() / "shards"));
  EXPECT_EQ(DatasetReader(root.path()).cases().size(), 7U);
}

// Readers that come and go beside a writer see one dataset or the other.
TEST(PublishState, ShowsReadersWholeDatasetsOnly) {
  const DatasetLayout layout = test::small_layout(Codec::lz4);
  const TemporaryDirectory root;
  test::write_dataset(root.path(), layout, 4);
  const auto few = fields_of(layout, 4), many = fields_of(layout, 7);
  std::atomic<bool> done{false};
  std::atomic<int> opened{0};
  std::thread reader([&] {
    while (!done) {
      try {
        const auto images = seen(DatasetReader(root.path()));
        EXPECT_TRUE(images.size() == 4 || images.size() == 7) << images.size();
        ++opened;
      } catch (const Error& e) {
        ADD_FAILURE() << e.what();
      }
    }
  });
  for (int round = 0; round < 60; ++round) {
    const bool grow = round % 2 == 0;
    make_next(root.path(), layout, grow ? 7 : 4);
    publish_state(root.path(), grow ? many : few, layout);
  }
  done = true;
  reader.join();
  EXPECT_GT(opened, 10);
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

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <random>
#include <vector>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/shard/dataset_fixture.hpp"
#include "io/shard/state.hpp"
#include "support/test_data.hpp"

namespace wsp {
namespace {

namespace fs = std::filesystem;

// What became of a piece of work in a process with 10 s of processor time and 4 GiB of memory.
enum Result { kRefused = 0, kAccepted = 10, kWrongError = 11, kCrashed = -1 };

int in_child(const std::function<int()>& work) {
  const pid_t child = ::fork();
  if (child == 0) {
    [[maybe_unused]] const rlimit seconds{10, 10}, bytes{rlim_t{4} << 30, rlim_t{4} << 30},
        core{0, 0};
    ::setrlimit(RLIMIT_CPU, &seconds);
    ::setrlimit(RLIMIT_CORE, &core);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    ::setrlimit(RLIMIT_AS, &bytes);
#endif
    int result = kWrongError;
    try {
      result = work();
    } catch (...) {
    }
    ::_exit(result);
  }
  int status = 0;
  if (child < 0 || ::waitpid(child, &status, 0) != child || !WIFEXITED(status)) return kCrashed;
  return WEXITSTATUS(status);
}

int opened_as_index(const fs::path& root) {
  try {
    const DatasetReader reader(root);
    return kAccepted;
  } catch (const Error& e) {
    return e.code() == ErrorCode::corrupt ? kRefused : kWrongError;
  }
}

int opened_as_shard(const fs::path& root, int shard) {
  try {
    (void)read_shard_cases(state_directory(root), shard);
    return kAccepted;
  } catch (const Error& e) {
    return e.code() == ErrorCode::corrupt ? kRefused : kWrongError;
  }
}

int verified(const fs::path& root) { return verify_dataset(root).empty() ? kAccepted : kRefused; }

void make(const fs::path& root, int shards) {
  ASSERT_EQ(in_child([&] {
              test::write_dataset(root, test::small_layout(Codec::lz4, shards), 7);
              return 0;
            }),
            0);
}

// Files made to crash HDF5, with hashes forged so that nothing but the reader stands in their way.
TEST(HostileHdf5, IsRefusedAsIndexAndAsShard) {
  WSP_REQUIRE_TEST_DATA(data);
  const test::TemporaryDirectory directory;
  const fs::path root = directory.path() / "data";
  make(root, 1);
  const fs::path state = state_directory(root);
  const std::string index = read_file(state / "index.h5"),
                    shard = read_file(state / "shards" / "shard-00.h5");
  int files = 0;
  std::vector<fs::path> hostile;
  for (const auto& entry : fs::directory_iterator(data / "corrupt" / "hdf5_cve"))
    hostile.push_back(entry.path());
  for (const auto& entry : fs::directory_iterator(data / "hdf5_zoo"))
    hostile.push_back(entry.path());
  for (const fs::path& path : hostile) {
    if (!fs::is_regular_file(path)) continue;
    ++files;
    const std::string bytes = read_file(path);
    test::overwrite(state / "index.h5", bytes);
    test::forge_hashes(root);
    EXPECT_EQ(in_child([&] { return opened_as_index(root); }), kRefused) << path;
    EXPECT_EQ(in_child([&] { return verified(root); }), kRefused) << path;
    test::overwrite(state / "index.h5", index);
    test::overwrite(state / "shards" / "shard-00.h5", bytes);
    test::forge_hashes(root);
    EXPECT_EQ(in_child([&] { return opened_as_shard(root, 0); }), kRefused) << path;
    EXPECT_EQ(in_child([&] { return verified(root); }), kRefused) << path;
    test::overwrite(state / "shards" / "shard-00.h5", shard);
  }
  EXPECT_GE(files, 60);
  test::forge_hashes(root);
  EXPECT_EQ(in_child([&] { return verified(root); }), kAccepted);
}

// Our own files with one changed byte and a forged hash: refused, or the byte meant nothing.
class ChangedByte : public testing::TestWithParam<const char*> {};

TEST_P(ChangedByte, IsFoundOrMeansNothing) {
  const test::TemporaryDirectory directory;
  const fs::path root = directory.path() / "data";
  make(root, 1);
  const fs::path name = state_directory(root) / GetParam();
  const std::string whole = read_file(name);
  const std::uint32_t seed = std::random_device{}();
  std::mt19937 random(seed);
  int refused = 0, harmless = 0;
  for (int i = 0; i < 150; ++i) {
    std::string bytes = whole;
    // Half of them in the metadata at the front, where a parser believes what it reads.
    const std::size_t at =
        random() % (i % 2 == 0 ? whole.size() : std::min<std::size_t>(4096, whole.size()));
    bytes[at] = static_cast<char>(bytes[at] ^ (1 + random() % 255));
    test::overwrite(name, bytes);
    test::forge_hashes(root);
    const int result = in_child([&] {
      const int verdict = verified(root);
      if (verdict == kRefused) return verdict;
      const DatasetReader reader(root);
      for (std::size_t r = 0; r < reader.slices().size(); ++r) {
        const IndexRow& row = reader.slices()[r];
        int c = 0;
        while (test::made_name(c) != reader.cases()[static_cast<std::size_t>(row.case_id)].name)
          ++c;
        if (reader.read_image(r) != test::made_image(c, row.source_index)) return int{kWrongError};
      }
      return verdict;
    });
    EXPECT_TRUE(result == kRefused || result == kAccepted)
        << name << ", byte " << at << ", result " << result << ", seed " << seed;
    (result == kRefused ? refused : harmless) += 1;
  }
  EXPECT_GT(refused, harmless) << "seed " << seed;
}

TEST_P(ChangedByte, ATruncatedFileIsFound) {
  const test::TemporaryDirectory directory;
  const fs::path root = directory.path() / "data";
  make(root, 1);
  const fs::path name = state_directory(root) / GetParam();
  const std::string whole = read_file(name);
  for (std::size_t size = 0; size < whole.size(); size += whole.size() / 20 + 1) {
    test::overwrite(name, whole.substr(0, size));
    test::forge_hashes(root);
    EXPECT_EQ(in_child([&] { return verified(root); }), kRefused) << size << " of " << whole.size();
  }
}

INSTANTIATE_TEST_SUITE_P(Files, ChangedByte, testing::Values("index.h5", "shards/shard-00.h5"),
                         [](const auto& param) { return param.index == 0 ? "index" : "shard"; });

}  // namespace
}  // namespace wsp

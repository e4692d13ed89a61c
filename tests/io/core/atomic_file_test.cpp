#include "io/core/atomic_file.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <atomic>
#include <csignal>
#include <fstream>
#include <set>
#include <thread>

#include "io/core/error.hpp"
#include "support/test_data.hpp"

namespace wsp {
namespace {

namespace fs = std::filesystem;

constexpr std::array kSteps = {FileStep::open,  FileStep::write,  FileStep::sync,
                               FileStep::close, FileStep::rename, FileStep::sync_directory};

std::string text_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::size_t entries(const fs::path& directory) {
  return static_cast<std::size_t>(
      std::distance(fs::directory_iterator(directory), fs::directory_iterator()));
}

// Removes the hook at the end of the scope, also when an expectation throws.
struct Fault {
  explicit Fault(FileStep wanted) {
    set_file_fault_hook([wanted](FileStep step, const fs::path&) {
      if (step == wanted) throw Error(ErrorCode::output, "injected");
    });
  }
  Fault(const Fault&) = delete;
  Fault& operator=(const Fault&) = delete;
  ~Fault() { set_file_fault_hook({}); }
};

TEST(AtomicFile, WritesNewFilesAndReplacesOldOnes) {
  const test::TemporaryDirectory work;
  const fs::path path = work.path() / "file";
  const std::string binary("a\0b\xff\n", 5);
  for (const std::string& text :
       {std::string("first"), std::string(), binary, std::string(3 << 20, 'x')}) {
    write_file_atomic(path, std::string_view(text));
    EXPECT_EQ(text_of(path), text);
    EXPECT_EQ(read_file(path), text);
    EXPECT_EQ(entries(work.path()), 1U) << "a temporary file was left behind";
  }
}

TEST(AtomicFile, UnsyncedWritesAreWholeToo) {
  const test::TemporaryDirectory work;
  const fs::path path = work.path() / "file";
  write_file_unsynced(path, std::string_view("old"));
  for (const FileStep step : {FileStep::open, FileStep::write, FileStep::close, FileStep::rename}) {
    const Fault fault(step);
    EXPECT_THROW(write_file_unsynced(path, std::string_view("new")), Error);
    EXPECT_EQ(text_of(path), "old");
    EXPECT_EQ(entries(work.path()), 1U) << "a temporary file was left behind";
  }
  {
    const Fault fault(FileStep::sync);  // is not reached before the one wait for all
    EXPECT_NO_THROW(write_file_unsynced(path, std::string_view("new")));
    EXPECT_THROW(sync_filesystem(work.path()), Error);
  }
  sync_filesystem(work.path());
  EXPECT_EQ(text_of(path), "new");
  EXPECT_THROW(sync_filesystem(work.path() / "absent"), Error);
}

TEST(AtomicFile, HasTheModeThatTheUmaskLeaves) {
  const test::TemporaryDirectory work;
  const fs::path path = work.path() / "file";
  const auto mode_of = [&] {
    struct stat status {};
    EXPECT_EQ(::stat(path.c_str(), &status), 0);
    return status.st_mode & 0777U;
  };
  const mode_t before = ::umask(0);
  for (const mode_t mask : {0077U, 0022U, 0002U}) {
    ::umask(mask);
    fs::remove(path);
    write_file_atomic(path, std::string_view("x"));
    EXPECT_EQ(mode_of(), 0644U & ~mask);
    write_file_unsynced(path, std::string_view("y"));
    EXPECT_EQ(mode_of(), 0644U & ~mask);
    // A secret is closed whatever stood there before, the same bytes included.
    write_file_atomic(path, std::string_view("y"), 0600);
    EXPECT_EQ(mode_of(), 0600U & ~mask);
    // What a kill left of another run lends its mode to nothing.
    write_file_atomic(path.string() + ".tmp", std::string_view("z"));
    write_file_atomic(path, std::string_view("secret"), 0600);
    EXPECT_EQ(mode_of(), 0600U & ~mask);
  }
  ::umask(before);
}

TEST(AtomicFile, AFaultAtAnyStepLeavesTheOldFileOrTheWholeNewOne) {
  const test::TemporaryDirectory work;
  const fs::path path = work.path() / "file";
  for (const FileStep step : kSteps) {
    SCOPED_TRACE(static_cast<int>(step));
    write_file_atomic(path, std::string_view("old"));
    {
      const Fault fault(step);
      EXPECT_THROW(write_file_atomic(path, std::string_view("new and longer")), Error);
    }
    // Only after the rename may the new bytes be seen.
    EXPECT_EQ(text_of(path), step == FileStep::sync_directory ? "new and longer" : "old");
    EXPECT_EQ(entries(work.path()), 1U) << "a temporary file was left behind";
    write_file_atomic(path, std::string_view("again"));
    EXPECT_EQ(text_of(path), "again");
  }
}

TEST(AtomicFile, AFaultInAFirstWriteLeavesNothing) {
  const test::TemporaryDirectory work;
  for (const FileStep step : kSteps) {
    if (step == FileStep::sync_directory) continue;
    const Fault fault(step);
    EXPECT_THROW(write_file_atomic(work.path() / "file", std::string_view("new")), Error);
    EXPECT_EQ(entries(work.path()), 0U) << static_cast<int>(step);
  }
}

TEST(AtomicFile, CallsTheHookOncePerStepInOrder) {
  const test::TemporaryDirectory work;
  std::vector<FileStep> seen;
  set_file_fault_hook([&](FileStep step, const fs::path&) { seen.push_back(step); });
  write_file_atomic(work.path() / "file", std::string_view("x"));
  set_file_fault_hook({});
  EXPECT_EQ(seen, std::vector<FileStep>(kSteps.begin(), kSteps.end()));
}

TEST(AtomicFile, PublishesWhatSomethingElseWrote) {
  const test::TemporaryDirectory work;
  const fs::path path = work.path() / "file", temporary = work.path() / "other.tmp";
  write_file_atomic(path, std::string_view("old"));
  for (const FileStep step : {FileStep::sync, FileStep::rename}) {
    std::ofstream(temporary) << "new";
    const Fault fault(step);
    EXPECT_THROW(publish_file(temporary, path), Error);
    EXPECT_EQ(text_of(path), "old");
    EXPECT_FALSE(fs::exists(temporary));
  }
  std::ofstream(temporary) << "new";
  publish_file(temporary, path);
  EXPECT_EQ(text_of(path), "new");
  EXPECT_EQ(entries(work.path()), 1U);
  EXPECT_THROW(publish_file(work.path() / "absent.tmp", path), Error);
  EXPECT_EQ(text_of(path), "new");
}

TEST(AtomicFile, ReadersNeverSeeAPart) {
  const test::TemporaryDirectory work;
  const fs::path path = work.path() / "file";
  const std::string a(200000, 'a'), b(100000, 'b');
  write_file_atomic(path, std::string_view(a));
  std::atomic<bool> done{false};
  std::atomic<int> reads{0}, torn{0};
  std::thread reader([&] {
    do {
      const std::string text = text_of(path);
      if (text != a && text != b) ++torn;
      ++reads;
    } while (!done);
  });
  for (int i = 0; i < 40; ++i) write_file_atomic(path, std::string_view(i % 2 == 0 ? b : a));
  done = true;
  reader.join();
  EXPECT_GT(reads.load(), 0);
  EXPECT_EQ(torn.load(), 0);
}

TEST(AtomicFile, SaysWhatIsWrongWithThePlace) {
  const test::TemporaryDirectory work;
  try {
    write_file_atomic(work.path() / "absent" / "file", std::string_view("x"));
    ADD_FAILURE() << "wrote into a directory that does not exist";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::output);
    EXPECT_NE(std::string(e.what()).find("No such file or directory"), std::string::npos)
        << e.what();
  }
  // A directory stands where the file should.
  fs::create_directory(work.path() / "place");
  fs::create_directory(work.path() / "place" / "file");
  EXPECT_THROW(write_file_atomic(work.path() / "place" / "file", std::string_view("x")), Error);
  EXPECT_EQ(entries(work.path() / "place"), 1U);
}

TEST(AtomicFile, AWriteThatFailsIsAnOutputErrorAndLeavesNothing) {
  const test::TemporaryDirectory work;
  // The system refuses every byte, as on a full disk.
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit none{0, before.rlim_max};
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &none), 0);
  std::string told;
  try {
    write_file_atomic(work.path() / "file", std::string_view("x"));
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::output);
    told = e.what();
  }
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_NE(told.find("cannot write"), std::string::npos) << told;
  EXPECT_TRUE(fs::is_empty(work.path()));
}

TEST(ReadFile, SaysWhenThereIsNothingToRead) {
  const test::TemporaryDirectory work;
  EXPECT_THROW((void)read_file(work.path() / "absent"), Error);
}

TEST(ReadFile, FailsWhenReadingFails) {
  const test::TemporaryDirectory work;
  EXPECT_THROW((void)read_file(work.path()), Error);
}

TEST(AtomicFile, LeavesAFileAloneThatHoldsTheBytesAlready) {
  const test::TemporaryDirectory work;
  const auto path = work.path() / "a";
  write_file_atomic(path, "one");
  const auto inode = [&] {
    struct stat info {};
    EXPECT_EQ(::stat(path.c_str(), &info), 0);
    return info.st_ino;
  };
  // A second name keeps the first inode's number from being given out again.
  std::filesystem::create_hard_link(path, work.path() / "held");
  const auto first = inode();
  write_file_atomic(path, "one");
  EXPECT_EQ(inode(), first);
  write_file_atomic(work.path() / "tmp", "one");
  publish_file(work.path() / "tmp", path);
  EXPECT_EQ(inode(), first);
  EXPECT_FALSE(std::filesystem::exists(work.path() / "tmp"));
  write_file_atomic(path, "one", 0600);
  EXPECT_NE(inode(), first);
  write_file_atomic(path, "two", 0600);
  EXPECT_EQ(read_file(path), "two");
}

}  // namespace
}  // namespace wsp

#include "train/data/loader.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <tbb/global_control.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <set>
#include <thread>

#include "io/core/error.hpp"
#include "support/test_data.hpp"
#include "train/data/loader_support.hpp"
#include "train/data/resize.hpp"
#include "train/data/slice_cache.hpp"

namespace wsp::train {
namespace {

using test::random_source;
using test::take_all;
using test::Taken;

class Loader : public test::LoaderTest {
 protected:
  // Each slice of each batch, decoded and resized here.
  void expect_right(const std::vector<Taken>& batches, std::int64_t size, bool masks) {
    const auto pixels = static_cast<std::size_t>(size * size);
    const Resizer resizer(wsp::test::kHeight, wsp::test::kWidth, size);
    std::vector<std::int32_t> scratch;
    std::vector<std::int16_t> image(pixels);
    std::vector<std::uint8_t> mask(pixels);
    for (const Taken& batch : batches) {
      ASSERT_EQ(batch.images.size(), batch.rows.size() * pixels);
      ASSERT_EQ(batch.masks.size(), masks ? batch.rows.size() * pixels : 0);
      for (std::size_t k = 0; k < batch.rows.size(); ++k) {
        resizer.image(made_image(batch.rows[k]), image, scratch);
        ASSERT_TRUE(std::equal(image.begin(), image.end(), batch.images.data() + k * pixels));
        if (!masks) continue;
        resizer.mask(made_mask(batch.rows[k]), mask);
        ASSERT_TRUE(std::equal(mask.begin(), mask.end(), batch.masks.data() + k * pixels));
      }
    }
  }
};

TEST_F(Loader, GivesTheSameBatchesForAnyNumberOfThreadsAndBothBackends) {
  // More than there are cores, so that several workers do run.
  const tbb::global_control many(tbb::global_control::max_allowed_parallelism, 8);
  for (const std::int64_t size : {16, 28, 40}) {
    std::vector<Taken> first;
    for (const LoaderBackend backend : {LoaderBackend::onetbb, LoaderBackend::threads})
      for (const int workers : {1, 2, 8}) {
        LoaderOptions options;
        options.image_size = size;
        options.workers = workers;
        options.backend = backend;
        options.masks = true;
        BatchLoader loader(*reader_, random_source(rows(), 23, 7), 0, options);
        const auto batches = take_all(loader);
        EXPECT_FALSE(loader.next().has_value());  // the end stays the end
        ASSERT_EQ(batches.size(), 23U);
        for (std::size_t b = 0; b < batches.size(); ++b)
          ASSERT_EQ(batches[b].number, static_cast<std::int64_t>(b));
        EXPECT_EQ(loader.statistics().slices, 23 * 7);
        if (first.empty()) {
          first = batches;
          expect_right(batches, size, true);
        }
        EXPECT_TRUE(batches == first) << workers << " workers, size " << size;
      }
  }
}

TEST_F(Loader, WorksWhereOneTbbHasNoThreadToGive) {
  const tbb::global_control one(tbb::global_control::max_allowed_parallelism, 1);
  for (const int workers : {0, 1, 4}) {
    LoaderOptions options;
    options.image_size = 24;
    options.workers = workers;
    BatchLoader loader(*reader_, random_source(rows(), 12, 5), 0, options);
    const auto batches = take_all(loader);
    EXPECT_EQ(batches.size(), 12U);
    expect_right(batches, 24, false);
  }
}

TEST_F(Loader, BeginsInTheMiddle) {
  LoaderOptions options;
  options.image_size = 20;
  BatchLoader whole(*reader_, random_source(rows(), 10, 6), 0, options);
  BatchLoader rest(*reader_, random_source(rows(), 10, 6), 7, options);
  auto all = take_all(whole);
  all.erase(all.begin(), all.begin() + 7);
  EXPECT_TRUE(take_all(rest) == all);
}

TEST_F(Loader, DecodesStraightIntoTheBatchWhereTheSizeIsTheStoredOne) {
  const wsp::test::TemporaryDirectory root;
  const DatasetLayout layout = wsp::test::small_layout(Codec::zstd);
  ASSERT_NE(layout.height, layout.width);
  wsp::test::write_dataset(root.path(), layout, 5);
  const DatasetReader reader(root.path());
  std::vector<std::int16_t> image(wsp::test::kHeight * wsp::test::kWidth);
  std::vector<std::uint8_t> mask(image.size());
  ReadScratch scratch;
  for (std::size_t i = 0; i < reader.slices().size(); ++i) {
    reader.read_image(i, image, scratch);
    reader.read_mask(i, mask, scratch);
    EXPECT_EQ(image, reader.read_image(i));
    EXPECT_EQ(mask, reader.read_mask(i));
  }
  EXPECT_THROW(reader.read_mask(0, std::span(mask).first(5), scratch), Error);
}

TEST_F(Loader, TheCacheChangesNothingAndIsHit) {
  std::vector<Taken> plain;
  for (const CacheMode cache : {CacheMode::none, CacheMode::ram})
    for (const bool some : {false, true}) {
      LoaderOptions options;
      options.image_size = 18;
      options.masks = true;
      options.cache = cache;
      options.workers = 3;
      if (some) options.cache_rows = {1, 4, 4, 9};
      BatchLoader loader(*reader_, random_source(rows(), 40, 9), 0, options);
      const auto batches = take_all(loader);
      if (plain.empty()) plain = batches;
      EXPECT_TRUE(batches == plain);
      if (cache == CacheMode::none)
        EXPECT_EQ(loader.statistics().cache_hits, 0);
      else
        EXPECT_GT(loader.statistics().cache_hits, some ? 3 : 150);
    }
}

TEST_F(Loader, TheCacheReadsNothingTwice) {
  LoaderOptions options;
  options.image_size = 24;
  options.cache = CacheMode::ram;
  const auto all_rows = [&](std::int64_t i) {
    std::vector<std::uint32_t> batch(rows());
    std::iota(batch.begin(), batch.end(), 0U);
    if (i == 1)  // every chunk was read by now
      for (std::uint32_t r = 0; r < rows(); ++r) damage(r);
    if (i >= 2) batch.clear();
    return batch;
  };
  // The source of batch 1 must not run before batch 0 is decoded: let the consumer's turn decide.
  std::atomic<bool> first_done{false};
  BatchLoader loader(
      *reader_,
      [&](std::int64_t i) {
        while (i == 1 && !first_done) std::this_thread::yield();
        return all_rows(i);
      },
      0,
      [&] {
        options.workers = 2;
        options.backend = LoaderBackend::threads;
        return options;
      }());
  auto first = loader.next();
  ASSERT_TRUE(first.has_value());
  first_done = true;
  const auto second = loader.next();
  ASSERT_TRUE(second.has_value());
  EXPECT_TRUE(
      std::equal(second->images().begin(), second->images().end(), first->images().begin()));
  EXPECT_EQ(loader.statistics().cache_hits, static_cast<std::int64_t>(rows()));
}

TEST_F(Loader, RefusesACacheThatDoesNotFit) {
  LoaderOptions options;
  options.image_size = 512;
  options.cache = CacheMode::ram;
  options.cache_limit_bytes = 1 << 20;
  const auto message = [&] {
    try {
      BatchLoader loader(*reader_, random_source(rows(), 1, 1), 0, options);
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::failure);
      return std::string(e.what());
    }
    return std::string();
  };
  EXPECT_THAT(message(), testing::HasSubstr("may use 1048576 bytes"));
  options.cache_rows = {2, 3};
  EXPECT_EQ(message(), "");
  EXPECT_GT(free_memory_bytes(), std::uint64_t{1} << 20);
}

TEST(FreeMemory, IsWhatTheNarrowestLimitLeaves) {
  const wsp::test::TemporaryDirectory root;
  const auto put = [&](const std::string& name, const std::string& text) {
    std::filesystem::create_directories((root.path() / name).parent_path());
    std::ofstream(root.path() / name) << text;
  };
  const auto free = [&] { return free_memory_bytes(root.path()); };
  const auto slurm = {"SLURM_MEM_PER_NODE", "SLURM_MEM_PER_CPU", "SLURM_CPUS_ON_NODE"};
  for (const char* name : slurm) ::unsetenv(name);
  put("proc/meminfo", "MemTotal: 9000 kB\nMemAvailable:    4000 kB\n");
  EXPECT_EQ(free(), 4000U * 1024);
  // Version 2: the group itself has no limit, one above it has; its inactive pages of files make
  // room.
  put("proc/self/cgroup", "0::/job/step\n");
  put("sys/fs/cgroup/job/step/memory.max", "max\n");
  put("sys/fs/cgroup/job/step/memory.current", "100\n");
  put("sys/fs/cgroup/job/memory.max", "3000000\n");
  put("sys/fs/cgroup/job/memory.current", "2500000\n");
  EXPECT_EQ(free(), 500000U);
  put("sys/fs/cgroup/job/memory.stat", "anon 1500000\ninactive_file 1000000\n");
  EXPECT_EQ(free(), 1500000U);
  // Version 1, by the path of the memory controller; unlimited is a number there.
  put("proc/self/cgroup", "4:cpu,cpuacct:/\n9:memory:/slurm/job\n");
  put("sys/fs/cgroup/memory/slurm/memory.limit_in_bytes", "9223372036854771712\n");
  put("sys/fs/cgroup/memory/slurm/memory.usage_in_bytes", "5\n");
  EXPECT_EQ(free(), 4000U * 1024);
  put("sys/fs/cgroup/memory/slurm/job/memory.limit_in_bytes", "2000000\n");
  put("sys/fs/cgroup/memory/slurm/job/memory.usage_in_bytes", "1200000\n");
  put("sys/fs/cgroup/memory/slurm/job/memory.stat", "total_inactive_file 200000\n");
  EXPECT_EQ(free(), 1000000U);
  // A container sees its own group at the mount.
  put("sys/fs/cgroup/memory/memory.limit_in_bytes", "700000\n");
  put("sys/fs/cgroup/memory/memory.usage_in_bytes", "100000\n");
  EXPECT_EQ(free(), 600000U);
  // What Slurm grants, less what the process has.
  put("proc/self/cgroup", "");
  put("proc/self/status", "Name:\twsp-train\nVmRSS:\t  24 kB\n");
  ::setenv("SLURM_MEM_PER_CPU", "1", 1);
  ::setenv("SLURM_CPUS_ON_NODE", "2", 1);
  EXPECT_EQ(free(), (2048U - 24U) * 1024);
  ::setenv("SLURM_MEM_PER_NODE", "1", 1);
  EXPECT_EQ(free(), (1024U - 24U) * 1024);
  for (const char* name : slurm) ::unsetenv(name);
}

TEST_F(Loader, HoldsNoMoreThanItsRing) {
  std::mutex mutex;
  std::set<void*> alive;
  std::size_t most = 0, calls = 0, bytes = 0;
  std::atomic<std::int64_t> named{0};
  LoaderOptions options;
  options.image_size = 32;
  options.ring = 3;
  options.workers = 4;
  options.backend = LoaderBackend::threads;
  const BufferAllocator host = host_allocator();
  options.allocator.allocate = [&](std::size_t n) {
    void* data = host.allocate(n);
    const std::lock_guard lock(mutex);
    alive.insert(data);
    most = std::max(most, alive.size());
    bytes = std::max(bytes, n);
    ++calls;
    return data;
  };
  options.allocator.release = [&](void* data) {
    host.release(data);
    const std::lock_guard lock(mutex);
    EXPECT_EQ(alive.erase(data), 1U);
  };
  {
    const auto source = random_source(rows(), 200, 10);
    BatchLoader loader(
        *reader_,
        [&](std::int64_t i) {
          named = i + 1;
          return source(i);
        },
        0, options);
    std::int64_t taken = 0;
    while (const auto lease = loader.next()) {
      ++taken;
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(lease->images().data()) % 64, 0U);
      EXPECT_LE(named - taken, 3);  // never further ahead than the ring
    }
    EXPECT_EQ(taken, 200);
  }
  EXPECT_EQ(calls, 3U);
  EXPECT_EQ(most, 3U);
  EXPECT_EQ(bytes, 10U * 32 * 32 * 2);
  EXPECT_TRUE(alive.empty());
}

TEST_F(Loader, ALeaseOutlivesTheLoaderAndMayBeGivenBackElsewhere) {
  LoaderOptions options;
  options.image_size = 24;
  std::optional<BatchLease> lease;
  std::vector<std::int16_t> before;
  {
    BatchLoader loader(*reader_, random_source(rows(), 100, 8), 0, options);
    std::thread([first = loader.next()]() mutable { first.reset(); }).join();
    lease = loader.next();
    before.assign(lease->images().begin(), lease->images().end());
  }
  EXPECT_TRUE(std::equal(before.begin(), before.end(), lease->images().begin()));
  EXPECT_EQ(lease->number(), 1);
}

TEST_F(Loader, StopsAtOnceWhileWorkersRun) {
  const auto begin = std::chrono::steady_clock::now();
  for (const LoaderBackend backend : {LoaderBackend::onetbb, LoaderBackend::threads})
    for (int round = 0; round < 10; ++round) {
      LoaderOptions options;
      options.image_size = 1;
      options.backend = backend;
      options.workers = 1 + round % 3;
      // A batch that would take minutes.
      BatchLoader loader(
          *reader_, [&](std::int64_t) { return std::vector<std::uint32_t>(4'000'000, 1); }, 0,
          options);
      if (round % 2 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
}

TEST_F(Loader, RefusesOptionsThatCannotBe) {
  const auto refused = [&](auto change) {
    LoaderOptions options;
    options.image_size = 24;
    change(options);
    try {
      BatchLoader loader(*reader_, random_source(rows(), 1, 1), 0, options);
    } catch (const Error& e) {
      return e.code() == ErrorCode::usage;
    }
    return false;
  };
  EXPECT_FALSE(refused([](auto&) {}));
  EXPECT_TRUE(refused([](auto& o) { o.image_size = 0; }));
  EXPECT_TRUE(refused([](auto& o) { o.ring = 1; }));
  EXPECT_TRUE(refused([](auto& o) { o.workers = -1; }));
  EXPECT_TRUE(refused([](auto& o) { o.deadline_s = 0; }));
  EXPECT_TRUE(refused([&](auto& o) {
    o.cache = CacheMode::ram;
    o.cache_rows = {static_cast<std::uint32_t>(rows())};
  }));
}

}  // namespace
}  // namespace wsp::train

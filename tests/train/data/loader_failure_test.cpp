#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <future>
#include <mutex>
#include <thread>

#include "io/core/error.hpp"
#include "train/data/loader_support.hpp"

namespace wsp::train {
namespace {

using test::take_all;
using test::Taken;
using testing::HasSubstr;

class LoaderFailure : public test::LoaderTest {
 protected:
  static LoaderOptions options(int workers = 4) {
    LoaderOptions o;
    o.image_size = 24;
    o.workers = workers;
    o.backend = LoaderBackend::threads;
    return o;
  }

  // Batches of four consecutive rows.
  BatchLoader::Source fours(std::int64_t batches) {
    return [this, batches](std::int64_t i) {
      std::vector<std::uint32_t> batch;
      for (std::uint32_t k = 0; k < 4 && i < batches; ++k)
        batch.push_back(
            static_cast<std::uint32_t>((4 * static_cast<std::uint32_t>(i) + k) % rows()));
      return batch;
    };
  }

  std::string message_of(BatchLoader& loader, ErrorCode code) {
    try {
      (void)loader.next();
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), code);
      return e.what();
    }
    return "";
  }

  [[nodiscard]] std::string name_of(std::uint32_t i) const {
    return "case " + case_name(i) + ", slice " + std::to_string(row(i).source_index);
  }
};

TEST_F(LoaderFailure, ACorruptChunkStopsWithCaseAndSlice) {
  damage(14);
  damage(15);
  for (const int workers : {1, 4})
    for (int repeat = 0; repeat < 5; ++repeat) {
      BatchLoader loader(*reader_, fours(8), 0, options(workers));
      for (int b = 0; b < 3; ++b) EXPECT_EQ(loader.next()->number(), b);  // those before it come
      const std::string message = message_of(loader, ErrorCode::corrupt);
      // Of two, always the first.
      EXPECT_THAT(message, HasSubstr(name_of(14)));
      EXPECT_THAT(message, HasSubstr("differ from their hash"));
      EXPECT_EQ(message_of(loader, ErrorCode::corrupt), message);
    }
}

TEST_F(LoaderFailure, ACorruptMaskCountsOnlyWhereMasksAreRead) {
  damage(2, true);
  BatchLoader images(*reader_, fours(3), 0, options());
  EXPECT_EQ(take_all(images).size(), 3U);
  LoaderOptions with_masks = options();
  with_masks.masks = true;
  BatchLoader both(*reader_, fours(3), 0, with_masks);
  EXPECT_THAT(message_of(both, ErrorCode::corrupt), HasSubstr(name_of(2) + " (mask)"));
}

TEST_F(LoaderFailure, SkippingReplacesByTheNextSoundSliceOfTheBatchAndCounts) {
  BatchLoader sound(*reader_, fours(5), 0, options());
  auto expected = take_all(sound);
  for (const std::uint32_t r : {4U, 5U, 11U}) damage(r);
  const auto replace = [&](std::size_t batch, std::size_t place, std::size_t from) {
    expected[batch].rows[place] = expected[batch].rows[from];
    std::copy_n(expected[batch].images.begin() + static_cast<std::ptrdiff_t>(from) * 24 * 24,
                24 * 24,
                expected[batch].images.begin() + static_cast<std::ptrdiff_t>(place) * 24 * 24);
  };
  replace(1, 0, 2);
  replace(1, 1, 2);
  replace(2, 3, 0);  // the last place goes on at the first
  for (const int workers : {1, 2, 8})
    for (const CacheMode cache : {CacheMode::none, CacheMode::ram}) {
      LoaderOptions o = options(workers);
      o.skip_corrupt = true;
      o.cache = cache;
      BatchLoader loader(*reader_, fours(5), 0, o);
      EXPECT_TRUE(take_all(loader) == expected);
      EXPECT_EQ(loader.statistics().corrupt_slices, 3);
      EXPECT_EQ(loader.statistics().slices, 20);
    }
}

TEST_F(LoaderFailure, ABatchWithoutASoundSliceIsAnErrorEvenWhenSkipping) {
  for (const std::uint32_t r : {4U, 5U, 6U, 7U}) damage(r);
  LoaderOptions o = options();
  o.skip_corrupt = true;
  BatchLoader loader(*reader_, fours(5), 0, o);
  EXPECT_TRUE(loader.next().has_value());
  EXPECT_THAT(message_of(loader, ErrorCode::corrupt), HasSubstr("case "));
}

TEST_F(LoaderFailure, AShardThatEndsEarlyNamesCaseAndSlice) {
  const std::uint32_t last = static_cast<std::uint32_t>(rows() - 1);
  std::filesystem::resize_file(reader_->state() / "shards" / shard_file_name(row(last).shard),
                               row(last).place.image_offset);
  BatchLoader loader(
      *reader_, [&](std::int64_t) { return std::vector<std::uint32_t>{last}; }, 0, options());
  const std::string message = message_of(loader, ErrorCode::corrupt);
  EXPECT_THAT(message, HasSubstr("ends before"));
  EXPECT_THAT(message, HasSubstr(name_of(last)));
}

TEST_F(LoaderFailure, ASourceThatThrowsOrNamesNoSliceSurfacesInOrder) {
  const auto broken = [&](bool throws) {
    return [this, throws](std::int64_t i) -> std::vector<std::uint32_t> {
      if (i < 2) return {0, 1};
      if (throws) throw Error(ErrorCode::usage, "no such batch");
      return {static_cast<std::uint32_t>(rows())};
    };
  };
  for (const bool throws : {true, false}) {
    BatchLoader loader(*reader_, broken(throws), 0, options());
    EXPECT_TRUE(loader.next().has_value());
    EXPECT_TRUE(loader.next().has_value());
    EXPECT_THAT(message_of(loader, ErrorCode::usage),
                HasSubstr(throws ? "no such batch" : "batch 2 names slice"));
  }
}

TEST_F(LoaderFailure, AnAllocatorThatFailsSurfaces) {
  LoaderOptions o = options();
  o.allocator.allocate = [](std::size_t) -> void* {
    throw Error(ErrorCode::failure, "no pinned memory");
  };
  BatchLoader loader(*reader_, fours(5), 0, o);
  EXPECT_THAT(message_of(loader, ErrorCode::failure), HasSubstr("no pinned memory"));
}

TEST_F(LoaderFailure, ADeadlineEndsTheWait) {
  std::mutex mutex;
  std::condition_variable changed;
  bool go_on = false;
  LoaderOptions o = options();
  o.deadline_s = 0.05;
  BatchLoader loader(
      *reader_,
      [&](std::int64_t i) {
        std::unique_lock lock(mutex);
        changed.wait(lock, [&] { return go_on; });
        return std::vector<std::uint32_t>(i == 0 ? 3 : 0, 1U);
      },
      0, o);
  EXPECT_THAT(message_of(loader, ErrorCode::failure), HasSubstr("no batch for 0.05 s"));
  {
    const std::lock_guard lock(mutex);
    go_on = true;
  }
  changed.notify_all();
  // The wait can be taken up again.
  for (int i = 0; i < 200; ++i)
    if (message_of(loader, ErrorCode::failure).empty()) break;
  EXPECT_GE(loader.statistics().waited_s, 0.05);
  EXPECT_EQ(loader.statistics().slices, 3);
}

TEST_F(LoaderFailure, WhoWaitsIsAskedAndMayStopWithoutLosingABatch) {
  std::promise<void> go_on;
  std::shared_future<void> gone_on = go_on.get_future().share();
  int asked = 0;
  LoaderOptions o = options();
  o.while_waiting = [&] {
    if (++asked == 2) throw Error(ErrorCode::interrupted, "Ctrl-C");
  };
  BatchLoader loader(
      *reader_,
      [&](std::int64_t i) {
        gone_on.wait();
        return std::vector<std::uint32_t>(i == 0 ? 3 : 0, 1U);
      },
      0, o);
  EXPECT_THAT(message_of(loader, ErrorCode::interrupted), HasSubstr("Ctrl-C"));
  EXPECT_EQ(asked, 2);
  go_on.set_value();
  const auto batch = loader.next();
  ASSERT_TRUE(batch.has_value());
  EXPECT_EQ(batch->number(), 0);
  EXPECT_EQ(batch->rows().size(), 3U);
}

TEST_F(LoaderFailure, TheDeadlineHoldsForThoseWhoAreAskedToo) {
  std::promise<void> go_on;
  std::shared_future<void> gone_on = go_on.get_future().share();
  LoaderOptions o = options();
  o.deadline_s = 0.3;
  o.while_waiting = [] {};
  BatchLoader loader(
      *reader_,
      [&](std::int64_t) {
        gone_on.wait();
        return std::vector<std::uint32_t>();
      },
      0, o);
  EXPECT_THAT(message_of(loader, ErrorCode::failure), HasSubstr("no batch for 0.3 s"));
  go_on.set_value();
}

TEST_F(LoaderFailure, ADeadlineNamesTheSliceThatIsMissing) {
  LoaderOptions o = options(1);
  o.deadline_s = 0.05;
  o.image_size = 1;
  BatchLoader loader(
      *reader_, [&](std::int64_t) { return std::vector<std::uint32_t>(4'000'000, 3U); }, 0, o);
  std::string message;
  for (int i = 0; i < 200 && message.find("is missing") == std::string::npos &&
                  message.find("slices are read") == std::string::npos;
       ++i)
    message = message_of(loader, ErrorCode::failure);
  EXPECT_THAT(message, HasSubstr("batch 0 is not complete"));
  EXPECT_THAT(message, HasSubstr("of 4000000 slices are read"));
  EXPECT_THAT(message, HasSubstr("slice 1"));
  EXPECT_THAT(message, HasSubstr("of case " + case_name(3)));
}

TEST_F(LoaderFailure, ADeadlineSaysThatTheRingIsOnLoan) {
  LoaderOptions o = options();
  o.ring = 2;
  o.deadline_s = 5;
  BatchLoader loader(*reader_, fours(5), 0, o);
  auto first = loader.next();
  const auto second = loader.next();
  EXPECT_TRUE(second.has_value());
  std::thread([lease = std::move(first)]() mutable {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    lease.reset();
  }).join();
  auto third = loader.next();
  ASSERT_TRUE(third.has_value());
  EXPECT_EQ(third->number(), 2);
  o.deadline_s = 0.05;
  BatchLoader impatient(*reader_, fours(5), 0, o);
  // Where this machine is busy even the first batch may be late.
  std::vector<BatchLease> held;
  std::string message;
  for (int i = 0; i < 400 && message.find("on loan") == std::string::npos; ++i) {
    try {
      held.push_back(*impatient.next());
    } catch (const Error& e) {
      message = e.what();
    }
  }
  EXPECT_EQ(held.size(), 2U);
  EXPECT_THAT(message, HasSubstr("all 2 batches of the ring are on loan"));
}

}  // namespace
}  // namespace wsp::train

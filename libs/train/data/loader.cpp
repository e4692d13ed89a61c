#include "train/data/loader.hpp"

#include <fmt/format.h>
#include <tbb/global_control.h>
#include <tbb/task_arena.h>
#include <tbb/task_group.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>

#include "io/core/error.hpp"
#include "io/core/log.hpp"
#include "train/data/batch_slot.hpp"
#include "train/data/slice_decoder.hpp"

namespace wsp::train {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kWaitingCalls = std::chrono::milliseconds(200);

}  // namespace

// The ring, its workers and their jobs; a job is one slice of one batch.
//
//   free slots -> (fetch: the source names a batch's rows) -> filling, in order -> ready -> on loan
//
// 1. Whoever finds no job left and a free slot fetches the next batch; one at a time, unlocked.
// 2. Jobs are taken in order, so batches are ready in order but for the last slices.
// 3. Whoever takes a job and leaves others behind sees to it that enough workers run.
// 4. A worker without a job ends (a oneTBB task) or sleeps (our own threads). Giving a batch back
//    wakes a sleeper; with oneTBB that is one thread of ours, so waiting never holds oneTBB's
//    threads.
// Leases share ownership of the ring: they may outlive the loader.
struct BatchLoader::State {
  using Slot = BatchLease::Slot;
  struct Job {
    Slot* slot = nullptr;
    std::size_t place = 0;
  };

  struct Ring {
    explicit Ring(LoaderOptions o) : options(std::move(o)) {
      for (int i = 0; i < options.ring; ++i) {
        slots.push_back(std::make_unique<Slot>(options.allocator));
        free.push_back(slots.back().get());
      }
    }
    LoaderOptions options;
    std::mutex mutex;
    std::condition_variable work;   ///< for workers: a free slot, new jobs or the end
    std::condition_variable ready;  ///< for the consumer
    std::vector<std::unique_ptr<Slot>> slots;
    std::deque<Slot*> free;
    std::deque<Slot*> filling;  ///< in order; the consumer takes the first once it is ready
    std::deque<Slot*> open;     ///< those of `filling` with jobs that nobody took yet
    bool fetching = false, ended = false, stop = false;
  };

  State(const DatasetReader& r, Source s, std::int64_t first, LoaderOptions options)
      : reader(r),
        source(std::move(s)),
        next_number(first),
        decoder(r, options),
        ring(std::make_shared<Ring>(std::move(options))),
        arena(1) {
    const LoaderOptions& o = ring->options;
    const auto most = static_cast<int>(
        tbb::global_control::active_value(tbb::global_control::max_allowed_parallelism));
    int workers = o.workers > 0 ? o.workers : most;
    const bool tbb = o.backend == LoaderBackend::onetbb;
    if (tbb) {
      workers = std::min(workers, most);
      arena.initialize(workers, 1);
      helpers_wanted = workers - 1;
    }
    try {
      for (int i = 0; i < (tbb ? 1 : workers); ++i) threads.emplace_back([this] { serve(); });
    } catch (...) {
      shut_down();
      throw;
    }
  }

  ~State() { shut_down(); }

  void shut_down() {
    {
      const std::lock_guard lock(ring->mutex);
      ring->stop = true;
    }
    ring->work.notify_all();
    for (std::thread& thread : threads) thread.join();
    if (helpers_wanted > 0) arena.execute([&] { helpers.wait(); });
  }

  // A thread of ours: work while there is any, else sleep.
  void serve() {
    const bool tbb = ring->options.backend == LoaderBackend::onetbb;
    for (;;) {
      {
        std::unique_lock lock(ring->mutex);
        ring->work.wait(lock, [&] { return ring->stop || has_work(); });
        if (ring->stop) return;
      }
      if (tbb)
        arena.execute([&] { work(); });
      else
        work();
    }
  }

  void work() {
    std::unique_ptr<SliceDecoder::Scratch> scratch;
    while (const auto job = take()) {
      if (!scratch) scratch = decoder.borrow();
      const Slot& slot = *job->slot;
      const std::span image = slot.image(job->place);
      const std::size_t ring_bytes = slot.rows.size() * image.size_bytes() * ring->slots.size();
      complete(*job, decoder.decode(slot.rows[job->place], image, slot.mask(job->place), ring_bytes,
                                    *scratch));
    }
    if (scratch) decoder.give_back(std::move(scratch));
  }

  [[nodiscard]] bool has_work() const {
    return !ring->open.empty() || (!ring->free.empty() && !ring->fetching && !ring->ended);
  }

  std::optional<Job> take() {
    std::unique_lock lock(ring->mutex);
    while (!ring->stop) {
      if (!ring->open.empty()) {
        Slot* slot = ring->open.front();
        const Job job{slot, slot->started++};
        if (slot->started == slot->rows.size()) ring->open.pop_front();
        if (has_work()) call_helpers();
        return job;
      }
      if (!has_work()) return std::nullopt;
      fetch(lock);
    }
    return std::nullopt;
  }

  // Under the lock.
  void call_helpers() {
    while (helpers_running < helpers_wanted) {
      ++helpers_running;
      helpers.run([this] {
        work();
        const std::lock_guard lock(ring->mutex);
        --helpers_running;
      });
    }
  }

  void fetch(std::unique_lock<std::mutex>& lock) {
    Slot* slot = ring->free.front();
    ring->free.pop_front();
    ring->fetching = true;
    lock.unlock();
    slot->clear(next_number, decoder.pixels(), ring->options.masks);
    try {
      auto rows = source(next_number);
      for (const std::uint32_t row : rows)
        if (row >= reader.slices().size())
          throw Error(ErrorCode::usage, fmt::format("batch {} names slice {}, the dataset has {}",
                                                    next_number, row, reader.slices().size()));
      slot->take_rows(std::move(rows));
    } catch (...) {
      slot->error = std::current_exception();
    }
    slot->done.assign(slot->rows.size(), 0);
    slot->ready = slot->error != nullptr;
    ++next_number;
    lock.lock();
    ring->fetching = false;
    if (slot->error == nullptr && slot->rows.empty()) {
      ring->ended = true;
      ring->free.push_back(slot);
    } else {
      ring->filling.push_back(slot);
      if (slot->ready)
        ring->ended = true;
      else
        ring->open.push_back(slot);
    }
    ring->ready.notify_all();
    ring->work.notify_all();
  }

  void complete(const Job& job, const SliceDecoder::Result& result) {
    Slot& slot = *job.slot;
    {
      const std::lock_guard lock(ring->mutex);
      slot.done[job.place] = 1;
      slot.cache_hits += result.hit ? 1 : 0;
      if (result.error != nullptr)
        slot.note_error(job.place, result.error, result.corrupt && ring->options.skip_corrupt);
      if (++slot.finished < slot.rows.size()) return;
    }
    if (!slot.corrupt.empty()) slot.replace_corrupt();
    const std::lock_guard lock(ring->mutex);
    slot.ready = true;
    if (slot.error != nullptr) ring->ended = true;
    ring->ready.notify_all();
  }

  std::optional<BatchLease> next();
  /// Wait for the next batch or the end, calling back meanwhile without the lock; false past the
  /// deadline.
  bool wait_until(Clock::time_point deadline, std::unique_lock<std::mutex>& lock);
  BatchLease lend(Slot* slot) const;
  [[noreturn]] void past_deadline() const;

  const DatasetReader& reader;
  Source source;
  std::int64_t next_number;
  SliceDecoder decoder;
  std::shared_ptr<Ring> ring;
  LoaderStatistics statistics;  ///< under the ring's mutex
  bool warned = false;
  tbb::task_arena arena;
  tbb::task_group helpers;
  int helpers_wanted = 0, helpers_running = 0;  ///< under the ring's mutex
  std::vector<std::thread> threads;
};

std::optional<BatchLease> BatchLoader::State::next() {
  const auto begin = Clock::now();
  const auto deadline = begin + std::chrono::duration_cast<Clock::duration>(
                                    std::chrono::duration<double>(ring->options.deadline_s));
  std::unique_lock lock(ring->mutex);
  const bool in_time = wait_until(deadline, lock);
  statistics.waited_s += std::chrono::duration<double>(Clock::now() - begin).count();
  if (!in_time) past_deadline();
  if (ring->filling.empty()) return std::nullopt;
  Slot* slot = ring->filling.front();
  if (slot->error != nullptr) std::rethrow_exception(slot->error);
  ring->filling.pop_front();
  statistics.slices += std::ssize(slot->rows);
  statistics.corrupt_slices += std::ssize(slot->corrupt);
  statistics.cache_hits += slot->cache_hits;
  const bool warn = !slot->corrupt.empty() && !warned;
  warned = warned || warn;
  lock.unlock();
  if (warn)
    log::warn(
        fmt::format("batch {} holds corrupt slices; they are replaced by others of the batch and "
                    "counted; run wsp-ingest verify to find all of them",
                    slot->number));
  return lend(slot);
}

bool BatchLoader::State::wait_until(Clock::time_point deadline,
                                    std::unique_lock<std::mutex>& lock) {
  const auto due = [&] {
    return ring->filling.empty() ? ring->ended && !ring->fetching : ring->filling.front()->ready;
  };
  const auto& call = ring->options.while_waiting;
  if (!call) return ring->ready.wait_until(lock, deadline, due);
  while (!ring->ready.wait_until(lock, std::min(deadline, Clock::now() + kWaitingCalls), due)) {
    if (Clock::now() >= deadline) return false;
    lock.unlock();
    call();
    lock.lock();
  }
  return true;
}

BatchLease BatchLoader::State::lend(Slot* slot) const {
  BatchLease lease;
  lease.slot_ = std::shared_ptr<Slot>(slot, [shared = ring](Slot* given_back) {
    {
      const std::lock_guard guard(shared->mutex);
      given_back->ready = false;
      shared->free.push_back(given_back);
    }
    shared->work.notify_one();
  });
  return lease;
}

// Under the lock.
void BatchLoader::State::past_deadline() const {
  const double deadline = ring->options.deadline_s;
  if (ring->filling.empty()) {
    if (ring->free.empty() && !ring->fetching)
      throw Error(
          ErrorCode::failure,
          fmt::format("no batch for {} s: all {} batches of the ring are on loan; give them "
                      "back or use a larger ring",
                      deadline, ring->options.ring));
    throw Error(ErrorCode::failure,
                fmt::format("no batch for {} s: its slices are not named yet", deadline));
  }
  const Slot& slot = *ring->filling.front();
  const auto missing = static_cast<std::size_t>(std::find(slot.done.begin(), slot.done.end(), 0) -
                                                slot.done.begin());
  std::string what;
  if (missing < slot.rows.size()) {
    const IndexRow& row = reader.slices()[slot.rows[missing]];
    what = fmt::format(", the first missing one is slice {} of case {}", row.source_index,
                       reader.cases()[static_cast<std::size_t>(row.case_id)].name);
  }
  throw Error(
      ErrorCode::failure,
      fmt::format("batch {} is not complete after {} s: {} of {} slices are read{}; does the "
                  "file system of the dataset hang? Raise the deadline if it is slow",
                  slot.number, deadline, slot.finished, slot.rows.size(), what));
}

BatchLoader::BatchLoader(const DatasetReader& reader, Source source, std::int64_t first_batch,
                         LoaderOptions options) {
  const auto check = [](bool good, const char* what, auto found, const char* expected) {
    if (!good)
      throw Error(ErrorCode::usage, fmt::format("{} is {}: expected {}", what, found, expected));
  };
  check(options.ring >= 2, "the ring of batches", options.ring, "at least 2");
  check(options.workers >= 0 && options.workers <= 1024, "the number of loading threads",
        options.workers, "0 (as many as there are cores) to 1024");
  check(options.deadline_s > 0 && options.deadline_s <= 1e8, "the deadline of a batch",
        options.deadline_s, "above 0 and at most 1e8 seconds");
  check(first_batch >= 0, "the first batch", first_batch, "0 or more");
  state_ = std::make_unique<State>(reader, std::move(source), first_batch, std::move(options));
}

BatchLoader::~BatchLoader() = default;

std::optional<BatchLease> BatchLoader::next() { return state_->next(); }

LoaderStatistics BatchLoader::statistics() const {
  const std::lock_guard lock(state_->ring->mutex);
  return state_->statistics;
}

}  // namespace wsp::train

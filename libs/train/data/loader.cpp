#include "train/data/loader.hpp"

#include <fmt/format.h>
#include <sys/mman.h>
#include <tbb/global_control.h>
#include <tbb/task_arena.h>
#include <tbb/task_group.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>

#include "io/core/error.hpp"
#include "io/core/log.hpp"
#include "train/data/resize.hpp"
#include "train/data/slice_cache.hpp"

namespace wsp::train {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t kAlignment = 64, kHugePage = std::size_t{2} << 20;
constexpr std::size_t kCachedRing = std::size_t{16}
                                    << 20;  ///< below it, a ring may stay in a cache
constexpr auto kWaitingCalls = std::chrono::milliseconds(200);
constexpr std::size_t kNoPlace = static_cast<std::size_t>(-1);

/// Memory of a BufferAllocator.
class Buffer {
 public:
  explicit Buffer(const BufferAllocator& allocator) : allocator_(&allocator) {}
  ~Buffer() { reset(); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  void reserve(std::size_t bytes) {
    if (bytes <= size_) return;
    reset();
    data_ = allocator_->allocate(bytes);
    size_ = bytes;
  }
  template <class T>
  [[nodiscard]] T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void reset() {
    if (data_ != nullptr) allocator_->release(data_);
    data_ = nullptr;
    size_ = 0;
  }
  const BufferAllocator* allocator_;
  void* data_ = nullptr;
  std::size_t size_ = 0;
};

/// What a decoding thread keeps between slices.
struct Scratch {
  ReadScratch read;
  std::vector<std::int16_t> image;
  std::vector<std::uint8_t> mask;
  std::vector<std::int32_t> sums;
};

}  // namespace

BufferAllocator host_allocator() {
  return {[](std::size_t bytes) {
            // A batch is written once and read once, so huge pages spare most of its page walks.
            const bool huge = bytes >= 2 * kHugePage;
            const std::size_t unit = huge ? kHugePage : kAlignment;
            const std::size_t size = std::max<std::size_t>(1, (bytes + unit - 1) / unit) * unit;
            void* data = std::aligned_alloc(unit, size);
            if (data == nullptr)
              throw Error(ErrorCode::failure,
                          fmt::format("no memory for a batch of {} MiB: lower the batch size, the "
                                      "image size or the ring",
                                      bytes >> 20));
            if (huge) (void)::madvise(data, size, MADV_HUGEPAGE);  // a wish: it may be refused
            return data;
          },
          [](void* data) { std::free(data); }};
}

// A place in the ring. The thread that took a job writes the job's pixels; all else is guarded by
// the mutex of the ring.
struct BatchLease::Slot {
  explicit Slot(const BufferAllocator& allocator) : images(allocator), masks(allocator) {}
  std::int64_t number = 0;
  std::vector<std::uint32_t> rows;
  std::vector<char> done;            ///< [n]
  std::vector<std::size_t> corrupt;  ///< places that failed and are to be replaced
  std::size_t started = 0, finished = 0;
  std::int64_t cache_hits = 0;
  std::exception_ptr error;  ///< of the first place that failed, whichever thread came first
  std::size_t error_place = kNoPlace;
  bool ready = false;
  std::size_t pixels = 0;  ///< per slice
  bool has_masks = false;
  Buffer images, masks;
};

std::int64_t BatchLease::number() const { return slot_->number; }
std::span<const std::uint32_t> BatchLease::rows() const { return slot_->rows; }
std::span<const std::int16_t> BatchLease::images() const {
  return {slot_->images.as<std::int16_t>(), slot_->rows.size() * slot_->pixels};
}
std::span<const std::uint8_t> BatchLease::masks() const {
  if (!slot_->has_masks) return {};
  return {slot_->masks.as<std::uint8_t>(), slot_->rows.size() * slot_->pixels};
}

// The ring, its workers and their jobs; a job is one slice of one batch.
//
//   free slots -> (fetch: the source names a batch's rows) -> filling, in order -> ready -> on loan
//
// 1. Whoever finds no job left and a free slot fetches the next batch; one at a time, unlocked.
// 2. Jobs are taken in order, so batches are ready in order but for the last slices.
// 3. Whoever takes a job and leaves others behind sees to it that enough workers run.
// 4. A worker without a job ends (a oneTBB task) or sleeps (our own threads). Giving a batch back
// wakes
//    a sleeper; with oneTBB that is one thread of ours, so waiting never holds oneTBB's threads.
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
        resizer(r.layout().height, r.layout().width, options.image_size),
        ring(std::make_shared<Ring>(std::move(options))),
        arena(1) {
    const LoaderOptions& o = ring->options;
    pixels = static_cast<std::size_t>(o.image_size * o.image_size);
    stored_pixels = static_cast<std::size_t>(r.layout().height * r.layout().width);
    if (o.cache == CacheMode::ram)
      cache = std::make_unique<SliceCache>(r.slices().size(), o.cache_rows, pixels, o.masks,
                                           o.cache_limit_bytes);
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
    std::unique_ptr<Scratch> scratch;
    while (const auto job = take()) {
      if (!scratch) scratch = borrow_scratch();
      complete(*job, decode(*job, *scratch));
    }
    if (!scratch) return;
    const std::lock_guard lock(ring->mutex);
    scratches.push_back(std::move(scratch));
  }

  std::unique_ptr<Scratch> borrow_scratch() {
    const std::lock_guard lock(ring->mutex);
    if (scratches.empty()) return std::make_unique<Scratch>();
    auto scratch = std::move(scratches.back());
    scratches.pop_back();
    return scratch;
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
    slot->number = next_number;
    slot->error = nullptr;
    slot->error_place = kNoPlace;
    slot->corrupt.clear();
    slot->started = slot->finished = 0;
    slot->cache_hits = 0;
    slot->pixels = pixels;
    slot->has_masks = ring->options.masks;
    try {
      slot->rows = source(next_number);
      for (const std::uint32_t row : slot->rows)
        if (row >= reader.slices().size())
          throw Error(ErrorCode::usage, fmt::format("batch {} names slice {}, the dataset has {}",
                                                    next_number, row, reader.slices().size()));
      slot->images.reserve(slot->rows.size() * pixels * sizeof(std::int16_t));
      if (slot->has_masks) slot->masks.reserve(slot->rows.size() * pixels);
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

  struct Result {
    std::exception_ptr error;
    bool corrupt = false, hit = false;
  };

  // A ring beyond the caches pushes out of them what the threads work with.
  [[nodiscard]] Placement placement(const Slot& slot) const {
    const std::size_t ring_bytes =
        slot.rows.size() * pixels * sizeof(std::int16_t) * ring->slots.size();
    return cache || ring_bytes < kCachedRing ? Placement::cached : Placement::streamed;
  }

  Result decode(const Job& job, Scratch& scratch) {
    Result result;
    try {
      const std::uint32_t row = job.slot->rows[job.place];
      const std::span image(job.slot->images.as<std::int16_t>() + job.place * pixels, pixels);
      const std::span mask(job.slot->masks.as<std::uint8_t>() + job.place * pixels,
                           job.slot->has_masks ? pixels : 0);
      result.hit = cache && cache->get(row, image, mask);
      if (result.hit) return result;
      if (resizer.is_identity()) {
        reader.read_image(row, image, scratch.read, placement(*job.slot));
        if (!mask.empty()) reader.read_mask(row, mask, scratch.read);
      } else {
        scratch.image.resize(stored_pixels);
        reader.read_image(row, scratch.image, scratch.read);
        resizer.image(scratch.image, image, scratch.sums);
        if (!mask.empty()) {
          scratch.mask.resize(stored_pixels);
          reader.read_mask(row, scratch.mask, scratch.read);
          resizer.mask(scratch.mask, mask);
        }
      }
      if (cache) cache->put(row, image, mask);
    } catch (const Error& e) {
      result.error = std::current_exception();
      result.corrupt = e.code() == ErrorCode::corrupt;
    } catch (...) {
      result.error = std::current_exception();
    }
    return result;
  }

  void complete(const Job& job, const Result& result) {
    Slot& slot = *job.slot;
    {
      const std::lock_guard lock(ring->mutex);
      slot.done[job.place] = 1;
      slot.cache_hits += result.hit ? 1 : 0;
      if (result.error != nullptr) note_error(slot, job.place, result);
      if (++slot.finished < slot.rows.size()) return;
    }
    if (!slot.corrupt.empty()) replace_corrupt(slot);
    const std::lock_guard lock(ring->mutex);
    slot.ready = true;
    if (slot.error != nullptr) ring->ended = true;
    ring->ready.notify_all();
  }

  // Under the lock.
  void note_error(Slot& slot, std::size_t place, const Result& result) {
    if (result.corrupt && ring->options.skip_corrupt) {
      slot.corrupt.push_back(place);
      if (slot.corrupt.size() < slot.rows.size()) return;
    }
    if (place > slot.error_place) return;
    slot.error = result.error;
    slot.error_place = place;
  }

  void replace_corrupt(Slot& slot) {
    if (slot.error != nullptr) return;
    const std::size_t n = slot.rows.size();
    std::vector<char> sound(n, 1);
    for (const std::size_t place : slot.corrupt) sound[place] = 0;
    for (const std::size_t place : slot.corrupt) {
      std::size_t from = place;
      do from = (from + 1) % n;
      while (sound[from] == 0);
      slot.rows[place] = slot.rows[from];
      auto* images = slot.images.as<std::int16_t>();
      std::copy_n(images + from * pixels, pixels, images + place * pixels);
      if (!slot.has_masks) continue;
      auto* masks = slot.masks.as<std::uint8_t>();
      std::copy_n(masks + from * pixels, pixels, masks + place * pixels);
    }
  }

  std::optional<BatchLease> next();
  [[noreturn]] void past_deadline() const;

  const DatasetReader& reader;
  Source source;
  std::int64_t next_number;
  Resizer resizer;
  std::size_t pixels = 0, stored_pixels = 0;
  std::shared_ptr<Ring> ring;
  std::unique_ptr<SliceCache> cache;
  std::vector<std::unique_ptr<Scratch>> scratches;  ///< those not in use, under the ring's mutex
  LoaderStatistics statistics;                      ///< under the ring's mutex
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
  const auto due = [&] {
    return ring->filling.empty() ? ring->ended && !ring->fetching : ring->filling.front()->ready;
  };
  bool in_time = false;
  if (const auto& call = ring->options.while_waiting; !call) {
    in_time = ring->ready.wait_until(lock, deadline, due);
  } else {
    while (!(in_time = ring->ready.wait_until(
                 lock, std::min(deadline, Clock::now() + kWaitingCalls), due)) &&
           Clock::now() < deadline) {
      lock.unlock();
      call();
      lock.lock();
    }
  }
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

#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "io/shard/dataset.hpp"

namespace wsp::train {

/// Where batches are put; pinned host memory on CUDA. Calls come from one thread at a time.
struct BufferAllocator {
  std::function<void*(std::size_t bytes)> allocate;  ///< 64-byte aligned; throws on failure
  std::function<void(void*)> release;
};
BufferAllocator host_allocator();

/// ram: decoded and resized slices stay in memory. device: for DeviceBatches, which keeps them on
/// the device; to the loader itself it is none.
enum class CacheMode { none, ram, device };

/// Who decodes. onetbb shares oneTBB's threads with the rest of the program and never adds to them;
/// threads has its own, which can be more than there are cores: worth it where reading waits
/// (network file systems).
enum class LoaderBackend { onetbb, threads };

struct LoaderOptions {
  std::int64_t image_size = 512;  ///< side of the square images that come out
  int workers = 0;                ///< decoding threads, at most; 0: as many as oneTBB may use
  LoaderBackend backend = LoaderBackend::onetbb;
  int ring = 4;  ///< batches in memory, at least 2
  CacheMode cache = CacheMode::none;
  std::uint64_t cache_limit_bytes = 0;  ///< 0: half of the memory that is free
  /// Rows that are to be cached, e.g. those of a TrainingSet; empty: all rows of the dataset.
  std::vector<std::uint32_t> cache_rows;
  /// Replace a corrupt slice by the next sound one of its batch (images, masks and rows()), count
  /// it and warn once. A batch without any sound slice is an error all the same.
  bool skip_corrupt = false;
  bool masks = false;       ///< also the liver masks
  double deadline_s = 600;  ///< a batch that takes longer is an error
  /// Called by next() a few times a second while it waits, without any lock; what it throws next()
  /// throws, and no batch is lost. For those who are to hear of a signal.
  std::function<void()> while_waiting;
  BufferAllocator allocator = host_allocator();
};

/// A batch on loan from the ring; giving it back (destruction) lets the loader fill it again. May
/// be given back by any thread, and outlive the loader.
class BatchLease {
 public:
  BatchLease() = default;
  BatchLease(BatchLease&&) noexcept = default;
  BatchLease& operator=(BatchLease&&) noexcept = default;
  [[nodiscard]] std::int64_t number() const;                  ///< which batch of the source
  [[nodiscard]] std::span<const std::uint32_t> rows() const;  ///< rows of the index, [n]
  /// int16 HU, [n][size][size], window as stored.
  [[nodiscard]] std::span<const std::int16_t> images() const;
  [[nodiscard]] std::span<const std::uint8_t> masks() const;  ///< 0 or 1, [n][size][size], or empty

 private:
  friend class BatchLoader;
  struct Slot;
  std::shared_ptr<Slot> slot_;
};

struct LoaderStatistics {
  double waited_s = 0;              ///< time next() blocked
  std::int64_t slices = 0;          ///< delivered
  std::int64_t corrupt_slices = 0;  ///< delivered as copies of another slice (skip_corrupt)
  std::int64_t cache_hits = 0;      ///< delivered out of the cache; depends on timing
};

/// Streams batches out of the shards: parallel pread of the chunks that index.h5 names, XXH3 check,
/// c-blosc, and (where image_size is not the stored size) area-averaging down or bilinear up, into
/// a bounded ring filled ahead of the consumer. Batches come in order and are the same for any
/// number of workers. Memory: ring * batch slices, one slice per worker, the cache. Errors of the
/// workers and of the source are thrown by next() when their batch is due, naming case and slice.
/// One consumer thread. The reader must outlive the loader.
class BatchLoader {
 public:
  /// Rows of the index of batch number `i`; called in order, by one thread at a time; empty ends
  /// the stream.
  using Source = std::function<std::vector<std::uint32_t>(std::int64_t i)>;

  /// Throws Error(usage) for sizes that cannot be, Error(failure) where the cache does not fit.
  BatchLoader(const DatasetReader& reader, Source source, std::int64_t first_batch,
              LoaderOptions options);
  /// Waits for the slices that are being decoded now, not for the batches.
  ~BatchLoader();
  BatchLoader(const BatchLoader&) = delete;
  BatchLoader& operator=(const BatchLoader&) = delete;
  /// The next batch, or nothing after the last. Throws Error(corrupt) for a corrupt chunk (the same
  /// again when called again) and Error(failure) past the deadline, naming a slice that is missing.
  /// Throws Error(failure) where every batch of the ring is still on loan.
  [[nodiscard]] std::optional<BatchLease> next();
  [[nodiscard]] LoaderStatistics statistics() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace wsp::train

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

enum class CacheMode { none, ram };  ///< ram: decoded and resized slices stay in memory

struct LoaderOptions {
  std::int64_t image_size = 512;  ///< side of the square images that come out
  int workers = 0;                ///< decoding threads; 0: as many as oneTBB has
  int ring = 4;                   ///< batches in memory, at least 2
  CacheMode cache = CacheMode::none;
  std::uint64_t cache_limit_bytes = 0;  ///< 0: half of the memory that is free
  bool skip_corrupt = false;            ///< replace a corrupt slice by another of the batch, count it
  bool masks = false;                   ///< also the liver masks
  double deadline_s = 600;              ///< a batch that takes longer is an error
  BufferAllocator allocator = host_allocator();
};

/// A batch on loan from the ring; giving it back (destruction) lets the loader fill it again.
class BatchLease {
 public:
  BatchLease() = default;
  BatchLease(BatchLease&&) noexcept = default;
  BatchLease& operator=(BatchLease&&) noexcept = default;
  [[nodiscard]] std::int64_t number() const;               ///< which batch of the source
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
  double waited_s = 0;            ///< time next() blocked
  std::int64_t slices = 0;        ///< delivered
  std::int64_t corrupt_slices = 0;
  std::int64_t cache_hits = 0;
};

/// Streams batches out of the shards: parallel pread of the chunks that index.h5 names, XXH3 check,
/// c-blosc, and (where image_size is not the stored size) area-averaging down or bilinear up, into a
/// bounded ring filled ahead of the consumer. Batches come in order. Errors of the workers are thrown
/// by next(), naming case and slice. One consumer thread.
class BatchLoader {
 public:
  /// Rows of the index of batch number `i`; called in order from one thread; empty ends the stream.
  using Source = std::function<std::vector<std::uint32_t>(std::int64_t i)>;

  /// Throws Error(usage) for sizes that cannot be, Error(failure) where the cache does not fit.
  BatchLoader(const DatasetReader& reader, Source source, std::int64_t first_batch,
              LoaderOptions options);
  ~BatchLoader();
  BatchLoader(const BatchLoader&) = delete;
  BatchLoader& operator=(const BatchLoader&) = delete;
  /// The next batch, or nothing after the last. Throws Error(corrupt) for a corrupt chunk and
  /// Error(failure) past the deadline.
  [[nodiscard]] std::optional<BatchLease> next();
  [[nodiscard]] LoaderStatistics statistics() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace wsp::train

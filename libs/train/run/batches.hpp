#pragma once
#include <c10/core/Event.h>
#include <torch/torch.h>

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "train/data/loader.hpp"
#include "train/data/training_set.hpp"
#include "train/model/losses.hpp"

namespace wsp::train {

/// A batch on the device. Move-only.
struct DeviceBatch {
  DeviceBatch() = default;
  /// Where the card was lost the tensors are leaked: LibTorch asks the card before it frees what
  /// two streams used, and what it then throws out of a destructor ends the process.
  ~DeviceBatch();
  DeviceBatch(DeviceBatch&&) = default;
  DeviceBatch& operator=(DeviceBatch&& other) noexcept;

  std::int64_t number = 0;
  torch::Tensor hu;     ///< [m, s, s] int16
  torch::Tensor masks;  ///< [m, s, s] uint8, where the loader reads them; else undefined
  std::vector<std::uint32_t> rows;  ///< [m] rows of the index
  BatchLease lease;                 ///< what `hu` and `masks` may look into on the CPU
  std::optional<c10::Stream>
      used_on;  ///< a card's stream that works on them; they came there by another
};

/// Slices on the device, decoded and resized once.
class DeviceCache {
 public:
  /// Reads options.cache_rows (all rows where empty). Throws Error(failure) where they need more
  /// than options.cache_limit_bytes (0: half of the device's free memory), Error(corrupt) for a
  /// damaged slice, unless options.skip_corrupt.
  DeviceCache(const DatasetReader& reader, LoaderOptions options, const torch::Device& device);
  /// The slices of `rows` as one batch [m, s, s]. A damaged one is replaced as the loader does, in
  /// `rows` too; returns how many were.
  std::int64_t gather(std::vector<std::uint32_t>& rows, torch::Tensor& hu) const;

 private:
  void fill(const DatasetReader& reader, LoaderOptions options,
            const std::vector<std::uint32_t>& rows);
  torch::Tensor slices_;             ///< [rows, s, s] int16
  std::vector<std::int64_t> place_;  ///< [row of the index]; -1 damaged, -2 not cached
};

/// Hands the loader's batches to a device: on the CPU without a copy, on CUDA from pinned memory on
/// a side stream, one batch ahead. With CacheMode::device, out of a DeviceCache, which holds no
/// masks.
class DeviceBatches {
 public:
  DeviceBatches(const DatasetReader& reader, BatchLoader::Source source, std::int64_t first,
                LoaderOptions options, const torch::Device& device);
  [[nodiscard]] std::optional<DeviceBatch> next();
  [[nodiscard]] LoaderStatistics statistics() const {
    return loader_ ? loader_->statistics() : statistics_;
  }

 private:
  struct Flight {
    DeviceBatch batch;
    std::optional<c10::Event> ready;
  };
  std::optional<Flight> fetch();
  std::optional<DeviceBatch> next_cached();
  torch::Device device_;
  std::int64_t image_size_;
  std::optional<c10::Stream> side_;
  std::unique_ptr<BatchLoader> loader_;
  std::optional<Flight> ahead_;
  bool started_ = false;
  // Instead of a loader:
  std::unique_ptr<DeviceCache> cache_;
  BatchLoader::Source source_;
  std::int64_t next_number_ = 0;
  LoaderStatistics statistics_;
};

/// Looks up what the losses need by rows of the index.
class TargetTable {
 public:
  TargetTable(const TrainingSet& set, std::size_t index_rows);
  [[nodiscard]] Targets targets(std::span<const std::uint32_t> rows,
                                const torch::Device& device) const;
  [[nodiscard]] const TrainSlice& slice(std::uint32_t row) const;

 private:
  const TrainingSet& set_;
  std::vector<const TrainSlice*> by_row_;
};

}  // namespace wsp::train

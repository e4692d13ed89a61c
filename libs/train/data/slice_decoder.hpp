#pragma once
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "train/data/loader.hpp"
#include "train/data/resize.hpp"
#include "train/data/slice_cache.hpp"

/// Slices out of the shards or the cache, at a batch's size. Internal to train/data.
namespace wsp::train {

class SliceDecoder {
 public:
  /// What a decoding thread keeps between slices.
  struct Scratch {
    ReadScratch read;
    std::vector<std::int16_t> image;
    std::vector<std::uint8_t> mask;
    std::vector<std::int32_t> sums;
  };
  struct Result {
    std::exception_ptr error;
    bool corrupt = false, hit = false;
  };

  /// The reader must outlive it. Throws Error(usage) for sizes that cannot be, Error(failure) where
  /// the cache does not fit.
  SliceDecoder(const DatasetReader& reader, const LoaderOptions& options);

  /// Of one slice.
  [[nodiscard]] std::size_t pixels() const { return pixels_; }

  /// Decode a row of the index into `image`, [size][size] HU, and `mask`, [size][size] or empty.
  /// `ring_bytes`: what all images of the ring take. Thread-safe, throws nothing.
  Result decode(std::uint32_t row, std::span<std::int16_t> image, std::span<std::uint8_t> mask,
                std::size_t ring_bytes, Scratch& scratch) const;

  /// A scratch that no other thread has, and giving it back. Thread-safe.
  std::unique_ptr<Scratch> borrow();
  void give_back(std::unique_ptr<Scratch> scratch);

 private:
  void read(std::uint32_t row, std::span<std::int16_t> image, std::span<std::uint8_t> mask,
            Placement placement, Scratch& scratch) const;

  const DatasetReader& reader_;
  Resizer resizer_;
  std::size_t pixels_, stored_pixels_;
  std::unique_ptr<SliceCache> cache_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Scratch>> idle_;
};

}  // namespace wsp::train

#pragma once
#include <cstdint>
#include <exception>
#include <span>
#include <vector>

#include "train/data/batch_buffer.hpp"
#include "train/data/loader.hpp"

/// One batch in the loader's ring. Internal to train/data.
namespace wsp::train {

/// A place in the ring. The thread that took a job writes the job's pixels; all else is guarded by
/// the mutex of the ring.
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

  /// Empty it for a batch of slices of `slice_pixels` each.
  void clear(std::int64_t batch, std::size_t slice_pixels, bool with_masks);
  /// Take the rows of its batch, and memory for their slices.
  void take_rows(std::vector<std::uint32_t> of_batch);
  /// The pixels of one slice; a mask's are empty where there are none.
  [[nodiscard]] std::span<std::int16_t> image(std::size_t place) const;
  [[nodiscard]] std::span<std::uint8_t> mask(std::size_t place) const;
  /// Note that a slice could not be read. `replace`: another shall stand for it, unless none of the
  /// batch is left. Under the mutex.
  void note_error(std::size_t place, const std::exception_ptr& what, bool replace);
  /// Copy the next sound slice of the batch over each that is to be replaced, row and all.
  void replace_corrupt();

  static constexpr std::size_t kNoPlace = static_cast<std::size_t>(-1);
};

}  // namespace wsp::train

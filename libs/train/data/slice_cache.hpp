#pragma once
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace wsp::train {

/// Bytes that this process may still take: what the system has free, or less where a control group
/// of either version or one above it limits it, or Slurm grants less to the job
/// (SLURM_MEM_PER_NODE, SLURM_MEM_PER_CPU). `root`: where /proc and /sys are.
std::uint64_t free_memory_bytes(const std::filesystem::path& root = "/");
/// "812 bytes", "12.3 MiB": for messages that compare sizes.
std::string readable_bytes(std::uint64_t bytes);

/// Slices that were decoded once, in memory that is reserved at the start and filled as they come.
/// get() and put() are thread-safe.
class SliceCache {
 public:
  /// For the given rows of an index of `index_rows` (all where empty), `pixels` each. Throws
  /// Error(usage) for a row that is not in the index, Error(failure) where they need more than
  /// `limit_bytes` (0: half of the free memory).
  SliceCache(std::size_t index_rows, const std::vector<std::uint32_t>& rows, std::size_t pixels,
             bool masks, std::uint64_t limit_bytes);
  /// Copy a slice out; false where it is not held. `mask` is empty or a mask's size.
  bool get(std::uint32_t row, std::span<std::int16_t> image, std::span<std::uint8_t> mask) const;
  /// Keep a slice, unless its row is not cached or another thread was first.
  void put(std::uint32_t row, std::span<const std::int16_t> image,
           std::span<const std::uint8_t> mask);

 private:
  enum State : std::uint8_t { empty, filling, full };
  std::size_t pixels_;
  std::vector<std::uint32_t> place_;  ///< [row]; kNotCached where it has none
  std::unique_ptr<std::atomic<std::uint8_t>[]> states_;
  std::unique_ptr<std::int16_t[]> images_;
  std::unique_ptr<std::uint8_t[]> masks_;
};

}  // namespace wsp::train

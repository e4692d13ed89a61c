#include "train/data/slice_cache.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <new>
#include <numeric>
#include <optional>
#include <string>

#include "io/core/error.hpp"

namespace wsp::train {
namespace {

constexpr std::uint32_t kNotCached = std::numeric_limits<std::uint32_t>::max();
constexpr double kMiB = 1024.0 * 1024.0;

std::optional<std::uint64_t> number_in(const char* path) {
  std::ifstream file(path);
  std::uint64_t value = 0;
  if (file >> value) return value;
  return std::nullopt;  // absent, or "max"
}

}  // namespace

std::uint64_t free_memory_bytes() {
  std::uint64_t free = std::numeric_limits<std::uint64_t>::max();
  std::ifstream file("/proc/meminfo");
  for (std::string key, rest; file >> key && std::getline(file, rest);)
    if (key == "MemAvailable:") free = std::stoull(rest) * 1024;
  const auto limit = number_in("/sys/fs/cgroup/memory.max");
  const auto used = number_in("/sys/fs/cgroup/memory.current");
  if (limit && used) free = std::min(free, *limit - std::min(*limit, *used));
  return free;
}

std::string readable_bytes(std::uint64_t bytes) {
  constexpr std::uint64_t kInFull = std::uint64_t{10} << 20;
  if (bytes < kInFull) return fmt::format("{} bytes", bytes);
  return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / kMiB);
}

SliceCache::SliceCache(std::size_t index_rows, const std::vector<std::uint32_t>& rows,
                       std::size_t pixels, bool masks, std::uint64_t limit_bytes)
    : pixels_(pixels), place_(index_rows, kNotCached) {
  std::uint32_t count = 0;
  if (rows.empty()) {
    std::iota(place_.begin(), place_.end(), 0U);
    count = static_cast<std::uint32_t>(index_rows);
  }
  for (const std::uint32_t row : rows) {
    if (row >= index_rows)
      throw Error(ErrorCode::usage,
                  fmt::format("slice {} is to be cached: the dataset has {}", row, index_rows));
    if (place_[row] == kNotCached) place_[row] = count++;
  }
  const std::uint64_t bytes = std::uint64_t{count} * pixels * (masks ? 3 : 2);
  const std::uint64_t limit = limit_bytes > 0 ? limit_bytes : free_memory_bytes() / 2;
  const auto does_not_fit = [&] {
    return Error(
        ErrorCode::failure,
        fmt::format("--cache ram: {} slices need {} and may use {}{}: use --cache none, a smaller "
                    "--image-size, {}",
                    count, readable_bytes(bytes), readable_bytes(limit),
                    limit_bytes > 0 ? " (--cache-limit)" : ", half of what is free",
                    limit_bytes > 0 ? "or a larger --cache-limit" : "or a machine with more memory"));
  };
  if (bytes > limit) throw does_not_fit();
  try {
    states_ = std::make_unique<std::atomic<std::uint8_t>[]>(count);
    images_ = std::make_unique_for_overwrite<std::int16_t[]>(count * pixels);
    if (masks) masks_ = std::make_unique_for_overwrite<std::uint8_t[]>(count * pixels);
  } catch (const std::bad_alloc&) {
    throw does_not_fit();
  }
}

bool SliceCache::get(std::uint32_t row, std::span<std::int16_t> image,
                     std::span<std::uint8_t> mask) const {
  const std::uint32_t place = place_[row];
  if (place == kNotCached || states_[place].load(std::memory_order_acquire) != full) return false;
  std::copy_n(images_.get() + place * pixels_, image.size(), image.begin());
  if (!mask.empty()) std::copy_n(masks_.get() + place * pixels_, mask.size(), mask.begin());
  return true;
}

void SliceCache::put(std::uint32_t row, std::span<const std::int16_t> image,
                     std::span<const std::uint8_t> mask) {
  const std::uint32_t place = place_[row];
  if (place == kNotCached) return;
  std::uint8_t expected = empty;
  if (!states_[place].compare_exchange_strong(expected, filling)) return;
  std::copy(image.begin(), image.end(), images_.get() + place * pixels_);
  if (!mask.empty()) std::copy(mask.begin(), mask.end(), masks_.get() + place * pixels_);
  states_[place].store(full, std::memory_order_release);
}

}  // namespace wsp::train

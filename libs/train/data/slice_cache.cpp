#include "train/data/slice_cache.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <limits>
#include <new>
#include <numeric>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>

#include "io/core/error.hpp"

namespace wsp::train {
namespace {

constexpr std::uint32_t kNotCached = std::numeric_limits<std::uint32_t>::max();
constexpr double kMiB = 1024.0 * 1024.0;
namespace fs = std::filesystem;

std::optional<std::uint64_t> number_in(const fs::path& path) {
  std::ifstream file(path);
  std::uint64_t value = 0;
  if (file >> value) return value;
  return std::nullopt;  // absent, or "max"
}

// The number behind a key of a file such as /proc/meminfo or memory.stat; 0 where there is none.
std::uint64_t entry_of(const fs::path& path, std::string_view wanted) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string key;
    std::uint64_t value = 0;
    if (words >> key && key == wanted && words >> value) return value;
  }
  return 0;
}

struct MemoryFiles {
  const char *limit, *used, *cache;
};
constexpr MemoryFiles kVersion1{"memory.limit_in_bytes", "memory.usage_in_bytes",
                                "total_inactive_file"};
constexpr MemoryFiles kVersion2{"memory.max", "memory.current", "inactive_file"};

// What a control group and those above it leave. Pages of files that nobody works on make room by
// themselves.
std::uint64_t left_by_groups(const fs::path& mount, fs::path group, const MemoryFiles& files) {
  std::uint64_t left = std::numeric_limits<std::uint64_t>::max();
  for (;; group = group.parent_path()) {
    const fs::path here = mount / group.relative_path();
    const auto limit = number_in(here / files.limit), used = number_in(here / files.used);
    if (limit && used) {
      const std::uint64_t taken =
          *used - std::min(*used, entry_of(here / "memory.stat", files.cache));
      left = std::min(left, *limit - std::min(*limit, taken));
    }
    if (!group.has_relative_path()) return left;
  }
}

std::optional<std::uint64_t> granted_mib(const char* name) {
  const char* text = std::getenv(name);
  std::uint64_t value = 0;
  if (text == nullptr) return std::nullopt;
  const char* end = text + std::strlen(text);
  const auto [rest, error] = std::from_chars(text, end, value);
  return error == std::errc() && rest == end && value > 0 ? std::optional(value) : std::nullopt;
}

}  // namespace

std::uint64_t free_memory_bytes(const fs::path& root) {
  constexpr std::uint64_t kMebi = std::uint64_t{1} << 20;
  std::uint64_t free = entry_of(root / "proc/meminfo", "MemAvailable:") * 1024;
  if (free == 0) free = std::numeric_limits<std::uint64_t>::max();
  // "0::/path" in version 2, "9:memory:/path" in version 1. In a container the mount may begin at
  // the group itself.
  const fs::path mount = root / "sys/fs/cgroup";
  std::ifstream groups(root / "proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const auto first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const fs::path group = line.substr(second + 1);
    if (controllers == ",,") free = std::min(free, left_by_groups(mount, group, kVersion2));
    if (controllers.find(",memory,") != std::string::npos)
      free = std::min(free, left_by_groups(mount / "memory", group, kVersion1));
  }
  // Where Slurm grants memory without enforcing it by a control group, it ends jobs that take more.
  auto granted = granted_mib("SLURM_MEM_PER_NODE");
  if (!granted)
    if (const auto each = granted_mib("SLURM_MEM_PER_CPU"),
        cpus = granted_mib("SLURM_CPUS_ON_NODE");
        each && cpus)
      granted = *each * *cpus;
  if (granted) {
    const std::uint64_t own = entry_of(root / "proc/self/status", "VmRSS:") * 1024;
    free = std::min(free, *granted * kMebi - std::min(*granted * kMebi, own));
  }
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
        fmt::format(
            "--cache ram: {} slices need {} and may use {}{}: use --cache none, a smaller "
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

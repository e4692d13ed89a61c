#pragma once
#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <mutex>
#include <utility>
#include <vector>

namespace wsp {

/// Make a vector `size` long, asking the system for its largest pages first: a volume is touched
/// once, and 4 KiB at a time that costs as much as decoding it.
template <class T>
void resize_large(std::vector<T>& values, std::size_t size) {
  constexpr std::uintptr_t kPage = std::uintptr_t{2} << 20;
  values.reserve(size);
  const auto begin = reinterpret_cast<std::uintptr_t>(values.data());
  const std::uintptr_t from = (begin + kPage - 1) / kPage * kPage;
  const std::uintptr_t to = (begin + size * sizeof(T)) / kPage * kPage;
  if (from < to)  // advice: that it is not taken changes nothing
    static_cast<void>(::madvise(reinterpret_cast<void*>(from), to - from, MADV_HUGEPAGE));
  values.resize(size);
}

/// Vectors of volumes that are done with. Their pages are the process's already: the system need
/// not clear new ones for the next volume. Thread-safe.
template <class T>
class SpareVectors {
 public:
  /// `size` values that are not set: what an earlier volume left may stand there, and whoever takes
  /// them sets every one. A spare vector is used or, where all are too small, given up, so that
  /// there are never more here and in use than were once in use.
  std::vector<T> take(std::size_t size) {
    std::vector<T> values;
    {
      const std::lock_guard lock(mutex_);
      auto found = std::find_if(spare_.begin(), spare_.end(),
                                [size](const auto& v) { return v.capacity() >= size; });
      if (found == spare_.end() && !spare_.empty()) --found;
      if (found != spare_.end()) {
        values.swap(*found);
        spare_.erase(found);
      }
    }
    if (values.capacity() < size) {
      std::vector<T>().swap(values);
      values.reserve(size + std::min(size / 2, kMostRoom));
    }
    resize_large(values, size);
    return values;
  }
  /// Keep them, unless there are `most` already.
  void give(std::vector<T>&& values, std::size_t most) {
    const std::lock_guard lock(mutex_);
    if (spare_.size() < most) spare_.push_back(std::move(values));
  }

 private:
  /// For the next one, which may be larger: pages that nobody touches are no memory.
  static constexpr std::size_t kMostRoom = (std::size_t{128} << 20) / sizeof(T);

  std::mutex mutex_;
  std::vector<std::vector<T>> spare_;
};

/// Those of this process.
template <class T>
SpareVectors<T>& spare_vectors() {
  static SpareVectors<T> spare;
  return spare;
}

}  // namespace wsp

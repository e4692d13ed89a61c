#pragma once
#include <sys/mman.h>

#include <cstdint>
#include <vector>

namespace wsp {

/// Make an empty vector `size` long, asking the system for its largest pages first: a volume is
/// touched once, and 4 KiB at a time that costs as much as decoding it.
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

}  // namespace wsp

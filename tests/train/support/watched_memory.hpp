#pragma once
#include <c10/core/CPUAllocator.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <mutex>
#include <unordered_map>
#include <utility>

namespace wsp::test {

/// LibTorch's memory on the CPU for the length of a scope: counts what is held, and lets a test
/// refuse a block by throwing what a device without memory, or one that is lost, would make
/// LibTorch throw. One at a time.
class WatchedMemory final : public c10::Allocator {
 public:
  explicit WatchedMemory(std::function<void(std::size_t bytes)> before = {})
      : before_(std::move(before)) {
    c10::SetCPUAllocator(this);
  }
  ~WatchedMemory() { c10::SetCPUAllocator(c10::GetDefaultCPUAllocator()); }
  WatchedMemory(const WatchedMemory&) = delete;
  WatchedMemory& operator=(const WatchedMemory&) = delete;

  /// Bytes of all blocks made in such a scope that are not freed; blocks may outlive it.
  [[nodiscard]] static std::size_t held() {
    const std::lock_guard lock(books().mutex);
    return books().held;
  }
  /// The largest block asked for in this scope.
  [[nodiscard]] std::size_t largest() const { return largest_; }

  // No `override`: which of these a LibTorch asks for follows its version. It wants memory without
  // an owner too, so that a block is known by its address alone.
  c10::DataPtr allocate(std::size_t bytes) const { return make(bytes); }
  c10::DataPtr allocate(std::size_t bytes) { return make(bytes); }
  void copy_data(void* to, const void* from, std::size_t bytes) const {
    std::memcpy(to, from, bytes);
  }
  c10::DeleterFnPtr raw_deleter() const { return &give_back; }

 private:
  struct Books {
    std::mutex mutex;
    std::unordered_map<void*, std::size_t> size;
    std::size_t held = 0;
  };
  static Books& books() {
    static Books& kept = *new Books;  // blocks are freed until the process ends
    return kept;
  }
  c10::DataPtr make(std::size_t bytes) const {
    if (before_) before_(bytes);
    void* address = c10::GetDefaultCPUAllocator()->raw_allocate(bytes);
    const std::lock_guard lock(books().mutex);
    largest_ = std::max(largest_, bytes);
    if (address != nullptr) books().held += books().size[address] = bytes;
    return {address, address, &give_back, c10::Device(c10::kCPU)};
  }
  static void give_back(void* address) {
    if (address == nullptr) return;
    {
      const std::lock_guard lock(books().mutex);
      const auto found = books().size.find(address);
      books().held -= found->second;
      books().size.erase(found);
    }
    c10::GetDefaultCPUAllocator()->raw_deallocate(address);
  }

  std::function<void(std::size_t)> before_;
  mutable std::size_t largest_ = 0;
};

}  // namespace wsp::test

#pragma once
#include <c10/core/CPUAllocator.h>
#include <torch/version.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <functional>
#include <utility>

namespace wsp::test {

/// LibTorch's memory on the CPU for the length of a scope: counts what is held, and lets a test refuse a block by throwing
/// what a device without memory, or one that is lost, would make LibTorch throw. One at a time.
class WatchedMemory final : public c10::Allocator {
 public:
  explicit WatchedMemory(std::function<void(std::size_t bytes)> before = {}) : before_(std::move(before)) {
    c10::SetCPUAllocator(this);
  }
  ~WatchedMemory() override { c10::SetCPUAllocator(c10::GetDefaultCPUAllocator()); }
  WatchedMemory(const WatchedMemory&) = delete;
  WatchedMemory& operator=(const WatchedMemory&) = delete;

  /// Bytes of all blocks made in such a scope that are not freed.
  [[nodiscard]] static std::size_t held() { return held_; }
  /// The largest block asked for in this scope.
  [[nodiscard]] std::size_t largest() const { return largest_; }

#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 3)
  c10::DataPtr allocate(std::size_t bytes) override { return make(bytes); }
  void copy_data(void* to, const void* from, std::size_t bytes) const override {
    std::memcpy(to, from, bytes);
  }
#else
  c10::DataPtr allocate(std::size_t bytes) const override { return make(bytes); }
  // Asked for by some of these versions.
  void copy_data(void* to, const void* from, std::size_t bytes) const { std::memcpy(to, from, bytes); }
#endif

 private:
  struct Block {
    c10::DataPtr memory;
    std::size_t bytes;
  };
  c10::DataPtr make(std::size_t bytes) const {
    if (before_) before_(bytes);
    auto* block = new Block{c10::GetDefaultCPUAllocator()->allocate(bytes), bytes};
    largest_ = std::max(largest_.load(), bytes);
    held_ += bytes;
    return {block->memory.get(), block, &give_back, c10::Device(c10::kCPU)};
  }
  static void give_back(void* context) {
    auto* block = static_cast<Block*>(context);
    held_ -= block->bytes;
    delete block;
  }

  std::function<void(std::size_t)> before_;
  mutable std::atomic<std::size_t> largest_{0};
  inline static std::atomic<std::size_t> held_{0};  // blocks outlive the scope
};

}  // namespace wsp::test

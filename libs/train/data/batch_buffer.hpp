#pragma once
#include <cstddef>

#include "train/data/loader.hpp"

/// Memory for batches. Internal to train/data.
namespace wsp::train {

/// Memory of a BufferAllocator, which it must not outlive.
class Buffer {
 public:
  explicit Buffer(const BufferAllocator& allocator) : allocator_(&allocator) {}
  ~Buffer() { reset(); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  /// At least so many bytes; what was in it is lost where there were fewer.
  void reserve(std::size_t bytes) {
    if (bytes <= size_) return;
    reset();
    data_ = allocator_->allocate(bytes);
    size_ = bytes;
  }
  template <class T>
  [[nodiscard]] T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void reset() {
    if (data_ != nullptr) allocator_->release(data_);
    data_ = nullptr;
    size_ = 0;
  }
  const BufferAllocator* allocator_;
  void* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace wsp::train

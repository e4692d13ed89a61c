#pragma once
#include <sys/mman.h>

#include <cstddef>

namespace wsp::train::test {

/// Zeros of which only what is touched takes memory, so that a test can look far beyond 2^32 bytes.
class FarMemory {
 public:
  explicit FarMemory(std::size_t bytes)
      : bytes_(bytes),
        at_(::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)) {}
  ~FarMemory() {
    if (there()) ::munmap(at_, bytes_);
  }
  FarMemory(const FarMemory&) = delete;
  FarMemory& operator=(const FarMemory&) = delete;
  /// False where the system promises no more than it has.
  [[nodiscard]] bool there() const { return at_ != MAP_FAILED; }
  template <class T>
  [[nodiscard]] T* as() const {
    return static_cast<T*>(at_);
  }

 private:
  std::size_t bytes_;
  void* at_;
};

}  // namespace wsp::train::test

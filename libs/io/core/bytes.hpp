#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace wsp {

/// Numbers and what keeps them.
template <class T>
struct SharedSpan {
  std::span<const T> view;
  std::shared_ptr<const void> owner;
};

/// Memory that another process sees too, handed out from its start. Not thread-safe.
class BytesArena {
 public:
  virtual ~BytesArena() = default;
  /// `n` bytes, aligned for any number. Throws std::bad_alloc.
  virtual std::byte* allocate(std::size_t n) = 0;
  /// Where these bytes stand in the arena; copied into it where they do not.
  virtual std::uint64_t offset_of(std::span<const std::byte> bytes) = 0;
};

/// A buffer of `n` bytes that are not set: in the arena of a worker process (io/core/worker_pool),
/// so that what is decoded into it need not be copied out; else on the heap. Throws std::bad_alloc.
std::shared_ptr<char[]> allocate_bytes(std::size_t n);

/// The arena of this process, or null: only a worker has one.
BytesArena*& bytes_arena();

}  // namespace wsp

#include "io/core/bytes.hpp"

namespace wsp {

BytesArena*& bytes_arena() {
  static BytesArena* arena = nullptr;
  return arena;
}

std::shared_ptr<char[]> allocate_bytes(std::size_t n) {
  if (BytesArena* arena = bytes_arena(); arena != nullptr)
    return {reinterpret_cast<char*>(arena->allocate(n)), [](char*) {}};
  return std::shared_ptr<char[]>(new char[n]);
}

}  // namespace wsp

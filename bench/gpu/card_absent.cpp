// In place of card.cpp where LibTorch has no CUDA, or another than nvcc and CUDA's headers here:
// LibTorch's own code may then run on a card, and its allocator is out of reach.
#include <stdexcept>

#include "card.hpp"

namespace wsp::bench {

std::optional<std::string> card_name(int) { return std::nullopt; }
std::optional<std::int64_t> peak_bytes(int) { return std::nullopt; }
void reset_peak(int) {}
void limit_memory(int, std::int64_t) {
  throw std::runtime_error(
      "a memory limit needs a LibTorch with CUDA and an nvcc of the same CUDA: see \"CUDA "
      "kernels\" in what CMake says");
}

}  // namespace wsp::bench

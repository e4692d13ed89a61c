// In place of card.cpp where LibTorch has no CUDA.
#include <stdexcept>

#include "card.hpp"

namespace wsp::bench {

void wait_for_card(int) {}
std::optional<std::int64_t> peak_bytes(int) { return std::nullopt; }
void reset_peak(int) {}
void limit_memory(int, std::int64_t) {
  throw std::runtime_error("a memory limit needs a LibTorch with CUDA");
}

}  // namespace wsp::bench

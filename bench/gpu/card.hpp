#pragma once
#include <torch/cuda.h>

#include <cstdint>
#include <optional>
#include <string>

/// What the benchmarks ask of a card and of LibTorch's allocator on it. A build without CUDA's
/// headers, or with those of another CUDA than LibTorch's, waits for a card all the same, and knows
/// nothing else of it.
namespace wsp::bench {

constexpr int kNoCard = -1;

/// Wait for everything that the card was given; kNoCard has nothing to wait for. Throws where there
/// is no such card.
inline void wait_for_card(int card) {
  if (card != kNoCard) torch::cuda::synchronize(card);
}

/// As the driver names it, e.g. "NVIDIA H100 PCIe".
std::optional<std::string> card_name(int card);

/// Most bytes that tensors took at once on the card since reset_peak().
std::optional<std::int64_t> peak_bytes(int card);
void reset_peak(int card);
/// Let LibTorch take no more than this, and give back what it keeps for later; past it an
/// allocation fails as on a card that has no more.
void limit_memory(int card, std::int64_t bytes);

}  // namespace wsp::bench

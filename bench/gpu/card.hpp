#pragma once
#include <cstdint>
#include <optional>

/// What the benchmarks ask of a card and of LibTorch's allocator on it. In a build whose LibTorch has no CUDA nothing is known.
namespace wsp::bench {

constexpr int kNoCard = -1;

/// Wait for everything that the card was given; kNoCard has nothing to wait for.
void wait_for_card(int card);

/// Most bytes that tensors took at once on the card since reset_peak().
std::optional<std::int64_t> peak_bytes(int card);
void reset_peak(int card);
/// Let LibTorch take no more than this, and give back what it keeps for later; past it an allocation fails as on a card that
/// has no more.
void limit_memory(int card, std::int64_t bytes);

}  // namespace wsp::bench

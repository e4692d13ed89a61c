#include "card.hpp"

#include <c10/cuda/CUDACachingAllocator.h>
#include <cuda_runtime_api.h>

#include <algorithm>
#include <stdexcept>

namespace wsp::bench {

namespace allocator = c10::cuda::CUDACachingAllocator;

std::optional<std::string> card_name(int card) {
  cudaDeviceProp properties{};
  if (card == kNoCard || cudaGetDeviceProperties(&properties, card) != cudaSuccess)
    return std::nullopt;
  return properties.name;
}

std::optional<std::int64_t> peak_bytes(int card) {
  if (card == kNoCard) return std::nullopt;
  return allocator::getDeviceStats(static_cast<c10::DeviceIndex>(card))
      .allocated_bytes[0]
      .peak;  // [0]: of all pools
}

void reset_peak(int card) {
  if (card != kNoCard) allocator::resetPeakStats(static_cast<c10::DeviceIndex>(card));
}

void limit_memory(int card, std::int64_t bytes) {
  cudaDeviceProp properties{};
  if (cudaGetDeviceProperties(&properties, card) != cudaSuccess)
    throw std::runtime_error("the card does not say how much memory it has");
  allocator::emptyCache();  // what it keeps for later counts too
  allocator::setMemoryFraction(
      std::min(1.0, static_cast<double>(bytes) / static_cast<double>(properties.totalGlobalMem)),
      static_cast<c10::DeviceIndex>(card));
}

}  // namespace wsp::bench

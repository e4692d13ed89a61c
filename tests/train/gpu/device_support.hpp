#pragma once
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <memory>
#include <vector>

namespace wsp::train::test {

inline bool has_card() {
  int cards = 0;
  if (cudaGetDeviceCount(&cards) == cudaSuccess && cards > 0) return true;
  std::fprintf(stderr, "*** NO CUDA DEVICE: this test did not run ***\n");
  return false;
}

/// First in a test that needs a card.
#define WSP_SKIP_WITHOUT_CARD() \
  if (!has_card()) GTEST_SKIP() << "no CUDA device"

struct DeviceFree {
  void operator()(void* memory) const { cudaFree(memory); }
};
template <class T>
using OnDevice = std::unique_ptr<T, DeviceFree>;

/// Device memory of some elements, filled from the host where a source is given.
template <class T>
OnDevice<T> on_device(std::size_t count, const T* source = nullptr) {
  void* memory = nullptr;
  EXPECT_EQ(cudaMalloc(&memory, count * sizeof(T)), cudaSuccess);
  if (source != nullptr) {
    EXPECT_EQ(cudaMemcpy(memory, source, count * sizeof(T), cudaMemcpyHostToDevice), cudaSuccess);
  }
  return OnDevice<T>(static_cast<T*>(memory));
}

template <class T>
OnDevice<T> on_device(const std::vector<T>& source) {
  return on_device(source.size(), source.data());
}

/// Copy back, after everything before it.
template <class T>
std::vector<T> on_host(const T* device, std::size_t count) {
  std::vector<T> values(count);
  EXPECT_EQ(cudaMemcpy(values.data(), device, count * sizeof(T), cudaMemcpyDeviceToHost),
            cudaSuccess);
  return values;
}

}  // namespace wsp::train::test

#pragma once
#include <torch/torch.h>

#include <cstdio>
#include <cstdlib>
#include <string>

namespace wsp::train::test {

/// The device that a test sets beside the CPU: cuda, or what WSP_TEST_DEVICE says. With cpu the
/// tests themselves are tested.
inline std::string test_device() {
  const char* given = std::getenv("WSP_TEST_DEVICE");
  return given != nullptr && *given != '\0' ? given : "cuda";
}

inline bool on_card() { return test_device() != "cpu"; }

inline bool device_is_there() {
  if (!on_card() || torch::cuda::device_count() > 0) return true;
  std::fprintf(stderr, "*** NO CUDA DEVICE: this test did not run ***\n");
  return false;
}

/// First in a test or its SetUp().
#define WSP_SKIP_WITHOUT_DEVICE() \
  if (!device_is_there()) GTEST_SKIP() << "no CUDA device"

}  // namespace wsp::train::test

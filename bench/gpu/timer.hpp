#pragma once
#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <vector>

namespace wsp::bench {

inline double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

inline double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return (values[(values.size() - 1) / 2] + values[values.size() / 2]) / 2;
}

/// Wait for everything that the device was given.
inline void synchronise(const torch::Device& device) {
  if (device.is_cuda()) torch::cuda::synchronize(device.index());
}

/// Milliseconds per call of `work`: the median of `groups` groups of `calls`, each group waited for as a whole, so that
/// calls may follow each other on the device as they do in use.
template <class Work>
double milliseconds(const torch::Device& device, int groups, int calls, Work&& work) {
  work();
  synchronise(device);
  std::vector<double> times;
  for (int group = 0; group < groups; ++group) {
    const double begin = seconds();
    for (int call = 0; call < calls; ++call) work();
    synchronise(device);
    times.push_back(1000 * (seconds() - begin) / calls);
  }
  return median(times);
}

}  // namespace wsp::bench

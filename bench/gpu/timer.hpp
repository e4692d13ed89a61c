#pragma once
#include <algorithm>
#include <chrono>
#include <vector>

namespace wsp::bench {

inline double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

inline double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return (values[(values.size() - 1) / 2] + values[values.size() / 2]) / 2;
}

/// Milliseconds per call of `work` over `calls` of it, of which `wait` waits for the last alone, so
/// that calls may follow each other on a device as they do in use. One more call before them is not
/// counted.
template <class Wait, class Work>
double milliseconds(Wait&& wait, int calls, Work&& work) {
  work();
  wait();
  const double begin = seconds();
  for (int call = 0; call < calls; ++call) work();
  wait();
  return 1000 * (seconds() - begin) / calls;
}

}  // namespace wsp::bench

#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "preprocess/segment/network.hpp"

namespace wsp {

/// A list of equal samples to run through a network.
struct BatchJob {
  BatchShape sample;  ///< samples == 1
  std::int64_t count = 0;
  std::int64_t batch = 1;
  /// Write sample i, channels * voxels values. Called from several threads.
  std::function<void(std::int64_t i, std::span<float> input)> fill;
  /// Take the probabilities of sample i: voxels values, checked to lie in [0, 1]. Called from
  /// several threads; for each sample once.
  std::function<void(std::int64_t i, std::span<const float> output)> take;
};

/// Throws BadOutput where a value is not finite or lies outside [0, 1].
void check_probabilities(std::span<const float> values);

/// Run every sample in batches of fixed membership, so that results do not depend on the number of
/// threads. A concurrent network gets one batch per oneTBB thread; another one has several batches
/// under way while oneTBB's threads fill the next. Throws BadOutput and what the network throws.
class BatchRunner {
 public:
  explicit BatchRunner(Network& network) : network_(network) {}
  void run(const BatchJob& job);

 private:
  void run_concurrently(const BatchJob& job);
  void run_in_flight(const BatchJob& job);

  Network& network_;
};

}  // namespace wsp

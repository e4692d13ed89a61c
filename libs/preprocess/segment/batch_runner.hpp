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
  /// Samples from one call of prepare() to the next with a concurrent network: a multiple of
  /// `batch`.
  std::int64_t piece = 1;
  /// Make what fill() needs for the samples [first, first + count). In order, by the thread of
  /// run().
  std::function<void(std::int64_t first, std::int64_t count)> prepare;
  /// Write sample i, channels * voxels values. Called from several threads.
  std::function<void(std::int64_t i, std::span<float> input)> fill;
  /// Take the probabilities of sample i: voxels values, checked to lie in [0, 1]; or its logits,
  /// outputs * voxels values, checked to be finite. Called from several threads; for each sample
  /// once.
  std::function<void(std::int64_t i, std::span<const float> output)> take;
  /// The samples [first, first + count) have been taken. In order, by the thread of run(); may be
  /// empty.
  std::function<void(std::int64_t first, std::int64_t count)> finish;
};

/// Throws BadOutput where a value is not finite, or is to be a probability and lies outside [0, 1].
void check_output(const Network& network, std::span<const float> values);

/// Run every sample in batches of fixed membership, so that results do not depend on the number of
/// threads. A concurrent network gets one batch per oneTBB thread, piece by piece. Another one has
/// several batches under way while oneTBB's threads prepare and fill the next and take the last: no
/// more of the job is prepared before the first batch starts than that batch. Throws BadOutput and
/// what the network throws.
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

#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

namespace wsp {

/// A network answered with another shape than it was asked for, or with values that are no
/// probabilities.
class BadOutput : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Samples of one forward pass: [samples][channels][spatial...], the last axis fastest.
struct BatchShape {
  std::int64_t samples = 1, channels = 1;
  std::array<std::int64_t, 3> spatial{1, 1, 1};  ///< tensor order; {1, rows, columns} for 2d
  [[nodiscard]] std::int64_t voxels() const { return spatial[0] * spatial[1] * spatial[2]; }
};

/// One batch on its way: fill input(), start(), wait(), read output(). For one thread at a time.
class NetworkSlot {
 public:
  virtual ~NetworkSlot() = default;  ///< must not use the network, which may be gone
  /// At least samples * channels * voxels values.
  [[nodiscard]] virtual std::span<float> input() = 0;
  /// Begin the forward pass; on the CPU it is done when this returns. Throws BadOutput, and
  /// std::exception where the network gives up.
  virtual void start(const BatchShape& shape) = 0;
  /// Until the pass that start() began is done.
  virtual void wait() = 0;
  /// Probability of liver, [samples][spatial...], or logits, [samples][outputs][spatial...], as the
  /// network gave it: not finite where its output was not.
  [[nodiscard]] virtual std::span<const float> output() const = 0;
};

/// A network that gives the probability of liver, or logits of which it is one. Thread-safe; slots
/// are not.
class Network {
 public:
  Network() = default;
  virtual ~Network() = default;
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;
  /// True: slots are used by many threads at once (CPU). False: each thread that uses it keeps
  /// several under way.
  [[nodiscard]] virtual bool concurrent() const = 0;
  /// In what it computes where it may be another precision than its weights': fp32, bf16 or fp16.
  [[nodiscard]] virtual std::string precision() const { return "fp32"; }
  /// How many logits it gives for a voxel; 0: it gives the probability of liver.
  [[nodiscard]] virtual std::int64_t logits() const { return 0; }
  /// Values that it gives for a voxel.
  [[nodiscard]] std::int64_t outputs() const { return std::max<std::int64_t>(1, logits()); }
  /// Samples of one forward pass: of 2-D slices, of 3-D windows.
  [[nodiscard]] virtual std::int64_t batch(int dimensions) const = 0;
  /// A slot with room for batches up to this shape.
  virtual std::unique_ptr<NetworkSlot> make_slot(const BatchShape& largest) = 0;

  /// The same out of those given back, where one of them has the room. As many are kept as were
  /// ever in use at once: their buffers are not made anew for every volume.
  std::unique_ptr<NetworkSlot> take_slot(const BatchShape& largest);
  void give_back(std::unique_ptr<NetworkSlot> slot);

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<NetworkSlot>> idle_;
};

}  // namespace wsp

#pragma once
#include <array>
#include <cstdint>
#include <initializer_list>

namespace wsp {

/// One block of Philox4x32-10 (Salmon et al., SC 2011): four random words of a counter and a key.
[[nodiscard]] std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                                      std::array<std::uint32_t, 2> key);

/// A counter-based random stream: what it gives depends on its seed and keys alone, never on a
/// thread, on other streams, or on how much of them was used. Cheap to construct.
class CounterRng {
 public:
  /// Any number of keys, e.g. {epoch, step, sample}. Streams of different keys are independent.
  CounterRng(std::uint64_t seed, std::initializer_list<std::uint64_t> keys);
  std::uint32_t bits32();
  std::uint64_t bits();
  /// Uniform in [0, 1), 53 bits.
  double uniform();
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  /// Uniform integer in [0, n), without bias; n > 0.
  std::uint64_t below(std::uint64_t n);
  /// Standard normal (Box-Muller, one value per call).
  double normal();

 private:
  std::array<std::uint32_t, 2> key_{};
  std::array<std::uint32_t, 4> counter_{};
  std::array<std::uint32_t, 4> block_{};
  int left_ = 0;
};

}  // namespace wsp

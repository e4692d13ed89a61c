#pragma once
#include <cmath>
#include <cstdint>
#include <initializer_list>

namespace wsp::phantom {

/// A counter-based random stream: its numbers depend on the keys alone, never on threads or order.
class Random {
 public:
  Random(std::initializer_list<std::uint64_t> keys) {
    for (const std::uint64_t key : keys) state_ = mix(state_ ^ mix(key + 0x9E3779B97F4A7C15ULL));
  }
  std::uint64_t bits() { return mix(state_ += 0x9E3779B97F4A7C15ULL); }
  double uniform() { return static_cast<double>(bits() >> 11) * 0x1.0p-53; }
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  std::int64_t below(std::int64_t n) {
    return static_cast<std::int64_t>(uniform() * static_cast<double>(n));
  }

 private:
  static std::uint64_t mix(std::uint64_t x) {
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
    return x ^ (x >> 31);
  }
  std::uint64_t state_ = 0;
};

}  // namespace wsp::phantom

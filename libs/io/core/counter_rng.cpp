#include "io/core/counter_rng.hpp"

#include <cmath>
#include <numbers>

namespace wsp {
namespace {

std::uint64_t mix(std::uint64_t x) {  // the finaliser of SplitMix64
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31);
}

std::uint32_t low(std::uint64_t x) { return static_cast<std::uint32_t>(x); }
std::uint32_t high(std::uint64_t x) { return static_cast<std::uint32_t>(x >> 32); }

}  // namespace

std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                        std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53} * counter[0];
    const std::uint64_t b = std::uint64_t{0xCD9E8D57} * counter[2];
    counter = {high(b) ^ counter[1] ^ key[0], low(b), high(a) ^ counter[3] ^ key[1], low(a)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

CounterRng::CounterRng(std::uint64_t seed, std::initializer_list<std::uint64_t> keys) {
  key_ = {low(seed), high(seed)};
  std::uint64_t stream = 0x9E3779B97F4A7C15ULL * (keys.size() + 1);
  for (const std::uint64_t key : keys) stream = mix(stream ^ mix(key + 0x9E3779B97F4A7C15ULL));
  counter_ = {0, 0, low(stream), high(stream)};
}

std::uint32_t CounterRng::bits32() {
  if (left_ == 0) {
    block_ = philox4x32(counter_, key_);
    if (++counter_[0] == 0) ++counter_[1];
    left_ = 4;
  }
  return block_[static_cast<std::size_t>(4 - left_--)];
}

std::uint64_t CounterRng::bits() {
  const std::uint64_t first = bits32();
  return first << 32 | bits32();
}

double CounterRng::uniform() { return static_cast<double>(bits() >> 11) * 0x1.0p-53; }

std::uint64_t CounterRng::below(std::uint64_t n) {
  const std::uint64_t threshold = (0 - n) % n;  // values below it would favour small results
  for (;;) {
    const std::uint64_t x = bits();
    if (x >= threshold) return x % n;
  }
}

double CounterRng::normal() {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
  return radius * std::cos(2.0 * std::numbers::pi * uniform());
}

}  // namespace wsp

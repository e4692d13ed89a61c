#include "io/core/counter_rng.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <vector>

namespace wsp {
namespace {

using Block = std::array<std::uint32_t, 4>;

// kat_vectors of Random123, philox4x32 with 10 rounds.
TEST(Philox, EqualsThePublishedVectors) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}),
            (Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  constexpr std::uint32_t kOnes = 0xffffffff;
  EXPECT_EQ(philox4x32({kOnes, kOnes, kOnes, kOnes}, {kOnes, kOnes}),
            (Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(CounterRng, DependsOnSeedAndKeysAlone) {
  CounterRng a(5, {1, 2, 3}), b(5, {1, 2, 3});
  for (int i = 0; i < 100; ++i) EXPECT_EQ(a.bits(), b.bits());
  std::set<std::uint64_t> first;
  for (std::uint64_t seed = 0; seed < 10; ++seed)
    for (std::uint64_t key = 0; key < 10; ++key) {
      first.insert(CounterRng(seed, {key}).bits());
      first.insert(CounterRng(seed, {key, 0}).bits());
      first.insert(CounterRng(seed, {0, key, 1}).bits());
    }
  EXPECT_EQ(first.size(), 300U);  // neither the order nor the number of keys is lost
}

TEST(CounterRng, BelowIsUniform) {
  for (const std::uint64_t n : {1ULL, 2ULL, 3ULL, 7ULL, 10ULL, 64ULL, 100ULL}) {
    CounterRng rng(2024, {n});
    constexpr int kDraws = 200000;
    std::vector<int> counts(n, 0);
    for (int i = 0; i < kDraws; ++i) ++counts.at(rng.below(n));
    const double expected = static_cast<double>(kDraws) / static_cast<double>(n);
    double chi2 = 0;
    for (const int count : counts) chi2 += (count - expected) * (count - expected) / expected;
    // n - 1 degrees of freedom: mean n - 1, variance 2 (n - 1); five standard deviations.
    const double freedom = static_cast<double>(n) - 1;
    EXPECT_LE(chi2, freedom + 5 * std::sqrt(2 * freedom) + 5) << n;
  }
}

TEST(CounterRng, BelowHasNoBiasForLargeBounds) {
  // 3 * 2^62: taking a remainder without rejection would give the lowest third twice as often.
  constexpr std::uint64_t kBound = 3ULL << 62;
  CounterRng rng(1, {2});
  int low = 0;
  constexpr int kDraws = 30000;
  for (int i = 0; i < kDraws; ++i) low += rng.below(kBound) < kBound / 3 ? 1 : 0;
  EXPECT_NEAR(low, kDraws / 3, 500);
}

TEST(CounterRng, HasTheMomentsOfItsDistributions) {
  CounterRng rng(11, {4});
  constexpr int kDraws = 200000;
  double u = 0, u2 = 0, g = 0, g2 = 0, g4 = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double x = rng.uniform(), z = rng.normal();
    ASSERT_TRUE(x >= 0 && x < 1);
    u += x / kDraws;
    u2 += x * x / kDraws;
    g += z / kDraws;
    g2 += z * z / kDraws;
    g4 += z * z * z * z / kDraws;
  }
  EXPECT_NEAR(u, 0.5, 0.005);
  EXPECT_NEAR(u2, 1 / 3.0, 0.005);
  EXPECT_NEAR(g, 0, 0.015);
  EXPECT_NEAR(g2, 1, 0.02);
  EXPECT_NEAR(g4, 3, 0.2);
}

}  // namespace
}  // namespace wsp

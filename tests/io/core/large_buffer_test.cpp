#include "io/core/large_buffer.hpp"

#include <gtest/gtest.h>

#include <cstdint>

namespace wsp {
namespace {

constexpr std::size_t kSlice = std::size_t{512} * 512, kFew = 2;

TEST(SpareVectors, GiveMemoryBackToTheNextVolume) {
  SpareVectors<std::int16_t> spare;
  auto first = spare.take(10 * kSlice);
  ASSERT_EQ(first.size(), 10 * kSlice);
  const auto* const memory = first.data();
  spare.give(std::move(first), kFew);
  // A smaller one, then one that has room in it.
  for (const std::size_t slices : {4, 14}) {
    auto next = spare.take(slices * kSlice);
    EXPECT_EQ(next.size(), slices * kSlice);
    EXPECT_EQ(next.data(), memory);
    spare.give(std::move(next), kFew);
  }
  // While it is in use, another.
  auto held = spare.take(kSlice);
  EXPECT_EQ(held.data(), memory);
  EXPECT_NE(spare.take(kSlice).data(), memory);
}

TEST(SpareVectors, KeepNoMoreThanTheyMay) {
  SpareVectors<std::uint8_t> spare;
  const auto give = [&](std::size_t slices) {
    std::vector<std::uint8_t> other(slices * kSlice);
    const auto* const memory = other.data();
    spare.give(std::move(other), kFew);
    return memory;
  };
  const auto* const small = give(1);
  const auto* const large = give(2);
  give(3);                              // one too many
  auto taken = spare.take(3 * kSlice);  // none is large enough: one is given up
  EXPECT_EQ(taken.size(), 3 * kSlice);
  const auto left = spare.take(kSlice);
  EXPECT_TRUE(left.data() == small || left.data() == large);
  EXPECT_EQ(left.size(), kSlice);
  for (const std::uint8_t value : left) ASSERT_EQ(value, 0);
}

TEST(SpareVectors, GrowByValuesThatAreSet) {
  SpareVectors<std::int16_t> spare;
  auto values = spare.take(kSlice);
  values.assign(kSlice, 7);
  const auto* const memory = values.data();
  spare.give(std::move(values), kFew);
  values = spare.take(kSlice + 100);
  ASSERT_EQ(values.data(), memory);
  EXPECT_EQ(values[kSlice - 1], 7);  // what an earlier volume left
  for (std::size_t i = kSlice; i < values.size(); ++i) ASSERT_EQ(values[i], 0);
}

}  // namespace
}  // namespace wsp

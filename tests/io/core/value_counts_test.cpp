#include "io/core/value_counts.hpp"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace wsp {
namespace {

TEST(ValueCounts, CountEveryValue) {
  std::mt19937 random(1);
  std::map<std::int16_t, std::int64_t> wanted;
  ValueCounts counts, other;
  EXPECT_EQ(counts.total(), 0);
  EXPECT_EQ(counts.at(0), 0);
  std::int64_t total = 0;
  for (std::size_t n = 0; n < 40; ++n) {
    std::vector<std::int16_t> values{-32768, 32767, 0, -1};
    values.resize(n);
    for (std::size_t i = 4; i < n; ++i)
      values[i] = static_cast<std::int16_t>(
          i % 3 == 0 ? -1024 : static_cast<int>(random() % 65536) - 32768);
    (n % 2 == 0 ? counts : other).add(values);
    for (const std::int16_t value : values) ++wanted[value];
    total += static_cast<std::int64_t>(n);
  }
  counts.add(other);
  EXPECT_EQ(counts.total(), total);
  std::map<std::int16_t, std::int64_t> seen;
  counts.for_each([&](std::int16_t value, std::int64_t count) { seen[value] = count; });
  EXPECT_EQ(seen, wanted);
  EXPECT_EQ(counts.at(-1024), wanted[-1024]);
  EXPECT_EQ(counts.at(40000), 0);
}

TEST(ValueCounts, MakeRoomOnBothSides) {
  ValueCounts counts;
  std::map<std::int16_t, std::int64_t> wanted;
  const auto add = [&](std::vector<std::int16_t> values) {
    counts.add(values);
    for (const std::int16_t value : values) ++wanted[value];
  };
  add({1500, 1500, 1023});
  add({1024, 2047, 2048});
  add({-1, -1024, -1025, 0});
  add({32767, 32767, 31743});
  add({-32768, -31745, -31744});
  std::map<std::int16_t, std::int64_t> seen;
  counts.for_each([&](std::int16_t value, std::int64_t count) { seen[value] = count; });
  EXPECT_EQ(seen, wanted);
  EXPECT_EQ(counts.total(), 16);
  EXPECT_EQ(counts.at(-32769), 0);
  EXPECT_EQ(counts.at(32768), 0);

  // One that lies below and one that lies above; and room that another has.
  ValueCounts low, high;
  const std::vector<std::int16_t> least{-3000, -3000, -2900}, most{5000, 4000};
  low.cover(least);
  low.add_covered(least);
  high.add(most);
  low.cover(high);
  low.add_covered(most);
  high.add(low);
  EXPECT_EQ(high.at(5000), 2);
  EXPECT_EQ(high.at(-3000), 2);
  EXPECT_EQ(high.at(-2900), 1);
  EXPECT_EQ(high.total(), 7);
}

}  // namespace
}  // namespace wsp

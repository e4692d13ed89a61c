#include "io/core/value_counts.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "io/core/vector_clones.hpp"

namespace wsp {
namespace {

WSP_VECTOR_CLONES("avx2", "default")
std::pair<std::int16_t, std::int16_t> range_of(const std::int16_t* values, std::size_t n) {
  std::int16_t least = std::numeric_limits<std::int16_t>::max();
  std::int16_t most = std::numeric_limits<std::int16_t>::min();
  for (std::size_t i = 0; i < n; ++i) {
    least = std::min(least, values[i]);
    most = std::max(most, values[i]);
  }
  return {least, most};
}

}  // namespace

void ValueCounts::cover(std::span<const std::int16_t> values) {
  if (values.empty()) return;
  const auto [least, most] = range_of(values.data(), values.size());
  cover(least, most + 1);
}

void ValueCounts::cover(const ValueCounts& other) {
  if (!other.counts_.empty()) cover(other.least_, other.end());
}

void ValueCounts::cover(int least, int end) {
  if (!counts_.empty() && least >= least_ && end <= this->end()) return;
  constexpr int kStep = 1024;  // so that there are few moves
  const auto floor = [](int value) {
    return (value - (value < 0 ? kStep - 1 : 0)) / kStep * kStep;
  };
  int first = floor(least), last = floor(end + kStep - 1);
  if (!counts_.empty()) {
    first = std::min(first, least_);
    last = std::max(last, this->end());
  }
  std::vector<std::uint32_t> wider(static_cast<std::size_t>(last - first) * kTables);
  std::copy(counts_.begin(), counts_.end(),
            wider.begin() + (counts_.empty() ? 0 : least_ - first) * std::ptrdiff_t{kTables});
  counts_ = std::move(wider);
  least_ = first;
}

void ValueCounts::add_covered(std::span<const std::int16_t> values) {
  std::uint32_t* const zero = counts_.data() - least_ * static_cast<int>(kTables);
  const auto count = [zero](std::int16_t value, int table) {
    ++zero[value * static_cast<int>(kTables) + table];
  };
  const std::size_t whole = values.size() / kTables * kTables;
  for (std::size_t i = 0; i < whole; i += kTables) {
    count(values[i], 0);
    count(values[i + 1], 1);
    count(values[i + 2], 2);
    count(values[i + 3], 3);
  }
  for (std::size_t i = whole; i < values.size(); ++i) count(values[i], static_cast<int>(i - whole));
}

void ValueCounts::add(const ValueCounts& other) {
  if (other.counts_.empty()) return;
  cover(other);
  std::uint32_t* const same =
      counts_.data() + static_cast<std::size_t>(other.least_ - least_) * kTables;
  for (std::size_t i = 0; i < other.counts_.size(); ++i) same[i] += other.counts_[i];
}

std::int64_t ValueCounts::at(std::int64_t value) const {
  if (value < least_ || value >= end()) return 0;
  return sum(static_cast<std::size_t>(value - least_) * kTables);
}

std::int64_t ValueCounts::total() const {
  std::int64_t all = 0;
  for (const std::uint32_t count : counts_) all += count;
  return all;
}

}  // namespace wsp

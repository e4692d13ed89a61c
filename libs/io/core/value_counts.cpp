#include "io/core/value_counts.hpp"

namespace wsp {

void ValueCounts::add(std::span<const std::int16_t> values) {
  counts_.resize(kValues * kTables);
  std::uint32_t* const zero = counts_.data() - kLeast * static_cast<int>(kTables);
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
  counts_.resize(kValues * kTables);
  for (std::size_t i = 0; i < counts_.size(); ++i) counts_[i] += other.counts_[i];
}

std::int64_t ValueCounts::at(std::int64_t value) const {
  const std::int64_t i = value - kLeast;
  if (counts_.empty() || i < 0 || i >= static_cast<std::int64_t>(kValues)) return 0;
  return sum(static_cast<std::size_t>(i) * kTables);
}

std::int64_t ValueCounts::total() const {
  std::int64_t all = 0;
  for (const std::uint32_t count : counts_) all += count;
  return all;
}

}  // namespace wsp

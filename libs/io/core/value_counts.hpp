#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace wsp {

/// How often each int16 value occurs, for up to 2^32 - 1 of a value.
class ValueCounts {
 public:
  void add(std::span<const std::int16_t> values);
  void add(const ValueCounts& other);
  /// 0 for what is no int16.
  [[nodiscard]] std::int64_t at(std::int64_t value) const;
  [[nodiscard]] std::int64_t total() const;
  /// Call visit(value, count) for every value that occurs, ascending.
  template <class Visit>
  void for_each(const Visit& visit) const {
    for (std::size_t i = 0; i < counts_.size(); i += kTables)
      if (const std::int64_t count = sum(i); count > 0)
        visit(static_cast<std::int16_t>(static_cast<int>(i / kTables) + kLeast), count);
  }

 private:
  static constexpr int kLeast = -32768;
  /// Equal values in a row are counted in turns: an addition need not wait for the one before.
  static constexpr std::size_t kTables = 4, kValues = 65536;
  [[nodiscard]] std::int64_t sum(std::size_t i) const {
    return std::int64_t{counts_[i]} + counts_[i + 1] + counts_[i + 2] + counts_[i + 3];
  }
  std::vector<std::uint32_t> counts_;  // [value][table]; empty at first
};

}  // namespace wsp

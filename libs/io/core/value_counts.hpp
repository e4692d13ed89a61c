#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace wsp {

/// How often each int16 value occurs, for up to 2^32 - 1 of a value.
class ValueCounts {
 public:
  void add(std::span<const std::int16_t> values) {
    cover(values);
    add_covered(values);
  }
  /// Make room for these values: what is added of them then need not look.
  void cover(std::span<const std::int16_t> values);
  /// And for all that another one has room for.
  void cover(const ValueCounts& other);
  /// Values that lie within what cover() has seen.
  void add_covered(std::span<const std::int16_t> values);
  void add(const ValueCounts& other);
  /// 0 for what is no int16.
  [[nodiscard]] std::int64_t at(std::int64_t value) const;
  [[nodiscard]] std::int64_t total() const;
  /// Call visit(value, count) for every value that occurs, ascending.
  template <class Visit>
  void for_each(const Visit& visit) const {
    for (std::size_t i = 0; i < counts_.size(); i += kTables)
      if (const std::int64_t count = sum(i); count > 0)
        visit(static_cast<std::int16_t>(static_cast<int>(i / kTables) + least_), count);
  }

 private:
  /// Equal values in a row are counted in turns: an addition need not wait for the one before.
  static constexpr std::size_t kTables = 4;
  [[nodiscard]] std::int64_t sum(std::size_t i) const {
    return std::int64_t{counts_[i]} + counts_[i + 1] + counts_[i + 2] + counts_[i + 3];
  }
  [[nodiscard]] int end() const { return least_ + static_cast<int>(counts_.size() / kTables); }
  void cover(int least, int end);

  int least_ = 0;                      // value of the first entry
  std::vector<std::uint32_t> counts_;  // [value][table]; a few thousand values of a CT
};

}  // namespace wsp

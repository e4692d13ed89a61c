#pragma once
#include <charconv>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <type_traits>
#include <vector>

#include "io/manifest/csv.hpp"

namespace wsp::train {

/// The table beside a matrix of features, one row per slice, with messages that name a cell's
/// place. Rows from 0; columns that are asked for must be there. Internal to train/eval.
class SliceTable {
 public:
  /// Throws Error: no_input where there is no file, usage for what is no table and for a column
  /// that stands twice.
  explicit SliceTable(const std::filesystem::path& path);

  [[nodiscard]] std::size_t rows() const { return table_.rows.size(); }
  [[nodiscard]] const std::vector<std::string>& header() const { return table_.header; }
  [[nodiscard]] bool has(const std::string& column) const { return place_.contains(column); }
  [[nodiscard]] const std::string& text(std::size_t row, const std::string& column) const {
    return table_.rows[row][place_.at(column)];
  }
  /// Throws Error(usage) without the column.
  void require(const std::string& column, const char* why) const;
  /// Throw Error(usage) that names the file, or the cell.
  [[noreturn]] void refuse(const std::string& what) const;
  [[noreturn]] void refuse(std::size_t row, const std::string& column,
                           const std::string& expected) const;

  /// A cell that is a finite number as a whole; refuses others.
  template <class Number>
  [[nodiscard]] Number number(std::size_t row, const std::string& column, const char* expected,
                              int base = 10) const {
    const std::string& cell = text(row, column);
    Number value{};
    std::from_chars_result end{};
    if constexpr (std::is_floating_point_v<Number>)
      end = std::from_chars(cell.data(), cell.data() + cell.size(), value);
    else
      end = std::from_chars(cell.data(), cell.data() + cell.size(), value, base);
    if (end.ec != std::errc() || end.ptr != cell.data() + cell.size())
      refuse(row, column, expected);
    if constexpr (std::is_floating_point_v<Number>)
      if (!std::isfinite(value)) refuse(row, column, expected);
    return value;
  }
  /// The column "slice", 0 or more.
  [[nodiscard]] std::int32_t slice(std::size_t row) const;

 private:
  std::string file_;
  CsvTable table_;
  std::map<std::string, std::size_t> place_;
};

}  // namespace wsp::train

#include "train/eval/slice_table.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"

namespace wsp::train {

SliceTable::SliceTable(const std::filesystem::path& path) : file_(path.string()) {
  std::error_code ec;
  if (!std::filesystem::is_regular_file(path, ec))
    throw Error(ErrorCode::no_input, "no table at " + file_ + ": expected one row per slice");
  table_ = parse_csv(read_file(path), file_);
  for (std::size_t c = 0; c < table_.header.size(); ++c)
    if (!place_.emplace(table_.header[c], c).second)
      refuse("the column '" + table_.header[c] + "' stands twice");
}

void SliceTable::require(const std::string& column, const char* why) const {
  if (!has(column))
    refuse(fmt::format("there is no column '{}'{}; it has {}", column, why,
                       fmt::join(table_.header, ", ")));
}

void SliceTable::refuse(const std::string& what) const {
  throw Error(ErrorCode::usage, file_ + ": " + what);
}

void SliceTable::refuse(std::size_t row, const std::string& column,
                        const std::string& expected) const {
  refuse(fmt::format("{}, column '{}': expected {}", table_.place(row), column, expected));
}

std::int32_t SliceTable::slice(std::size_t row) const {
  const auto value = number<std::int32_t>(row, "slice", "the number of a slice, from 0");
  if (value < 0) refuse(row, "slice", "the number of a slice, from 0");
  return value;
}

}  // namespace wsp::train

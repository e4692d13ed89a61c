#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace wsp {

/// The cells of a line of a tab-separated table, empty ones included; at least one.
inline std::vector<std::string> split_tabs(std::string_view line) {
  std::vector<std::string> cells;
  for (;;) {
    const std::size_t end = line.find('\t');
    cells.emplace_back(line.substr(0, end));
    if (end == std::string_view::npos) return cells;
    line.remove_prefix(end + 1);
  }
}

}  // namespace wsp

#pragma once
#include <string>
#include <vector>

namespace wsp {

struct CsvTable {
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows;  ///< each as long as the header; cells trimmed
};

/// Parse RFC 4180 text, with or without BOM, separated by comma, semicolon or tab (whichever the header has most).
/// `file` stands in messages. Throws Error(usage) for a ragged row, an open quote, or bytes that are no UTF-8.
CsvTable parse_csv(std::string text, const std::string& file);

}  // namespace wsp

#include "io/manifest/csv.hpp"

#include <algorithm>

#include "io/core/error.hpp"

namespace wsp {
namespace {

bool is_utf8(const std::string& text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const std::size_t more = lead < 0x80 ? 0 : lead >= 0xC2 && lead < 0xE0 ? 1 : lead >= 0xE0 && lead < 0xF0 ? 2
                             : lead >= 0xF0 && lead < 0xF5 ? 3 : 4;
    if (more == 4 || i + more >= text.size() + (more == 0 ? 1 : 0)) return false;
    for (std::size_t k = 1; k <= more; ++k)
      if ((static_cast<unsigned char>(text[i + k]) & 0xC0) != 0x80) return false;
    i += more + 1;
  }
  return true;
}

std::string trimmed(const std::string& cell) {
  const auto first = cell.find_first_not_of(" \t");
  if (first == std::string::npos) return "";
  return cell.substr(first, cell.find_last_not_of(" \t") - first + 1);
}

char separator_of(const std::string& text) {
  const std::string head = text.substr(0, text.find('\n'));
  char best = ',';
  for (const char c : {';', '\t'})
    if (std::count(head.begin(), head.end(), c) > std::count(head.begin(), head.end(), best)) best = c;
  return best;
}

}  // namespace

CsvTable parse_csv(std::string text, const std::string& file) {
  const auto fail = [&](std::size_t row, const std::string& what) {
    throw Error(ErrorCode::usage, file + (row == 0 ? ", header" : ", row " + std::to_string(row)) + ": " + what);
  };
  if (text.starts_with("\xEF\xBB\xBF")) text.erase(0, 3);
  if (text.find('\0') != std::string::npos || !is_utf8(text))
    throw Error(ErrorCode::usage, file + " is no UTF-8 text; save the table as CSV in UTF-8");
  const char separator = separator_of(text);
  CsvTable table;
  std::vector<std::string> row;
  std::string cell;
  bool quoted = false, was_quoted = false;
  std::size_t number = 0;
  const auto end_cell = [&] {
    row.push_back(was_quoted ? cell : trimmed(cell));
    cell.clear();
    was_quoted = false;
  };
  const auto end_row = [&] {
    end_cell();
    const bool blank = row.size() == 1 && row.front().empty();
    if (table.header.empty()) {
      if (!blank) table.header = row;
    } else if (!blank) {
      ++number;
      if (row.size() != table.header.size())
        fail(number, "found " + std::to_string(row.size()) + " cells, expected " +
                         std::to_string(table.header.size()) + " as in the header");
      table.rows.push_back(row);
    }
    row.clear();
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c != '"')
        cell += c;
      else if (i + 1 < text.size() && text[i + 1] == '"')
        cell += text[++i];
      else
        quoted = false;
    } else if (c == '"' && trimmed(cell).empty()) {
      cell.clear();
      quoted = was_quoted = true;
    } else if (c == separator) {
      end_cell();
    } else if (c == '\n') {
      end_row();
    } else if (c != '\r') {
      cell += c;
    }
  }
  if (quoted) fail(number + 1, "a quote is opened and not closed");
  if (!cell.empty() || !row.empty()) end_row();
  if (table.header.empty()) throw Error(ErrorCode::usage, file + " is empty; expected a header row");
  return table;
}

}  // namespace wsp

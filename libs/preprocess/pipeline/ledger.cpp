#include "preprocess/pipeline/ledger.hpp"

#include <algorithm>
#include <set>
#include <utility>

namespace wsp {
namespace {

std::string cell(std::string_view text) {
  std::string safe(text);
  std::replace_if(
      safe.begin(), safe.end(), [](char c) { return c == '\t' || c == '\n' || c == '\r'; }, ' ');
  return safe;
}

}  // namespace

std::string ledger_text(std::vector<LedgerRow> rows) {
  std::sort(rows.begin(), rows.end(),
            [](const LedgerRow& a, const LedgerRow& b) { return a.path_hash < b.path_hash; });
  std::string text = "path\tcode\tkind\tcase\tdetail\n";
  for (const LedgerRow& row : rows) {
    const CodeInfo& code = info(row.disposition.code);
    text += row.path_hash + '\t' + std::string(code.name) + '\t' +
            std::string(to_string(code.kind)) + '\t' + cell(row.disposition.case_name) + '\t' +
            cell(row.disposition.detail) + '\n';
  }
  return text;
}

std::string quarantine_text(const std::vector<Rejection>& cases,
                            const std::vector<LedgerRow>& rows) {
  std::vector<std::string> lines;
  for (const Rejection& r : cases)
    lines.push_back("case\t" + cell(r.case_name) + '\t' + std::string(to_string(r.code)) + '\t' +
                    cell(r.detail) + '\t' + std::string(info(r.code).remedy) + '\n');
  // The files of a refused case are told by its line; the ledger names each.
  std::set<std::pair<std::string, Code>> told;
  for (const Rejection& r : cases) told.emplace(r.case_name, r.code);
  for (const LedgerRow& row : rows)
    if (info(row.disposition.code).kind == CodeKind::rejected &&
        !told.contains({row.disposition.case_name, row.disposition.code}))
      lines.push_back("file\t" + row.path_hash + '\t' +
                      std::string(to_string(row.disposition.code)) + '\t' +
                      cell(row.disposition.detail) + '\t' +
                      std::string(info(row.disposition.code).remedy) + '\n');
  std::sort(lines.begin(), lines.end());
  std::string text = "what\tname\tcode\tdetail\tremedy\n";
  for (const std::string& line : lines) text += line;
  return text;
}

}  // namespace wsp

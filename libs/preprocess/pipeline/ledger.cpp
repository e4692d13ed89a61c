#include "preprocess/pipeline/ledger.hpp"

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

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

std::map<std::string, std::size_t> unseen_files(const std::map<std::string, std::size_t>& codes) {
  std::map<std::string, std::size_t> unseen;
  for (const Code code :
       {Code::UNREADABLE_DIRECTORY, Code::PERMISSION_DENIED, Code::LINK_NOT_FOLLOWED,
        Code::DANGLING_LINK, Code::ARCHIVE, Code::DATA_WITHOUT_HEADER})
    if (const auto hit = codes.find(std::string(to_string(code))); hit != codes.end())
      unseen.insert(*hit);
  return unseen;
}

std::string codes_text(const std::map<std::string, std::size_t>& codes, std::size_t most) {
  std::vector<std::pair<std::size_t, const CodeInfo*>> order;
  for (const auto& [name, count] : codes)
    if (const auto code = parse_code(name)) order.emplace_back(count, &info(*code));
  std::stable_sort(order.begin(), order.end(),
                   [](const auto& a, const auto& b) { return a.first > b.first; });
  std::string text;
  for (std::size_t i = 0; i < std::min(most, order.size()); ++i) {
    const auto& [count, code] = order[i];
    text += "  " + std::string(code->name) + ' ' + std::to_string(count) + ": " +
            std::string(code->meaning) + '\n';
    if (!code->remedy.empty()) text += "    -> " + std::string(code->remedy) + '\n';
  }
  return text;
}

std::map<std::string, std::size_t> code_counts(const std::vector<Disposition>& files) {
  std::map<std::string, std::size_t> counts;
  for (const Disposition& file : files) ++counts[std::string(to_string(file.code))];
  return counts;
}

std::string reasons_text(const std::map<std::string, std::size_t>& cases,
                         std::map<std::string, std::size_t> files) {
  constexpr std::size_t kMost = 5;
  std::erase_if(files, [&](const auto& entry) {
    const auto code = parse_code(entry.first);
    return cases.contains(entry.first) || !code || info(*code).kind == CodeKind::used;
  });
  std::string text;
  if (!cases.empty()) text += "cases refused\n" + codes_text(cases, kMost);
  if (!files.empty()) text += "files that are no part of a case\n" + codes_text(files, kMost);
  return text;
}

std::string unseen_text(const std::map<std::string, std::size_t>& codes) {
  const auto unseen = unseen_files(codes);
  if (unseen.empty()) return "";
  return "not all that was given could be seen:\n" + codes_text(unseen, unseen.size());
}

}  // namespace wsp

#include <algorithm>

#include "train/eval/svg.hpp"
#include "train/eval/table.hpp"

namespace wsp::train {
namespace {

constexpr const char* kStyle =
    ":root{color-scheme:light "
    "dark;--ink:#222;--faint:#5c5c66;--line:#dcdce0;--head:#f4f4f6;--paper:#fff;--mark:#1b5ea6}"
    "@media(prefers-color-scheme:dark){:root{--ink:#e4e4e8;--faint:#a4a4ae;--line:#3a3a42;--head:#"
    "24242a;--paper:#18181c;--mark:#6eb0ff}}"
    "body{font:14px/1.45 sans-serif;margin:1.5rem auto;max-width:100rem;padding:0 "
    "1rem;background:var(--paper);color:var(--ink)}"
    "h1{font-size:1.5rem}h2{font-size:1.15rem;margin:2rem 0 .5rem}"
    ".table{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}"
    "th,td{padding:.25rem .55rem;border-bottom:1px solid "
    "var(--line);text-align:left;vertical-align:top}"
    "th{background:var(--head)}th small{font-weight:400}td.long{min-width:14rem}"
    "td:first-child,th:first-child{position:sticky;left:0}td:first-child{background:var(--paper)}"
    "small{display:block;color:var(--faint);font-size:.85em}"
    "p,figcaption,summary{color:var(--faint);max-width:70rem}p.verdict{color:var(--ink);border-"
    "left:3px solid var(--mark);padding-left:.7rem;margin:.4rem 0}"
    "figure{display:inline-block;margin:1rem 1rem 0 "
    "0;vertical-align:top}img{width:44rem;max-width:100%}summary{cursor:pointer;margin:.5rem 0}"
    "td:first-child{overflow-wrap:anywhere;min-width:4.5rem}"
    "@media(max-width:90rem){table{font-size:12px}th,td{padding:.2rem .3rem}}"
    "@media(max-width:56rem){table{font-size:10.5px}th,td{padding:.2rem .15rem}body{padding:0 "
    ".5rem}}";

// An interval goes below its value.
std::string cell(const std::string& text) {
  const std::size_t at = text.find(" [");
  const bool is_long = text.size() > 60;
  return (is_long ? "<td class=\"long\">" : "<td>") + escaped(text.substr(0, at)) +
         (at == std::string::npos ? "" : "<small>" + escaped(text.substr(at + 1)) + "</small>") +
         "</td>";
}

std::string figure(const Picture& p) {
  return "<figure><img loading=\"lazy\" src=\"" + escaped(p.path) + "\" alt=\"" +
         escaped(p.caption) + "\"><figcaption>" + escaped(p.caption) + "</figcaption></figure>";
}

std::string section(const ResultTable& t) {
  std::string text = "<h2>" + escaped(t.title) + "</h2>";
  for (const std::string& sentence : t.verdicts)
    text += "<p class=\"verdict\">" + escaped(sentence) + "</p>";
  text += "<div class=\"table\"><table><thead><tr>";
  for (std::size_t i = 0; i < t.header.size(); ++i) {
    const auto under = t.under_header.find(i);
    text += "<th>" + escaped(t.header[i]) +
            (under == t.under_header.end() || under->second.empty()
                 ? ""
                 : "<small>" + escaped(under->second) + "</small>") +
            "</th>";
  }
  text += "</tr></thead><tbody>";
  for (const auto& row : t.rows) {
    text += "<tr>";
    for (const std::string& words : row) text += cell(words);
    text += "</tr>";
  }
  text += "</tbody></table></div>";
  for (const std::string& note : t.notes) text += "<p>" + escaped(note) + "</p>";
  for (const Picture& p : t.pictures)
    text += p.folded ? "<details><summary>" + escaped(p.caption) +
                           ": ROC, calibration, decision curve, thresholds</summary>" + figure(p) +
                           "</details>"
                     : figure(p);
  return text;
}

}  // namespace

std::string to_html(const std::vector<ResultTable>& tables, const std::string& title) {
  std::string text =
      "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width\"><title>" +
      escaped(title) + "</title><style>" + kStyle + "</style></head><body><h1>" + escaped(title) +
      "</h1>";
  for (const ResultTable& t : tables) text += section(t);
  return text + "</body></html>\n";
}

}  // namespace wsp::train

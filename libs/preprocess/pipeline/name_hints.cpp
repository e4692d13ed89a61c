#include "preprocess/pipeline/name_hints.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>
#include <functional>
#include <set>
#ifdef WSP_HAS_UTF8PROC
#include <utf8proc.h>
#endif

namespace wsp {
namespace {

std::string without_zeros(const std::string& text) {
  std::string kept;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto digit = [&](std::size_t k) {
      return k < text.size() && std::isdigit(static_cast<unsigned char>(text[k])) != 0;
    };
    if (text[i] == '0' && digit(i + 1) &&
        (i == 0 || !digit(i - 1) || kept.empty() ||
         std::isdigit(static_cast<unsigned char>(kept.back())) == 0))
      continue;
    kept += text[i];
  }
  return kept;
}

std::string without_spaces(const std::string& text) {
  std::string kept;
  for (const char c : text)
    if (c != ' ' && c != '_' && c != '-') kept += c;
  return kept;
}

#ifdef WSP_HAS_UTF8PROC
std::string mapped(const std::string& text, int options) {
  utf8proc_uint8_t* result = nullptr;
  const auto length = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                   static_cast<utf8proc_ssize_t>(text.size()), &result,
                                   static_cast<utf8proc_option_t>(options));
  std::string made = text;
  if (length >= 0)
    made.assign(reinterpret_cast<const char*>(result), static_cast<std::size_t>(length));
  std::free(result);  // utf8proc allocates with malloc
  return made;
}
std::string composed(const std::string& text) {
  return mapped(text, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
}
std::string without_case(const std::string& text) {
  return mapped(text, UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_CASEFOLD);
}
#else
std::string composed(const std::string& text) { return text; }
std::string without_case(const std::string& text) {
  std::string folded;
  for (const char c : text)
    folded += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return folded;
}
#endif

}  // namespace

std::string list_of_numbers(const std::vector<std::size_t>& numbers) {
  constexpr std::size_t kMost = 20;
  std::string text;
  for (std::size_t i = 0; i < std::min(kMost, numbers.size()); ++i)
    text += (i == 0 ? "" : ", ") + std::to_string(numbers[i]);
  return numbers.size() > kMost ? text + ", ..." : text;
}

std::vector<std::string> near_matches(
    const std::vector<std::pair<std::size_t, std::string>>& unmatched,
    const std::vector<std::string>& known, const std::string& what) {
  struct Difference {
    std::string words;
    std::function<std::string(const std::string&)> without;
  };
  const std::array<Difference, 5> differences{{
      {"accented letters were written in the same Unicode form (NFC or NFD)", composed},
      {"leading zeros were the same", without_zeros},
      {"upper and lower case were the same", without_case},
      {"spaces, hyphens and underscores were the same", without_spaces},
      {"leading zeros, case, spaces and Unicode form were the same",
       [](const std::string& text) { return without_zeros(without_spaces(without_case(text))); }},
  }};
  std::vector<std::string> hints;
  std::set<std::size_t> told;
  const std::set<std::string> exact(known.begin(), known.end());
  for (const auto& [number, name] : unmatched)
    if (exact.contains(name)) told.insert(number);  // equal, and yet of no use: no hint for that
  for (const Difference& difference : differences) {
    std::set<std::string> alike;
    for (const std::string& name : known) alike.insert(difference.without(name));
    std::vector<std::size_t> numbers;
    for (const auto& [number, name] : unmatched)
      if (alike.contains(difference.without(name)) && told.insert(number).second)
        numbers.push_back(number);
    if (numbers.empty()) continue;
    const bool one = numbers.size() == 1;
    hints.push_back((what.empty() ? (one ? "row " : "rows ") + list_of_numbers(numbers)
                                  : std::to_string(numbers.size()) + " of the " + what) +
                    " would match a case if " + difference.words);
  }
  return hints;
}

}  // namespace wsp

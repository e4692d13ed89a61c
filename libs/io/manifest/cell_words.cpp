#include "io/manifest/cell_words.hpp"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <set>
#include <vector>

namespace wsp::cell {

std::string lower(const std::string& text) {
  std::string word;
  for (const char c : text) word += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return word;
}

bool means_unknown(const std::string& cell) {
  static const std::set<std::string> words{"",
                                           "na",
                                           "n/a",
                                           "n.a.",
                                           "nan",
                                           "null",
                                           "nil",
                                           "?",
                                           "-",
                                           "--",
                                           ".",
                                           "unk",
                                           "unknown",
                                           "missing",
                                           "not available",
                                           "k.a.",
                                           "unbekannt",
                                           "fehlt",
                                           "not assessed",
                                           "n.d.",
                                           "nd",
                                           "inconnu"};
  return words.contains(lower(cell));
}

std::optional<int> whole_number(std::string_view text) {
  if (text.ends_with(".0")) text.remove_suffix(2);
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

bool is_number(const std::string& cell) { return whole_number(cell).has_value(); }

bool is_measurement(const std::string& cell) {
  if (whole_number(cell)) return false;
  std::string text = cell;
  std::replace(text.begin(), text.end(), ',', '.');
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

bool is_any_number(const std::string& cell) { return is_number(cell) || is_measurement(cell); }

std::optional<int> known_class(const std::string& cell) {
  static const std::vector<std::vector<std::string>> scales{{"no", "yes"},
                                                            {"n", "y"},
                                                            {"nein", "ja"},
                                                            {"non", "oui"},
                                                            {"false", "true"},
                                                            {"negative", "positive"},
                                                            {"neg", "pos"},
                                                            {"absent", "present"},
                                                            {"healthy", "cirrhotic"},
                                                            {"normal", "abnormal"},
                                                            {"benign", "malignant"},
                                                            {"none", "mild", "moderate", "severe"},
                                                            {"keine", "leicht", "mittel", "schwer"},
                                                            {"low", "medium", "high"},
                                                            {"low", "intermediate", "high"}};
  const std::string word = lower(cell);
  for (const auto& scale : scales)
    if (const auto at = std::find(scale.begin(), scale.end(), word); at != scale.end())
      return static_cast<int>(at - scale.begin());
  // A letter or a word and a small number: F3, G2, S0, stage 4, Grade 1, Ishak 6.
  std::size_t digits = word.size();
  while (digits > 0 && std::isdigit(static_cast<unsigned char>(word[digits - 1])) != 0) --digits;
  std::string head = word.substr(0, digits);
  while (!head.empty() && std::isalpha(static_cast<unsigned char>(head.back())) == 0)
    head.pop_back();
  static const std::set<std::string> heads{"f",     "g",     "s",     "stage",   "grade",   "grad",
                                           "ishak", "score", "class", "metavir", "stadium", "a"};
  if (digits < word.size() && heads.contains(head))
    if (const auto number = whole_number(word.substr(digits)); number && *number < 20)
      return number;
  return std::nullopt;
}

bool is_known(const std::string& cell) { return known_class(cell).has_value(); }

bool is_uid(const std::string& cell) {
  return std::count(cell.begin(), cell.end(), '.') >= 3 &&
         cell.find_first_not_of("0123456789.") == std::string::npos;
}

bool is_file(const std::string& cell) {
  const std::string word = lower(cell);
  return word.find('/') != std::string::npos || word.ends_with(".gz") || word.ends_with(".nii") ||
         word.ends_with(".nrrd");
}

}  // namespace wsp::cell

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "io/medical/dicom_text.hpp"
#include "io/medical/series_group.hpp"

namespace wsp {

std::string_view to_string(Phase phase) {
  switch (phase) {
    case Phase::unenhanced:
      return "unenhanced";
    case Phase::arterial:
      return "arterial";
    case Phase::portal:
      return "portal";
    case Phase::delayed:
      return "delayed";
    case Phase::unknown:
      break;
  }
  return "unknown";
}

namespace dicom {
namespace {

/// Words of a text: runs of letters or of digits; bytes above 127 (UTF-8) count as letters.
std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  int last = 0;  // 0 separator, 1 letter, 2 digit
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const int now = byte >= 0x80 || std::isalpha(byte) != 0 ? 1 : std::isdigit(byte) != 0 ? 2 : 0;
    if (now != 0 && now != last) words.emplace_back();
    if (now != 0) words.back().push_back(c);
    last = now;
  }
  return words;
}

/// A word of a phase: the whole word, or with '*' at its end any word that begins so.
bool matches(const std::string& word, std::string_view pattern) {
  if (pattern.ends_with('*')) return word.starts_with(pattern.substr(0, pattern.size() - 1));
  return word == pattern;
}

struct PhaseWords {
  Phase phase;
  std::vector<std::string_view> patterns;
};

/// English, French, German, Italian, Spanish and Dutch, upper case.
const std::vector<PhaseWords>& phase_words() {
  static const std::vector<PhaseWords> kWords{
      {Phase::portal,
       {"PORTAL*", "PORTO*", "PORT", "PV", "PVP", "VEN", "VENOUS*", "VENOSA", "VENOSO", "VENEU*",
        "VEINEU*", "VEN\xC3\x96S*", "VEN\xC3\xB6S*", "VENOES*", "VENEUZE"}},
      {Phase::arterial, {"ART", "ARTER*", "ANGIO*", "HAP", "CTA"}},
      {Phase::delayed,
       {"DELAY*", "DEL", "LATE", "TARD*", "EQUILIB*", "EXCRET*", "SPAET*", "SP\xC3\x84T*",
        "SP\xC3\xA4T*"}},
      {Phase::unenhanced,
       {"NATIVE", "NATIV", "PLAIN", "UNENHANCED", "NONCONTRAST", "NON", "WITHOUT", "SANS", "OHNE",
        "SENZA", "SIN", "BLANCO", "BASALE", "NC", "NECT", "WO", "PRE"}}};
  return kWords;
}

/// The one phase that the words name; unknown when none or several do.
Phase phase_from_words(const std::vector<std::string>& words) {
  Phase found = Phase::unknown;
  for (const PhaseWords& entry : phase_words()) {
    const bool named = std::any_of(words.begin(), words.end(), [&](const std::string& word) {
      return std::any_of(entry.patterns.begin(), entry.patterns.end(),
                         [&](std::string_view pattern) { return matches(word, pattern); });
    });
    if (!named) continue;
    if (found != Phase::unknown) return Phase::unknown;
    found = entry.phase;
  }
  return found;
}

/// Phase by seconds since the injection began, for the abdomen.
Phase phase_from_delay(double seconds) {
  if (seconds >= 10 && seconds < 48) return Phase::arterial;
  if (seconds >= 50 && seconds <= 90) return Phase::portal;
  if (seconds > 110 && seconds < 1800) return Phase::delayed;
  return Phase::unknown;
}

/// A delay written in the series' name: "70 S", "70SEC".
Phase phase_from_named_delay(const std::vector<std::string>& words) {
  for (std::size_t i = 0; i + 1 < words.size(); ++i) {
    const bool number =
        std::isdigit(static_cast<unsigned char>(words[i][0])) != 0 && words[i].size() <= 3;
    const bool unit = words[i + 1] == "S" || words[i + 1] == "SEC" || words[i + 1] == "SECS" ||
                      words[i + 1] == "SEK";
    if (number && unit) return phase_from_delay(std::atof(words[i].c_str()));
  }
  return Phase::unknown;
}

/// The maker of a scanner out of a closed list: free text may hold anything.
std::string classify_scanner(const std::string& manufacturer) {
  if (manufacturer.empty()) return "unknown";
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 12> kMakers{
      {{"GE", "GE"},
       {"SIEMENS", "Siemens"},
       {"PHILIPS", "Philips"},
       {"MARCONI", "Philips"},
       {"PICKER", "Philips"},
       {"TOSHIBA", "Canon"},
       {"CANON", "Canon"},
       {"HITACHI", "Fujifilm"},
       {"FUJIFILM", "Fujifilm"},
       {"UIH", "United Imaging"},
       {"UNITED", "United Imaging"},
       {"NEUSOFT", "Neusoft"}}};
  for (const std::string& word : words_of(manufacturer))
    for (const auto& [name, maker] : kMakers)
      if (word == name) return std::string(maker);
  return "other";
}

/// soft, sharp or unknown from a convolution kernel of the large makers.
std::string classify_kernel(const std::string& kernel) {
  if (kernel.empty()) return "unknown";
  const std::vector<std::string> words = words_of(kernel);
  static const std::array<std::string_view, 8> kSharp{"LUNG",  "BONE",  "BONEPLUS", "EDGE",
                                                      "ULTRA", "SHARP", "DETAIL",   "YC"};
  static const std::array<std::string_view, 8> kSoft{"STANDARD", "STD", "SOFT", "SMOOTH",
                                                     "BODY",     "UA",  "UB",   "B"};
  const auto holds = [&](const auto& list) {
    return std::any_of(words.begin(), words.end(), [&](const std::string& w) {
      return std::find(list.begin(), list.end(), w) != list.end();
    });
  };
  // A letter and a number: Siemens B30f, Br40, I31; Canon FC08, FC52.
  if (words.size() >= 2 && std::isdigit(static_cast<unsigned char>(words[1][0])) != 0) {
    const int number = std::atoi(words[1].substr(0, 3).c_str());
    if (words[0] == "FC") return number < 30 ? "soft" : "sharp";
    if (words[0][0] == 'B' || words[0][0] == 'I' || words[0][0] == 'Q')
      return number < 50 ? "soft" : "sharp";
  }
  if (holds(kSharp)) return "sharp";
  if (holds(kSoft) || words[0] == "A" || words[0] == "C") return "soft";
  if (words.size() == 1 &&
      (words[0] == "D" || words[0] == "E" || words[0] == "L" || words[0] == "F"))
    return "sharp";
  return "unknown";
}

std::string rounded(double value, int digits = 0) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.*f", digits, value);
  return text.data();
}

double phase_points(Phase phase) {
  switch (phase) {
    case Phase::portal:
      return 30;
    case Phase::delayed:
      return -5;
    case Phase::arterial:
      return -10;
    case Phase::unenhanced:
      return -15;
    case Phase::unknown:
      break;
  }
  return 0;
}

double spacing_points(double mm) {
  if (mm <= 0) return 0;
  if (mm < 1) return 10;  // thin is noisy
  if (mm <= 3) return 15;
  if (mm <= 5) return 12;
  return mm <= 8 ? 3 : -10;
}

}  // namespace

void score_series(Series& series, const ScoreInput& input, const ScanOptions& options) {
  series.reasons.clear();
  series.score = 0;
  const auto add = [&](const std::string& criterion, double points, std::string why) {
    const auto weight = options.score_weights.find(criterion);
    const double weighted = points * (weight == options.score_weights.end() ? 1.0 : weight->second);
    series.score += weighted;
    series.reasons.push_back({criterion, weighted, std::move(why)});
  };

  const double range = series.planes.empty() ? 0
                                             : series.planes.back().z_mm -
                                                   series.planes.front().z_mm + series.spacing_mm;
  add("coverage", 40 * std::clamp(range / 250, 0.0, 1.0), rounded(range) + " mm");
  add("thickness", spacing_points(series.spacing_mm),
      "spacing " + rounded(series.spacing_mm, 2) + " mm");

  series.scanner = classify_scanner(input.manufacturer);
  series.kernel_class = classify_kernel(input.kernel);
  add("kernel",
      series.kernel_class == "soft"    ? 10
      : series.kernel_class == "sharp" ? -10
                                       : 0,
      series.kernel_class);

  const std::vector<std::string> values = split_values(input.image_type);
  const auto value_is = [&](std::size_t i, std::string_view word) {
    return values.size() > i && values[i] == word;
  };
  const int original = (value_is(0, "ORIGINAL") ? 1 : 0) + (value_is(1, "PRIMARY") ? 1 : 0) +
                       (value_is(2, "AXIAL") ? 1 : 0);
  add("image_type", 10.0 * original / 3, std::to_string(original) + " of original, primary, axial");

  const std::vector<std::string> words =
      words_of(input.description + " " + input.phase + " " + input.image_type);
  std::string how = "header words";
  series.phase = phase_from_words(words);
  if (series.phase == Phase::unknown) {
    series.phase = phase_from_named_delay(words);
    how = "delay in header words";
  }
  if (series.phase == Phase::unknown && input.acquisition_seconds && input.bolus_seconds) {
    const double delay = *input.acquisition_seconds - *input.bolus_seconds;
    series.phase = phase_from_delay(delay);
    how = "delay " + rounded(delay) + " s";
  }
  if (series.phase == Phase::unknown) how = "nothing in the header";
  series.contrast = !input.contrast_agent.empty() || input.bolus_seconds.has_value() ||
                    (series.phase != Phase::unknown && series.phase != Phase::unenhanced);
  add("phase", phase_points(series.phase), std::string(to_string(series.phase)) + " from " + how);
  add("contrast", series.contrast ? 5 : 0, series.contrast ? "given" : "not stated");

  if (series.lossy) add("lossy", -10, "lossy compression");
  if (!series.missing_after.empty()) {
    add("gaps", -5 * std::min(4.0, static_cast<double>(series.missing_after.size())),
        std::to_string(series.missing_after.size()) + " gaps");
  }
  if (series.irregular) add("irregular", -5, "uneven spacing");
  if (is_tilted(series)) add("tilt", -10, rounded(series.tilt_deg, 1) + " degrees");
}

}  // namespace dicom
}  // namespace wsp

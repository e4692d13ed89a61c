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
      {Phase::arterial,
       {"ART", "ARTER*", "ART\xC3\x89R*", "ART\xC3\xA9R*", "ANGIO*", "HAP", "CTA"}},
      {Phase::delayed,
       {"DELAY*", "DEL", "LATE", "TARD*", "EQUILIB*", "EXCRET*", "SPAET*", "SP\xC3\x84T*",
        "SP\xC3\xA4T*"}},
      {Phase::unenhanced,
       {"NATIVE", "NATIV", "PLAIN", "UNENHANCED", "NONCONTRAST", "NON", "WITHOUT", "SANS", "OHNE",
        "SENZA", "SIN", "BLANCO", "BASALE", "NC", "NECT", "NCCT", "WO", "PRE"}}};
  return kWords;
}

bool is_any(const std::string& word, std::initializer_list<std::string_view> patterns) {
  return std::any_of(patterns.begin(), patterns.end(),
                     [&](std::string_view pattern) { return matches(word, pattern); });
}

bool is_digits(const std::string& word) {
  return std::isdigit(static_cast<unsigned char>(word[0])) != 0;
}

/// What comes before or after it is no contrast agent.
bool is_intervention(const std::string& word) {
  return is_any(word,
                {"OP*",      "TACE",   "TX",     "TRANSPL*", "RFA",   "MWA",  "ABL*",  "SURG*",
                 "CHEMO*",   "TREAT*", "THERA*", "STENT*",   "BIOP*", "BX",   "PROC*", "INTERV*",
                 "MONITOR*", "TAVI",   "TAVR",   "EVAR",     "RT",    "SIRT", "TIPS"});
}

/// The phase that word `i` names where it stands; unknown for words that only look so: "SIN" and
/// "NON" before anything but contrast, "PRE" before an operation, the Spanish "DEL", and a late or
/// early arterial or portal phase, which the word beside it names.
Phase phase_of_word(const std::vector<std::string>& words, std::size_t i) {
  const std::string& word = words[i];
  const std::string next = i + 1 < words.size() ? words[i + 1] : "";
  const auto named = [](const std::string& text) {
    for (const PhaseWords& entry : phase_words())
      for (const std::string_view pattern : entry.patterns)
        if (matches(text, pattern)) return entry.phase;
    return Phase::unknown;
  };
  const auto early_or_portal = [&](const std::string& text) {
    const Phase phase = text.empty() ? Phase::unknown : named(text);
    return phase == Phase::arterial || phase == Phase::portal;
  };
  const Phase phase = named(word);
  if (phase == Phase::delayed) {
    // "SP\xC3\x84TARTERIELL"
    if (word.find("ARTERI") != std::string::npos) return Phase::arterial;
    if (word.find("PORTAL") != std::string::npos) return Phase::portal;
    if (is_any(word, {"LATE", "TARD*", "SPAET*", "SP\xC3\x84T*", "SP\xC3\xA4T*"}) &&
        early_or_portal(next))
      return Phase::unknown;
    // French, Italian and Spanish put it behind.
    if (is_any(word, {"TARD*"}) && i > 0 && early_or_portal(words[i - 1])) return Phase::unknown;
    if (word == "DEL" && !next.empty() && !is_digits(next) && !is_any(next, {"PHASE", "MIN"}))
      return Phase::unknown;
  }
  if (phase == Phase::unenhanced) {
    const bool contrast = is_any(
        next, {"CONTR*", "CONTRAST*", "CONTRASTE", "CON",   "CONT", "KONTR*", "ENH*", "INJ*", "IV",
               "I",      "C",         "CE",        "EC",    "CM",   "KM",     "MDC",  "M",    "MC",
               "PDC",    "PRODUIT",   "MEDIO",     "MEZZO", "CIV",  "INIEZ*", "INY*"});
    if (word == "SIN" && !contrast) return Phase::unknown;
    if (is_any(word, {"NON", "WITHOUT", "SANS", "OHNE", "SENZA", "WO"}) && !next.empty() &&
        !contrast)
      return Phase::unknown;
    if (word == "PRE" && is_intervention(next)) return Phase::unknown;
  }
  return phase;
}

/// Phase by seconds since the injection began, for the abdomen.
Phase phase_from_delay(double seconds) {
  if (seconds >= 10 && seconds < 48) return Phase::arterial;
  if (seconds >= 50 && seconds <= 90) return Phase::portal;
  if (seconds > 110 && seconds < 1800) return Phase::delayed;
  return Phase::unknown;
}

/// A delay written in a text, "70 S", "70SEC", "DELAY 5 MIN", in seconds: the number stands apart
/// from letters and points ("B31S" is a kernel, "0.35S" a rotation) and its unit ends there.
struct NamedDelay {
  double seconds = 0;
  std::size_t word = 0;  ///< of the number
};
std::vector<NamedDelay> named_delays(const std::string& text) {
  std::vector<NamedDelay> delays;
  std::size_t word = 0;
  char last = ' ';
  for (std::size_t i = 0; i < text.size();) {
    const auto kind = [&](std::size_t k) {
      const auto byte = static_cast<unsigned char>(k < text.size() ? text[k] : ' ');
      return byte >= 0x80 || std::isalpha(byte) != 0 ? 1 : std::isdigit(byte) != 0 ? 2 : 0;
    };
    const int now = kind(i);
    std::size_t end = i;
    while (end < text.size() && kind(end) == now) ++end;
    if (now == 2 && end - i <= 3 && last != '.' && last != ',' && (i == 0 || kind(i - 1) == 0)) {
      std::size_t unit = end;
      while (unit < text.size() && text[unit] == ' ') ++unit;
      std::size_t unit_end = unit;
      while (kind(unit_end) == 1) ++unit_end;
      const std::string name = text.substr(unit, unit_end - unit);
      const double number = std::atof(text.substr(i, end - i).c_str());
      if (kind(unit_end) != 2 && is_any(name, {"S", "SEC", "SECS", "SECOND*", "SEK", "SEKUNDEN"}))
        delays.push_back({number, word});
      if (kind(unit_end) != 2 && is_any(name, {"MIN", "MINS", "MINUTE*", "MN"}))
        delays.push_back({60 * number, word});
    }
    if (now != 0) ++word;
    last = text[end - 1];
    i = end;
  }
  return delays;
}

struct Named {
  Phase phase = Phase::unknown;
  bool several = false;  ///< more phases than one: the text tells none
  bool by_delay = false;
};

/// The one phase that a text (upper case) names by its words, else by a delay in it.
Named phase_in_text(const std::string& text) {
  Named found;
  const auto name = [&](Phase phase) {
    if (phase == Phase::unknown) return;
    found.several = found.several || (found.phase != Phase::unknown && found.phase != phase);
    found.phase = phase;
  };
  const std::vector<NamedDelay> delays = named_delays(text);
  std::vector<std::string> words = words_of(text);
  // "W/O" is one word; "WITH AND WITHOUT" names two phases.
  bool with = false;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i] == "W" && i + 1 < words.size() && words[i + 1] == "O") words[i] = "WO";
  }
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i] == "WO" && i + 1 < words.size() && words[i + 1] == "O") words[i + 1] = "CON";
    with = with || is_any(words[i], {"W", "WITH", "AVEC", "MIT"}) ||
           (words[i] == "POST" && (i + 1 == words.size() || !is_intervention(words[i + 1])));
  }
  for (std::size_t i = 0; i < words.size(); ++i) {
    // "DELAY 35 S" is how long was waited.
    const bool waited = is_any(words[i], {"DELAY*", "DEL"}) &&
                        std::any_of(delays.begin(), delays.end(), [&](const NamedDelay& delay) {
                          const Phase phase = phase_from_delay(delay.seconds);
                          return (delay.word == i + 1 || delay.word + 2 == i) &&
                                 (phase == Phase::arterial || phase == Phase::portal);
                        });
    if (!waited) name(phase_of_word(words, i));
  }
  if (found.phase == Phase::unenhanced && with) found.several = true;
  if (found.phase == Phase::unknown) {
    for (const NamedDelay& delay : delays) name(phase_from_delay(delay.seconds));
    found.by_delay = found.phase != Phase::unknown;
  }
  if (found.several) found.phase = Phase::unknown;
  return found;
}

std::string rounded(double value, int digits = 0) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.*f", digits, value);
  return text.data();
}

/// What a series says of its phase, the most telling source first: its own description, what was
/// measured when it was acquired, then the protocol and comments, which may speak of the whole
/// examination. `how` names the source.
Phase find_phase(const ScoreInput& input, std::string& how) {
  std::string several;
  const auto read = [&](const std::string& text, const std::string& source) {
    const Named named = phase_in_text(text);
    if (named.several && several.empty()) several = source;
    if (named.phase != Phase::unknown) how = (named.by_delay ? "a delay in the " : "the ") + source;
    return named.phase;
  };
  if (const Phase p = read(input.description, "series description"); p != Phase::unknown) return p;
  if (const Phase p = read(input.phase, "contrast phase attribute"); p != Phase::unknown) return p;
  if (input.acquisition_seconds && input.bolus_seconds) {
    double delay = *input.acquisition_seconds - *input.bolus_seconds;
    if (delay < -43200) delay += 86400;  // over midnight
    how = "the delay of " + rounded(delay) + " s after the bolus";
    if (const Phase p = phase_from_delay(delay); p != Phase::unknown) return p;
  }
  if (const Phase p = read(input.protocol, "protocol name"); p != Phase::unknown) return p;
  if (const Phase p = read(input.comments, "image comments"); p != Phase::unknown) return p;
  if (const Phase p = read(input.image_type, "image type"); p != Phase::unknown) return p;
  how = several.empty() ? "nothing in the header" : "several phases in the " + several;
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
  const std::vector<std::string> words = words_of(kernel);
  if (words.empty()) return "unknown";
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

  std::string how;
  series.phase = find_phase(input, how);
  series.contrast = !input.contrast_agent.empty() || input.bolus_seconds.has_value() ||
                    (series.phase != Phase::unknown && series.phase != Phase::unenhanced);
  add("phase", phase_points(series.phase), std::string(to_string(series.phase)) + " from " + how);
  add("contrast", series.contrast ? 5 : 0, series.contrast ? "given" : "not stated");

  if (std::find(series.flags.begin(), series.flags.end(), Code::MONOENERGETIC) !=
      series.flags.end())
    add("monoenergetic", -8, "HU of one photon energy");
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

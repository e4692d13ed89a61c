#include "io/medical/image_kind.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <set>
#include <string_view>
#include <vector>

#include "io/medical/dicom_text.hpp"

namespace wsp::dicom {
namespace {

/// True where `pattern`, words apart by blanks, stands in `words`.
bool holds_phrase(const std::vector<std::string>& words, std::string_view pattern) {
  const std::vector<std::string> wanted = words_of(pattern);
  return std::search(words.begin(), words.end(), wanted.begin(), wanted.end()) != words.end();
}

struct MapName {
  std::string_view phrase, meaning;
};

constexpr std::string_view kAtomicNumber = "effective atomic number map";
constexpr std::string_view kDensity = "electron density map";
constexpr std::string_view kMaterial = "material map";
constexpr std::string_view kVirtual = "virtual non-contrast image";

/// Said by a series description as well as by ImageType.
constexpr std::array<MapName, 35> kMapPhrases{{{"ZEFF", kAtomicNumber},
                                               {"Z EFF", kAtomicNumber},
                                               {"EFF Z", kAtomicNumber},
                                               {"EFFECTIVE Z", kAtomicNumber},
                                               {"Z EFFECTIVE", kAtomicNumber},
                                               {"RHO Z", kAtomicNumber},
                                               {"EFF ATOMIC NUM", kAtomicNumber},
                                               {"EFFECTIVE ATOMIC NUMBER", kAtomicNumber},
                                               {"ATOMIC NUMBER", kAtomicNumber},
                                               {"ELECTRON DENSITY", kDensity},
                                               {"ELECTRONDENSITY", kDensity},
                                               {"E DENSITY", kDensity},
                                               {"IODINE MAP", kMaterial},
                                               {"IODINE DENSITY", kMaterial},
                                               {"IODINE CONCENTRATION", kMaterial},
                                               {"IODINE OVERLAY", kMaterial},
                                               {"IODINE NO WATER", kMaterial},
                                               {"IODINE WATER", kMaterial},
                                               {"WATER IODINE", kMaterial},
                                               {"MD IODINE", kMaterial},
                                               {"MD WATER", kMaterial},
                                               {"MD FAT", kMaterial},
                                               {"MD HAP", kMaterial},
                                               {"FAT MAP", kMaterial},
                                               {"URIC ACID", kMaterial},
                                               {"CALCIUM SUPPRESSION", kMaterial},
                                               {"MAT SPECIFIC", kMaterial},
                                               {"MAT FRACTIONAL", kMaterial},
                                               {"MAT VALUE BASED", kMaterial},
                                               {"VNC", kVirtual},
                                               {"VIRTUAL NON CONTRAST", kVirtual},
                                               {"VIRTUAL NONCONTRAST", kVirtual},
                                               {"VIRTUAL NON ENHANCED", kVirtual},
                                               {"VIRTUAL UNENHANCED", kVirtual},
                                               {"VIRTUAL NATIVE", kVirtual}}};

/// Words that mean a map in ImageType, and may mean anything in a description.
constexpr std::array<MapName, 5> kMapTypes{{{"IODINE", kMaterial},
                                            {"RHO", kDensity},
                                            {"VUE", kVirtual},
                                            {"MAT REMOVED", kVirtual},
                                            {"MAT MODIFIED", kMaterial}}};

}  // namespace

bool is_localizer_type(const std::string& image_type) {
  return image_type.find("LOCALIZER") != std::string::npos ||
         image_type.find("SCOUT") != std::string::npos;
}

bool is_derived_type(const std::string& image_type) {
  // A first value DERIVED alone says little: lossy compression and anonymisers set it on axial
  // originals. So a word must say what was derived, or value 3 must say that it is not axial.
  static const std::set<std::string> kWords{
      "MIP",      "MINIP",       "MPR",     "REFORMATTED", "REFORMAT", "PROJECTION", "AVERAGE",
      "SUBTRACT", "SUBTRACTION", "VRT",     "VOLREN",      "RENDERED", "PERFUSION",  "RCBF",
      "IODINE",   "VNC",         "OVERLAY", "SCREEN",      "CURVED",   "CPR",        "SSD"};
  const std::vector<std::string> values = split_values(image_type);
  std::string word;
  for (const char c : image_type + " ") {
    if (std::string_view(" \\_-/").find(c) == std::string_view::npos) {
      word.push_back(c);
      continue;
    }
    if (kWords.contains(word)) return true;
    word.clear();
  }
  const bool derived = !values.empty() && values[0] == "DERIVED";
  return derived && values.size() > 2 && !values[2].empty() && values[2] != "AXIAL";
}

std::string derived_map(const std::string& image_type, const std::string& description) {
  const std::vector<std::string> type = words_of(image_type), said = words_of(description);
  for (const MapName& map : kMapPhrases)
    if (holds_phrase(type, map.phrase) || holds_phrase(said, map.phrase))
      return std::string(map.meaning);
  for (const MapName& map : kMapTypes)
    if (holds_phrase(type, map.phrase)) return std::string(map.meaning);
  return {};
}

bool is_monoenergetic(const std::string& image_type, const std::string& description) {
  for (const std::string* text : {&image_type, &description}) {
    const std::vector<std::string> words = words_of(*text);
    for (std::size_t i = 0; i < words.size(); ++i) {
      const std::string& word = words[i];
      if (word == "VMI" || word.starts_with("MONOENERG") || word == "MONOE") return true;
      // "GSI MONO", "MONO+ 70 KEV", "70 KEV"; tube voltages are given in kV.
      if (word == "MONO" && holds_phrase(words, "GSI")) return true;
      if (word == "KEV" && i > 0 && std::isdigit(static_cast<unsigned char>(words[i - 1][0])) != 0)
        return true;
    }
  }
  return false;
}

}  // namespace wsp::dicom

#include "preprocess/pipeline/subjects.hpp"

#include <algorithm>
#include <cctype>
#include <map>
#include <regex>

#include "io/core/hash.hpp"
#include "io/core/names.hpp"
#include "io/medical/image_file.hpp"

namespace wsp {
namespace {

// "a/b/c", "b/c", "c"
std::vector<std::string> ends_of(const std::string& path) {
  std::vector<std::string> ends{path};
  for (std::size_t slash = path.find('/'); slash != std::string::npos;
       slash = path.find('/', slash + 1))
    ends.push_back(path.substr(slash + 1));
  return ends;
}

Identity identity_of(const Series& series, const DataManifest& manifest) {
  std::vector<std::string> keys;
  if (series.is_dicom) {
    keys = {series.study_uid, series.patient_id};
  } else {
    for (const std::string& path : {series.relative_path, path_stem(series)})
      for (std::string& end : ends_of(path)) keys.push_back(std::move(end));
    std::stable_sort(keys.begin(), keys.end(),
                     [](const auto& a, const auto& b) { return a.size() > b.size(); });
  }
  for (const std::string& key : keys)
    if (const auto mapped = manifest.subject_map.find(key);
        !key.empty() && mapped != manifest.subject_map.end())
      return {mapped->second, true};
  if (!series.is_dicom) {
    std::smatch match;
    if (!manifest.subject_pattern.empty() &&
        std::regex_search(series.relative_path, match, std::regex(manifest.subject_pattern)) &&
        match.size() > 1)
      return {match[1].str(), true};
    return {path_stem(series), false};
  }
  if (is_placeholder_id(series.patient_id))
    return {series.study_uid.empty() || series.several_persons ? series.key : series.study_uid,
            false};
  return {series.issuer.empty() ? series.patient_id : series.issuer + "|" + series.patient_id,
          true};
}

// What is known of one who bears an identity.
struct Facts {
  std::set<std::string> sexes, dates;
  // A year alone agrees with each of its days.
  [[nodiscard]] bool conflict() const {
    if (sexes.size() > 1) return true;
    const std::string* before = nullptr;  // sorted: a prefix stands before what it begins
    for (const std::string& date : dates) {
      if (before != nullptr && !date.starts_with(*before)) return true;
      before = &date;
    }
    return false;
  }
};

}  // namespace

std::string path_stem(const Series& series) {
  if (series.is_dicom) return "";
  const std::filesystem::path path(series.relative_path);
  return (path.parent_path() / image_stem(path)).generic_string();
}

std::string normal_sex(std::string_view text) {
  static const std::set<std::string> female{"F", "W", "FEMALE", "WEIBLICH", "FRAU", "FEMME"};
  static const std::set<std::string> male{"M",         "MALE",     "MANN",    "HOMME",
                                          "MAENNLICH", "MÄNNLICH", "MäNNLICH"};
  std::string word;
  for (const char c : text)
    if (c != ' ' && c != '\0')
      word += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return female.contains(word) ? "F" : male.contains(word) ? "M" : "";
}

std::string normal_birth_date(std::string_view text) {
  std::vector<std::string> numbers(1);
  char separator = 0;
  for (const char c : text) {
    if (std::isdigit(static_cast<unsigned char>(c)) != 0) {
      numbers.back() += c;
    } else if (c == '-' || c == '.' || c == '/') {
      separator = c;
      numbers.emplace_back();
    } else if (c != ' ' && c != '\0') {
      return "";
    }
  }
  std::string date = numbers.front();
  if (numbers.size() == 3 && numbers[0].size() == 4)
    date = numbers[0] + (numbers[1].size() == 1 ? "0" : "") + numbers[1] +
           (numbers[2].size() == 1 ? "0" : "") + numbers[2];
  else if (numbers.size() == 3 && numbers[2].size() == 4)  // with '/' day and month may be either
    date = numbers[2] + (separator != '.' ? ""
                                          : (numbers[1].size() == 1 ? "0" : "") + numbers[1] +
                                                (numbers[0].size() == 1 ? "0" : "") + numbers[0]);
  else if (numbers.size() != 1)
    return "";
  if (date.size() != 8 && date.size() != 6 && date.size() != 4) return "";
  const std::string year = date.substr(0, 4);
  return year <= "1850" || year >= "2100" || date == "19000101" ? "" : date;
}

Subjects tell_subjects_apart(const Scan& scan, const DataManifest& manifest) {
  Subjects subjects;
  std::map<std::string, Facts> facts;
  for (const Series& series : scan.series) {
    subjects.of.push_back(identity_of(series, manifest));
    Facts& known = facts[subjects.of.back().text];
    if (std::string sex = normal_sex(series.patient_sex); !sex.empty())
      known.sexes.insert(std::move(sex));
    if (std::string date = normal_birth_date(series.patient_birth_date); !date.empty())
      known.dates.insert(std::move(date));
  }
  for (std::size_t s = 0; s < scan.series.size(); ++s) {
    Identity& who = subjects.of[s];
    if (!facts[who.text].conflict()) continue;
    if (who.verified) {
      subjects.conflicts.insert(who.text);
      continue;
    }
    // Without an ID these are several persons of one study.
    const std::string sex = normal_sex(scan.series[s].patient_sex);
    const std::string date = normal_birth_date(scan.series[s].patient_birth_date);
    const Facts& all = facts[who.text];
    const bool says =
        (all.sexes.size() < 2 || !sex.empty()) && (all.dates.size() < 2 || date.size() == 8);
    who.text += "#" + hex(sha256(sex + "|" + date)).substr(0, 16);
    if (!says) subjects.conflicts.insert(who.text);  // it may be any of them
  }
  return subjects;
}

}  // namespace wsp

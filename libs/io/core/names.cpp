#include "io/core/names.hpp"

#include <algorithm>
#include <cctype>
#include <set>

namespace wsp {
namespace {

bool is_alnum(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || static_cast<unsigned char>(c) >= 0x80;
}

char lower(char c) { return static_cast<char>(std::tolower(static_cast<unsigned char>(c))); }

std::vector<std::string> owners(const std::vector<std::string>& folders) {
  std::vector<std::string> found;
  for (const std::string& folder : folders)
    if (std::string owner = folder_owner(folder); !owner.empty()) found.push_back(std::move(owner));
  return found;
}

}  // namespace

std::string folder_owner(const std::string& folder) {
  static const std::set<std::string, std::less<>> kinds{
      "image", "images", "img",     "imgs",          "label",       "labels",      "lbl",
      "mask",  "masks",  "seg",     "segs",          "liver",       "livers",      "ct",
      "cts",   "volume", "volumes", "vol",           "vols",        "scan",        "scans",
      "nifti", "nii",    "nrrd",    "dicom",         "dcm",         "data",        "gt",
      "truth", "export", "dataset", "segmentation",  "annotations", "annotation",  "input",
      "in",    "output", "out",     "segmentations", "prediction",  "predictions", "pred",
      "preds", "result", "results"};
  std::string owner;
  for (std::size_t i = 0; i < folder.size();) {
    if (!is_alnum(folder[i])) {
      ++i;
      continue;
    }
    std::string word;
    for (; i < folder.size() && is_alnum(folder[i]); ++i) word += lower(folder[i]);
    if (kinds.contains(word)) continue;
    // nnU-Net and the Decathlon: imagesTr goes with labelsTr, never with labelsTs.
    if (word.size() > 2 && kinds.contains(std::string_view(word).substr(0, word.size() - 2)))
      for (const char* part : {"tr", "ts", "va"})
        if (word.ends_with(part)) word = part;
    owner += (owner.empty() ? "" : " ") + word;
  }
  return owner;
}

PathName path_name(std::string_view path) {
  PathName name;
  for (std::size_t begin = 0; begin <= path.size();) {
    const std::size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view part = path.substr(begin, end - begin);
    begin = end + 1;
    if (begin > path.size())
      name.stem = part;
    else if (!part.empty() && part != ".")
      name.folders.emplace_back(part);
  }
  return name;
}

std::string to_string(const PathName& name) {
  std::string text;
  for (const std::string& folder : name.folders) text += folder + "/";
  return text + name.stem;
}

std::vector<PathName> volume_names(const PathName& volume) {
  std::vector<PathName> names{volume};
  constexpr std::string_view kChannel = "_0000";
  if (const std::string& stem = volume.stem;
      stem.size() > kChannel.size() && stem.ends_with(kChannel))
    names.push_back({volume.folders, stem.substr(0, stem.size() - kChannel.size())});
  return names;
}

int folder_agreement(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  constexpr int kSame = 2 * kSameOwners;
  if (a == b) return kSame;
  const std::vector<std::string> left = owners(a), right = owners(b);
  if (left == right) return kSameOwners;
  const auto& small = left.size() < right.size() ? left : right;
  const auto& large = left.size() < right.size() ? right : left;
  const bool inside =
      std::search(large.begin(), large.end(), small.begin(), small.end()) != large.end();
  return inside || small.empty() ? 1 + static_cast<int>(std::min<std::size_t>(small.size(), 100))
                                 : 0;
}

int folder_proof(const std::vector<std::string>& claimed, const std::vector<std::string>& own) {
  return owners(claimed).size() > owners(own).size() ? 0 : folder_agreement(claimed, own);
}

bool is_placeholder_id(std::string_view id) {
  static const std::set<std::string, std::less<>> words{"",
                                                        "0",
                                                        "ANON",
                                                        "ANONYM",
                                                        "ANONYME",
                                                        "ANONYMOUS",
                                                        "ANONYMISE",
                                                        "ANONYMISED",
                                                        "ANONYMIZE",
                                                        "ANONYMIZED",
                                                        "ANONYMISIERT",
                                                        "ANONYMIZADO",
                                                        "DEFAULT",
                                                        "DEIDENTIFIED",
                                                        "DUMMY",
                                                        "EMPTY",
                                                        "ID",
                                                        "MISSING",
                                                        "NA",
                                                        "NAN",
                                                        "NIL",
                                                        "NOID",
                                                        "NONAME",
                                                        "NONE",
                                                        "NOTKNOWN",
                                                        "NULL",
                                                        "PAT",
                                                        "PATIENT",
                                                        "PATIENTID",
                                                        "PATIENTNAME",
                                                        "REDACTED",
                                                        "REMOVED",
                                                        "SUBJECT",
                                                        "TEST",
                                                        "TESTPATIENT",
                                                        "UNBEKANNT",
                                                        "UNDEFINED",
                                                        "UNK",
                                                        "UNKNOWN",
                                                        "UNNAMED",
                                                        "X"};
  std::string word;
  for (const char c : id)
    if (is_alnum(c)) word += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  const bool one_letter =
      std::all_of(word.begin(), word.end(), [&](char c) { return c == word[0]; });
  if (one_letter && !word.empty() && (word[0] == '0' || word[0] == 'X')) return true;
  return words.contains(word);
}

}  // namespace wsp

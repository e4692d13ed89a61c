#include "io/medical/dicom_mask.hpp"

#include <algorithm>
#include <cmath>
#include <set>

#include "io/medical/dicom_load.hpp"

namespace wsp {
namespace dicom {
namespace {

bool is_word_character(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || static_cast<unsigned char>(c) >= 0x80;
}

bool holds_word(const std::string& text, const std::string& word) {
  if (word.empty()) return false;
  for (std::size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) {
    const std::size_t end = at + word.size();
    if ((at == 0 || !is_word_character(text[at - 1])) &&
        (end == text.size() || !is_word_character(text[end])))
      return true;
  }
  return false;
}

// Names such as "liver tumor" hold the word and are not the organ.
bool names_a_part(const std::string& text, const std::string& wanted) {
  for (const char* word :
       {"TUMOR", "TUMORS", "TUMOUR",     "TUMOURS",    "LESION", "LESIONS", "CYST",  "CYSTS", "HCC",
        "METS",  "MET",    "METASTASIS", "METASTASES", "VESSEL", "VESSELS", "VEIN",  "VEINS", "GTV",
        "CTV",   "PTV",    "MINUS",      "SEGMENT",    "LOBE",   "LEFT",    "RIGHT", "NOT",   "NO"})
    if (holds_word(text, word) && !holds_word(wanted, word)) return true;
  return false;
}

// How well a candidate's names fit: 3 the label is a wanted name, 2 another name is, 1 one holds it
// as a word, 0 none.
int fit(const LiverCandidate& candidate, const std::vector<std::string>& wanted) {
  int best = 0;
  for (std::size_t i = 0; i < candidate.names.size(); ++i) {
    const std::string name = upper(trim(candidate.names[i]));
    for (const std::string& one : wanted) {
      const std::string want = upper(trim(one));
      if (want.empty()) continue;
      if (name == want)
        best = std::max(best, i == 0 ? 3 : 2);
      else if (holds_word(name, want) && !names_a_part(name, want))
        best = std::max(best, 1);
    }
  }
  return best;
}

}  // namespace

std::vector<DcmItem*> items(DcmItem& parent, const DcmTagKey& tag) {
  std::vector<DcmItem*> found;
  DcmSequenceOfItems* sequence = nullptr;
  if (parent.findAndGetSequence(tag, sequence).good() && sequence != nullptr)
    for (unsigned long i = 0; i < sequence->card(); ++i) found.push_back(sequence->getItem(i));
  return found;
}

bool is_liver_code(DcmItem& parent, const DcmTagKey& sequence) {
  for (DcmItem* code : items(parent, sequence)) {
    const std::string scheme = ascii(*code, DCM_CodingSchemeDesignator);
    const std::string value = ascii(*code, DCM_CodeValue);
    if (scheme == "SCT" && value == "10200004") return true;
    if ((scheme == "SRT" || scheme == "99SDM" || scheme == "SNM3") && value == "T-62000")
      return true;
  }
  return false;
}

std::vector<std::string> referenced_instances(DcmItem& parent, const DcmTagKey& sequence) {
  std::vector<std::string> uids;
  for (DcmItem* item : items(parent, sequence))
    if (std::string uid = ascii(*item, DCM_ReferencedSOPInstanceUID); !uid.empty())
      uids.push_back(std::move(uid));
  return uids;
}

Outcome<int> choose_liver(const std::vector<LiverCandidate>& candidates,
                          const std::vector<std::string>& wanted) {
  const bool coded = std::any_of(candidates.begin(), candidates.end(),
                                 [](const LiverCandidate& c) { return c.coded; });
  std::set<int> chosen;
  int best = coded ? 0 : 1;
  for (const LiverCandidate& candidate : candidates) {
    if (candidate.coded != coded) continue;
    const int value = fit(candidate, wanted);
    if (value > best) chosen.clear();
    if (value >= best) chosen.insert(candidate.number);
    best = std::max(best, value);
  }
  if (chosen.empty())
    return Rejection{"", "mask", Code::NO_LIVER_SEGMENT,
                     "none of " + std::to_string(candidates.size()) + " is coded or named liver"};
  if (chosen.size() > 1)
    return Rejection{"", "mask", Code::MASK_AMBIGUOUS,
                     std::to_string(chosen.size()) + " of " + std::to_string(candidates.size()) +
                         " claim to be the liver"};
  return *chosen.begin();
}

std::int64_t find_slice(const LoadedVolume& loaded, const std::vector<std::string>& sop_instances,
                        const Vec3& position, double tolerance_mm) {
  const Volume& volume = loaded.volume;
  const Vec3 normal = cross(volume.geometry.axis[0], volume.geometry.axis[1]);
  const double z = dot(position, normal) / norm(normal);
  const auto distance = [&](std::size_t k) { return std::abs(volume.z_mm[k] - z); };
  const auto& uids = loaded.sop_instance_uids;
  const std::set<std::string> named(sop_instances.begin(), sop_instances.end());
  if (named.size() == 1 && std::count(uids.begin(), uids.end(), *named.begin()) == 1) {
    const auto k = std::find(uids.begin(), uids.end(), *named.begin()) - uids.begin();
    const double half = std::max(tolerance_mm, volume.geometry.spacing_mm[2] / 2);
    return distance(static_cast<std::size_t>(k)) <= half ? k : -1;
  }
  std::int64_t best = -1;
  double nearest = tolerance_mm;
  for (std::size_t k = 0; k < volume.z_mm.size(); ++k)
    if (distance(k) <= nearest) {
      nearest = distance(k);
      best = static_cast<std::int64_t>(k);
    }
  return best;
}

}  // namespace dicom

Outcome<MaskObject> read_mask_references(const std::filesystem::path& path, bool is_rtstruct) {
  using namespace dicom;
  DcmFileFormat file;
  if (const Rejection r = load(path, file); r.code != Code::USED)
    return Rejection{"", "mask", Code::MASK_UNREADABLE, std::string(to_string(r.code))};
  DcmDataset& data = *file.getDataset();
  MaskObject object;
  object.is_rtstruct = is_rtstruct;
  std::set<std::string> series, instances;
  const auto add_instances = [&](DcmItem& parent, const DcmTagKey& sequence) {
    for (std::string& uid : referenced_instances(parent, sequence))
      instances.insert(std::move(uid));
  };
  const auto add_series = [&](DcmItem& item) {
    if (std::string uid = ascii(item, DCM_SeriesInstanceUID); !uid.empty())
      series.insert(std::move(uid));
  };
  if (is_rtstruct) {
    for (DcmItem* frame : items(data, DCM_ReferencedFrameOfReferenceSequence))
      for (DcmItem* study : items(*frame, DCM_RTReferencedStudySequence))
        for (DcmItem* one : items(*study, DCM_RTReferencedSeriesSequence)) {
          add_series(*one);
          add_instances(*one, DCM_ContourImageSequence);
        }
    for (DcmItem* roi : items(data, DCM_ROIContourSequence))
      for (DcmItem* contour : items(*roi, DCM_ContourSequence))
        add_instances(*contour, DCM_ContourImageSequence);
  } else {
    for (DcmItem* one : items(data, DCM_ReferencedSeriesSequence)) {
      add_series(*one);
      add_instances(*one, DCM_ReferencedInstanceSequence);
    }
    for (DcmItem* group : items(data, DCM_PerFrameFunctionalGroupsSequence)) {
      for (DcmItem* derivation : items(*group, DCM_DerivationImageSequence))
        add_instances(*derivation, DCM_SourceImageSequence);
      for (DcmItem* plane : items(*group, DCM_PlanePositionSequence))
        if (const auto position = numbers(*plane, DCM_ImagePositionPatient, 3))
          object.positions_mm.push_back({(*position)[0], (*position)[1], (*position)[2]});
    }
  }
  object.series_uids.assign(series.begin(), series.end());
  object.sop_instance_uids.assign(instances.begin(), instances.end());
  return object;
}

}  // namespace wsp

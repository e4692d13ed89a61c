#include "io/medical/dicom_mask.hpp"

#include <algorithm>
#include <cmath>
#include <set>

#include "io/medical/dicom_load.hpp"

namespace wsp {
namespace dicom {
namespace {

// Lower case of the alphabets in which livers are named: Latin, Greek and Cyrillic.
std::uint32_t lower(std::uint32_t c) {
  const auto in = [c](std::uint32_t first, std::uint32_t last) { return c >= first && c <= last; };
  if (in('A', 'Z') || (in(0xC0, 0xDE) && c != 0xD7) || (in(0x391, 0x3AB) && c != 0x3A2) ||
      in(0x410, 0x42F))
    return c + 32;
  if (in(0x400, 0x40F)) return c + 80;
  const bool odd_is_upper = in(0x139, 0x148) || in(0x179, 0x17E);
  if (odd_is_upper || in(0x100, 0x12F) || in(0x132, 0x137) || in(0x14A, 0x177))
    return (c % 2 == 1) == odd_is_upper ? c + 1 : c;
  return c;
}

// Trimmed and in lower case.
std::string fold(std::string_view raw) {
  const std::string name = trim(raw);
  if (!is_utf8(name)) return name;
  std::string folded;
  for (std::size_t i = 0; i < name.size();) {
    const auto lead = static_cast<unsigned char>(name[i]);
    const std::size_t length = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    if (length == 1) {
      folded += static_cast<char>(lower(lead));
    } else if (length == 2) {
      const std::uint32_t c =
          lower((lead & 0x1FU) << 6U | (static_cast<unsigned char>(name[i + 1]) & 0x3FU));
      folded += static_cast<char>(0xC0U | c >> 6U);
      folded += static_cast<char>(0x80U | (c & 0x3FU));
    } else {
      folded += name.substr(i, length);
    }
    i += length;
  }
  return folded;
}

// A folded name with one space for whatever stands between its words.
std::string plain_name(const std::string& folded) {
  std::string plain;
  for (const char c : folded) {
    const bool between = std::string_view(" _-.,").find(c) != std::string_view::npos;
    if (!between)
      plain += c;
    else if (!plain.empty() && plain.back() != ' ')
      plain += ' ';
  }
  return trim(plain);
}

// Whether a plain name is one of the whole organ. What else holds the word is a part, a margin, a
// lesion, or all but the organ.
bool is_whole(const std::string& plain, const std::string& organ) {
  for (const char* before : {"", "whole ", "entire ", "total ", "organ "})
    if (plain == before + organ) return true;
  for (const char* after : {" whole", " total", " organ", " nos"})
    if (plain == organ + after) return true;
  return false;
}

// `organ`: as a wanted name it stands for those of is_whole().
bool is_wanted(const std::string& name, const std::vector<std::string>& wanted,
               const std::string& organ) {
  const std::string folded = fold(name);
  return std::any_of(wanted.begin(), wanted.end(), [&](const std::string& one) {
    const std::string want = fold(one);
    if (want.empty()) return false;
    return folded == want || (want == organ && is_whole(plain_name(folded), plain_name(organ)));
  });
}

// How well a candidate's names fit: 2 the label is wanted, 1 another name is, 0 none.
int fit(const LiverCandidate& candidate, const std::vector<std::string>& wanted,
        const std::string& organ) {
  for (std::size_t i = 0; i < candidate.names.size(); ++i)
    if (is_wanted(candidate.names[i], wanted, organ)) return i == 0 ? 2 : 1;
  return 0;
}

// Names are the export's own text: they are counted, not shown.
std::string no_liver_among(const std::vector<LiverCandidate>& candidates,
                           const std::vector<std::string>& wanted, const std::string& organ) {
  std::size_t parts = 0, holding = 0;
  for (const LiverCandidate& candidate : candidates) {
    parts += candidate.code == LiverCode::part ? 1 : 0;
    const auto holds = [&](const std::string& name) {
      return std::any_of(wanted.begin(), wanted.end(), [&](const std::string& one) {
        const std::string want = fold(one);
        return !want.empty() && fold(name).find(want) != std::string::npos;
      });
    };
    holding += std::any_of(candidate.names.begin(), candidate.names.end(), holds) ? 1 : 0;
  }
  std::string text = "none of " + std::to_string(candidates.size()) + " is coded or named " + organ;
  if (parts > 0) text += "; " + std::to_string(parts) + " coded as a part or a lesion of it";
  if (holding > 0)
    text += "; the word is in the names of " + std::to_string(holding) + ": if one is the whole " +
            organ + ", give its full name to --liver-roi";
  return text;
}

}  // namespace

bool holds_code(DcmItem& parent, const DcmTagKey& sequence,
                const std::vector<std::pair<std::string, std::string>>& codes) {
  for (DcmItem* item : items(parent, sequence)) {
    const std::string scheme = ascii(*item, DCM_CodingSchemeDesignator);
    const std::string value = ascii(*item, DCM_CodeValue);
    for (const auto& [one, other] : codes)
      if (scheme == one && value == other) return true;
  }
  return false;
}

LiverCode liver_code(DcmItem& parent, const DcmTagKey& sequence, const Organ& organ) {
  if (!holds_code(parent, sequence, organ.codes)) return LiverCode::none;
  for (DcmItem* code : items(parent, sequence))
    if (!items(*code, DCM_SegmentedPropertyTypeModifierCodeSequence).empty())
      return LiverCode::part;
  return LiverCode::whole;
}

std::vector<std::string> referenced_instances(DcmItem& parent, const DcmTagKey& sequence) {
  std::vector<std::string> uids;
  for (DcmItem* item : items(parent, sequence))
    if (std::string uid = ascii(*item, DCM_ReferencedSOPInstanceUID); !uid.empty())
      uids.push_back(std::move(uid));
  return uids;
}

Outcome<int> choose_liver(const std::vector<LiverCandidate>& candidates,
                          const std::vector<std::string>& wanted, const std::string& organ) {
  const bool coded = std::any_of(candidates.begin(), candidates.end(), [](const auto& candidate) {
    return candidate.code == LiverCode::whole;
  });
  std::set<int> chosen;
  int best = coded ? 0 : 1;
  for (const LiverCandidate& candidate : candidates) {
    if (candidate.code != (coded ? LiverCode::whole : LiverCode::none)) continue;
    const int value = fit(candidate, wanted, organ);
    if (value > best) chosen.clear();
    if (value >= best) chosen.insert(candidate.number);
    best = std::max(best, value);
  }
  if (chosen.empty())
    return Rejection{"", "mask", Code::NO_LIVER_SEGMENT, no_liver_among(candidates, wanted, organ)};
  if (chosen.size() > 1)
    return Rejection{"", "mask", Code::MASK_AMBIGUOUS,
                     std::to_string(chosen.size()) + " of " + std::to_string(candidates.size()) +
                         " claim to be the " + organ};
  return *chosen.begin();
}

double position_mm(const Volume& volume, const Vec3& point) {
  const Vec3 normal = cross(volume.geometry.axis[0], volume.geometry.axis[1]);
  return dot(point, normal) / norm(normal);
}

std::optional<std::int64_t> named_slice(const LoadedVolume& loaded,
                                        const std::vector<std::string>& sop_instances) {
  const auto& uids = loaded.sop_instance_uids;
  const std::set<std::string> named(sop_instances.begin(), sop_instances.end());
  if (named.size() != 1 || std::count(uids.begin(), uids.end(), *named.begin()) != 1)
    return std::nullopt;
  return std::find(uids.begin(), uids.end(), *named.begin()) - uids.begin();
}

std::int64_t nearest_slice(const Volume& volume, double z_mm) {
  std::size_t nearest = 0;
  const auto distance = [&](std::size_t k) { return std::abs(volume.z_mm[k] - z_mm); };
  for (std::size_t k = 1; k < volume.z_mm.size(); ++k)
    if (distance(k) <= distance(nearest)) nearest = k;
  return static_cast<std::int64_t>(nearest);
}

std::int64_t find_slice(const LoadedVolume& loaded, const std::vector<std::string>& sop_instances,
                        const Vec3& position, double tolerance_mm) {
  const Volume& volume = loaded.volume;
  const double z = position_mm(volume, position);
  const auto named = named_slice(loaded, sop_instances);
  if (named) tolerance_mm = std::max(tolerance_mm, volume.geometry.spacing_mm[2] / 2);
  const std::int64_t k = named.value_or(nearest_slice(volume, z));
  return std::abs(volume.z_mm[static_cast<std::size_t>(k)] - z) <= tolerance_mm ? k : -1;
}

void FramePlane::update(DcmItem& group) {
  for (DcmItem* item : items(group, DCM_PlanePositionSequence))
    if (const auto p = numbers(*item, DCM_ImagePositionPatient, 3)) {
      position = {(*p)[0], (*p)[1], (*p)[2]};
      placed = true;
    }
  for (DcmItem* item : items(group, DCM_PlaneOrientationSequence))
    if (const auto o = numbers(*item, DCM_ImageOrientationPatient, 6)) {
      row = {(*o)[0], (*o)[1], (*o)[2]};
      column = {(*o)[3], (*o)[4], (*o)[5]};
      oriented = true;
    }
  for (DcmItem* item : items(group, DCM_PixelMeasuresSequence)) {
    if (const auto s = numbers(*item, DCM_PixelSpacing, 2)) {
      dy = (*s)[0];
      dx = (*s)[1];
    }
    spacing_mm = std::abs(number(*item, DCM_SpacingBetweenSlices).value_or(spacing_mm));
    thickness_mm = std::abs(number(*item, DCM_SliceThickness).value_or(thickness_mm));
  }
}

}  // namespace dicom

namespace {

// Where an object lies.
void read_place(DcmDataset& data, MaskObject& object) {
  using namespace dicom;
  if (object.is_rtstruct) {
    for (DcmItem* roi : items(data, DCM_ROIContourSequence))
      for (DcmItem* contour : items(*roi, DCM_ContourSequence))
        if (const auto point = numbers(*contour, DCM_ContourData, 3);
            point && ascii(*contour, DCM_ContourGeometricType).starts_with("CLOSED"))
          object.contour_points_mm.push_back({(*point)[0], (*point)[1], (*point)[2]});
    return;
  }
  const double columns = bits16(data, DCM_Columns).value_or(0);
  const double rows = bits16(data, DCM_Rows).value_or(0);
  // As it is stored, and once more as bytes.
  object.bytes = 2 * rows * columns * bits16(data, DCM_BitsAllocated).value_or(0) / 8 *
                 std::max(0.0, number(data, DCM_NumberOfFrames).value_or(1));
  FramePlane shared;
  for (DcmItem* group : items(data, DCM_SharedFunctionalGroupsSequence)) shared.update(*group);
  std::set<std::array<Vec3, 4>> frames;  // segments share planes
  for (DcmItem* group : items(data, DCM_PerFrameFunctionalGroupsSequence)) {
    FramePlane plane = shared;
    plane.update(*group);
    const Vec3 across = plane.dx * (columns - 1) * plane.row;
    const Vec3 down = plane.dy * (rows - 1) * plane.column;
    frames.insert({plane.position, plane.position + across, plane.position + down,
                   plane.position + across + down});
  }
  object.frame_corners_mm.assign(frames.begin(), frames.end());
}

}  // namespace

Outcome<MaskObject> read_mask_references(const std::filesystem::path& path, bool is_rtstruct) {
  using namespace dicom;
  DcmFileFormat file;
  if (const Rejection r = load(path, file); r.code != Code::USED)
    return Rejection{"", "mask", Code::MASK_UNREADABLE, std::string(to_string(r.code))};
  DcmDataset& data = *file.getDataset();
  MaskObject object;
  object.is_rtstruct = is_rtstruct;
  std::set<std::string> series, listed, drawn_on;
  const auto add = [](std::set<std::string>& to, DcmItem& parent, const DcmTagKey& sequence) {
    for (std::string& uid : referenced_instances(parent, sequence)) to.insert(std::move(uid));
  };
  const auto add_series = [&](DcmItem& item) {
    if (std::string uid = ascii(item, DCM_SeriesInstanceUID); !uid.empty())
      series.insert(std::move(uid));
  };
  object.patient_id = text(data, DCM_PatientID);
  object.study_uid = ascii(data, DCM_StudyInstanceUID);
  object.frame_of_reference_uid = ascii(data, DCM_FrameOfReferenceUID);
  if (is_rtstruct) {
    for (DcmItem* frame : items(data, DCM_ReferencedFrameOfReferenceSequence)) {
      if (object.frame_of_reference_uid.empty())
        object.frame_of_reference_uid = ascii(*frame, DCM_FrameOfReferenceUID);
      for (DcmItem* study : items(*frame, DCM_RTReferencedStudySequence))
        for (DcmItem* one : items(*study, DCM_RTReferencedSeriesSequence)) {
          add_series(*one);
          add(listed, *one, DCM_ContourImageSequence);
        }
    }
    for (DcmItem* roi : items(data, DCM_ROIContourSequence))
      for (DcmItem* contour : items(*roi, DCM_ContourSequence))
        add(drawn_on, *contour, DCM_ContourImageSequence);
  } else {
    for (DcmItem* one : items(data, DCM_ReferencedSeriesSequence)) {
      add_series(*one);
      add(listed, *one, DCM_ReferencedInstanceSequence);
    }
    for (DcmItem* group : items(data, DCM_PerFrameFunctionalGroupsSequence))
      for (DcmItem* derivation : items(*group, DCM_DerivationImageSequence))
        add(drawn_on, *derivation, DCM_SourceImageSequence);
  }
  object.series_uids.assign(series.begin(), series.end());
  const auto& instances = drawn_on.empty() ? listed : drawn_on;
  object.sop_instance_uids.assign(instances.begin(), instances.end());
  read_place(data, object);
  return object;
}

}  // namespace wsp

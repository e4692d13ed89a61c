#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "io/medical/dicom_load.hpp"
#include "io/medical/dicom_mask.hpp"

namespace wsp {
namespace dicom {

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
    if ((scheme == "SCT" && value == "10200004") || ((scheme == "SRT" || scheme == "99SDM" || scheme == "SNM3") && value == "T-62000"))
      return true;
  }
  return false;
}

bool name_matches(const std::string& name, const std::vector<std::string>& wanted) {
  const std::string text = upper(name);
  const auto word = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; };
  for (const std::string& one : wanted) {
    const std::string needle = upper(one);
    if (needle.empty()) continue;
    for (std::size_t at = text.find(needle); at != std::string::npos; at = text.find(needle, at + 1)) {
      const std::size_t end = at + needle.size();
      if ((at == 0 || !word(text[at - 1])) && (end == text.size() || !word(text[end]))) return true;
    }
  }
  return false;
}

std::int64_t find_slice(const LoadedVolume& loaded, const std::string& uid, const Vec3& position, double tolerance_mm) {
  const auto& uids = loaded.sop_instance_uids;
  if (!uid.empty())
    if (const auto hit = std::find(uids.begin(), uids.end(), uid); hit != uids.end()) return hit - uids.begin();
  const Volume& volume = loaded.volume;
  const Vec3 normal = cross(volume.geometry.axis[0], volume.geometry.axis[1]);
  const double z = dot(position, normal) / norm(normal);
  std::int64_t best = -1;
  double nearest = tolerance_mm;
  for (std::size_t k = 0; k < volume.z_mm.size(); ++k)
    if (const double distance = std::abs(volume.z_mm[k] - z); distance <= nearest) {
      nearest = distance;
      best = static_cast<std::int64_t>(k);
    }
  return best;
}

}  // namespace dicom

namespace {

using namespace dicom;

constexpr double kRoundedMm = 0.02;  // positions in SEG objects are often rounded

Rejection refuse(Code code, std::string detail) { return {"", "mask", code, std::move(detail)}; }

Outcome<std::set<int>> liver_segments(DcmDataset& data, const MaskOptions& options) {
  std::set<int> coded, named;
  for (DcmItem* segment : items(data, DCM_SegmentSequence)) {
    const auto number = bits16(*segment, DCM_SegmentNumber);
    if (!number) continue;
    if (is_liver_code(*segment, DCM_SegmentedPropertyTypeCodeSequence)) coded.insert(*number);
    if (name_matches(text(*segment, DCM_SegmentLabel), options.liver_roi) ||
        name_matches(text(*segment, DCM_SegmentDescription), options.liver_roi))
      named.insert(*number);
  }
  const std::set<int>& chosen = coded.empty() ? named : coded;
  if (chosen.empty()) return refuse(Code::NO_LIVER_SEGMENT, "no segment is coded or named liver");
  if (chosen.size() > 1) return refuse(Code::MASK_AMBIGUOUS, std::to_string(chosen.size()) + " segments claim to be the liver");
  return chosen;
}

struct FramePlane {
  Vec3 position{}, row{1, 0, 0}, column{0, 1, 0};
  double dx = 1, dy = 1;
  bool placed = false;
};

void update_plane(DcmItem& group, FramePlane& plane) {
  for (DcmItem* item : items(group, DCM_PlanePositionSequence))
    if (const auto p = numbers(*item, DCM_ImagePositionPatient, 3)) {
      plane.position = {(*p)[0], (*p)[1], (*p)[2]};
      plane.placed = true;
    }
  for (DcmItem* item : items(group, DCM_PlaneOrientationSequence))
    if (const auto o = numbers(*item, DCM_ImageOrientationPatient, 6)) {
      plane.row = {(*o)[0], (*o)[1], (*o)[2]};
      plane.column = {(*o)[3], (*o)[4], (*o)[5]};
    }
  for (DcmItem* item : items(group, DCM_PixelMeasuresSequence))
    if (const auto s = numbers(*item, DCM_PixelSpacing, 2)) {
      plane.dy = (*s)[0];
      plane.dx = (*s)[1];
    }
}

}  // namespace

Outcome<LiverMask> read_seg_mask(const std::filesystem::path& path, const LoadedVolume& loaded, const MaskOptions& options) {
  DcmFileFormat file;
  if (const Rejection r = load(path, file); r.code != Code::USED) return refuse(Code::MASK_UNREADABLE, std::string(to_string(r.code)));
  DcmDataset& data = *file.getDataset();
  auto segments = liver_segments(data, options);
  if (!segments) return segments.rejection();
  const std::string type = ascii(data, DCM_SegmentationType);
  const auto rows = bits16(data, DCM_Rows);
  const auto columns = bits16(data, DCM_Columns);
  const auto allocated = bits16(data, DCM_BitsAllocated);
  const auto per_frame = items(data, DCM_PerFrameFunctionalGroupsSequence);
  if (!rows || !columns || !allocated || *rows == 0 || *columns == 0 || per_frame.empty())
    return refuse(Code::MASK_UNREADABLE, "rows, columns or frames are missing");
  if (*allocated != 1 && *allocated != 8 && *allocated != 16)
    return refuse(Code::MASK_UNREADABLE, std::to_string(*allocated) + " bits allocated");

  // Pixels as bytes, whichever of OB and OW they were written as.
  if (data.chooseRepresentation(EXS_LittleEndianExplicit, nullptr).bad())
    return refuse(Code::MASK_UNREADABLE, "the pixels cannot be decompressed");
  DcmElement* element = nullptr;
  std::vector<std::uint8_t> bytes;
  if (data.findAndGetElement(DCM_PixelData, element).good() && element != nullptr) {
    Uint8* as8 = nullptr;
    Uint16* as16 = nullptr;
    if (element->getUint8Array(as8).good() && as8 != nullptr)
      bytes.assign(as8, as8 + element->getLength());
    else if (element->getUint16Array(as16).good() && as16 != nullptr)
      for (std::size_t i = 0; i < element->getLength() / 2; ++i) {
        bytes.push_back(static_cast<std::uint8_t>(as16[i] & 0xFF));
        bytes.push_back(static_cast<std::uint8_t>(as16[i] >> 8));
      }
  }
  const std::size_t pixels = static_cast<std::size_t>(*rows) * *columns;
  if (bytes.size() * 8 < pixels * per_frame.size() * *allocated)
    return refuse(Code::MASK_UNREADABLE, "the pixel data is shorter than its frames");
  const auto maximum = bits16(data, DCM_MaximumFractionalValue);
  const int half = type == "FRACTIONAL" ? (maximum.value_or(255) + 1) / 2 : 1;
  const auto value = [&](std::size_t frame, std::size_t i) -> int {
    const std::size_t at = frame * pixels + i;
    if (*allocated == 1) return bytes[at / 8] >> (at % 8) & 1;  // frames are not byte-aligned
    if (*allocated == 8) return bytes[at];
    return bytes[2 * at] | bytes[2 * at + 1] << 8;
  };

  FramePlane shared;
  for (DcmItem* group : items(data, DCM_SharedFunctionalGroupsSequence)) update_plane(*group, shared);
  const Volume& volume = loaded.volume;
  const Geometry& g = volume.geometry;
  LiverMask mask;
  mask.geometry = g;
  mask.voxels.assign(static_cast<std::size_t>(g.voxels()), 0);
  std::size_t lost = 0;
  for (std::size_t f = 0; f < per_frame.size(); ++f) {
    int segment = 0;
    for (DcmItem* id : items(*per_frame[f], DCM_SegmentIdentificationSequence))
      segment = bits16(*id, DCM_ReferencedSegmentNumber).value_or(0);
    const bool labelmap = type == "LABELMAP";
    if (!labelmap && !segments.value().contains(segment)) continue;
    const auto inside = [&](std::size_t i) {
      const int v = value(f, i);
      return labelmap ? segments.value().contains(v) : v >= half;
    };
    FramePlane plane = shared;
    update_plane(*per_frame[f], plane);
    std::string uid;
    for (DcmItem* derivation : items(*per_frame[f], DCM_DerivationImageSequence))
      for (DcmItem* source : items(*derivation, DCM_SourceImageSequence)) uid = ascii(*source, DCM_ReferencedSOPInstanceUID);
    const std::int64_t z = plane.placed || !uid.empty() ? find_slice(loaded, uid, plane.position, kRoundedMm) : -1;
    if (z < 0) {
      bool any = false;
      for (std::size_t i = 0; i < pixels && !any; ++i) any = inside(i);
      lost += any ? 1 : 0;
      continue;
    }
    // For every voxel of the slice, the nearest pixel of the frame.
    const Vec3& start = volume.slice_origin_mm[static_cast<std::size_t>(z)];
    const auto in_frame = [&](const Vec3& p) {
      const Vec3 d = p - plane.position;
      return std::pair(dot(d, plane.row) / plane.dx, dot(d, plane.column) / plane.dy);
    };
    const auto origin = plane.placed ? in_frame(start) : std::pair(0.0, 0.0);
    const Vec3 sx = g.spacing_mm[0] * g.axis[0];
    const Vec3 sy = g.spacing_mm[1] * g.axis[1];
    const double xc = dot(sx, plane.row) / plane.dx, xr = dot(sx, plane.column) / plane.dy;
    const double yc = dot(sy, plane.row) / plane.dx, yr = dot(sy, plane.column) / plane.dy;
    for (std::int64_t y = 0; y < g.size[1]; ++y)
      for (std::int64_t x = 0; x < g.size[0]; ++x) {
        const auto dx = static_cast<double>(x), dy = static_cast<double>(y);
        const auto c = std::llround(origin.first + dx * xc + dy * yc);
        const auto r = std::llround(origin.second + dx * xr + dy * yr);
        if (c < 0 || r < 0 || c >= *columns || r >= *rows) continue;
        if (inside(static_cast<std::size_t>(r) * *columns + static_cast<std::size_t>(c)))
          mask.voxels[static_cast<std::size_t>((z * g.size[1] + y) * g.size[0] + x)] = 1;
      }
  }
  if (lost > 0)
    return refuse(Code::MASK_BAD_REFERENCE, std::to_string(lost) + " of " + std::to_string(per_frame.size()) + " frames lie on no slice of the series");
  return mask;
}

Outcome<MaskObject> read_mask_references(const std::filesystem::path& path, bool is_rtstruct) {
  DcmFileFormat file;
  if (const Rejection r = load(path, file); r.code != Code::USED) return refuse(Code::MASK_UNREADABLE, std::string(to_string(r.code)));
  DcmDataset& data = *file.getDataset();
  MaskObject object;
  object.is_rtstruct = is_rtstruct;
  std::set<std::string> series, instances;
  const auto add = [](std::set<std::string>& to, const std::string& uid) {
    if (!uid.empty()) to.insert(uid);
  };
  if (is_rtstruct) {
    for (DcmItem* frame : items(data, DCM_ReferencedFrameOfReferenceSequence))
      for (DcmItem* study : items(*frame, DCM_RTReferencedStudySequence))
        for (DcmItem* one : items(*study, DCM_RTReferencedSeriesSequence)) {
          add(series, ascii(*one, DCM_SeriesInstanceUID));
          for (DcmItem* image : items(*one, DCM_ContourImageSequence)) add(instances, ascii(*image, DCM_ReferencedSOPInstanceUID));
        }
    for (DcmItem* roi : items(data, DCM_ROIContourSequence))
      for (DcmItem* contour : items(*roi, DCM_ContourSequence))
        for (DcmItem* image : items(*contour, DCM_ContourImageSequence)) add(instances, ascii(*image, DCM_ReferencedSOPInstanceUID));
  } else {
    for (DcmItem* one : items(data, DCM_ReferencedSeriesSequence)) {
      add(series, ascii(*one, DCM_SeriesInstanceUID));
      for (DcmItem* image : items(*one, DCM_ReferencedInstanceSequence)) add(instances, ascii(*image, DCM_ReferencedSOPInstanceUID));
    }
    for (DcmItem* group : items(data, DCM_PerFrameFunctionalGroupsSequence))
      for (DcmItem* derivation : items(*group, DCM_DerivationImageSequence))
        for (DcmItem* source : items(*derivation, DCM_SourceImageSequence)) add(instances, ascii(*source, DCM_ReferencedSOPInstanceUID));
  }
  object.series_uids.assign(series.begin(), series.end());
  object.sop_instance_uids.assign(instances.begin(), instances.end());
  return object;
}

}  // namespace wsp

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <string_view>

#include "io/medical/contour_planes.hpp"
#include "io/medical/dicom_load.hpp"
#include "io/medical/dicom_mask.hpp"
#include "io/medical/refuse.hpp"

namespace wsp {
namespace {

using namespace dicom;

Outcome<int> liver_roi(DcmDataset& data, const MaskOptions& options) {
  std::map<int, LiverCode> codes;
  for (DcmItem* observation : items(data, DCM_RTROIObservationsSequence))
    if (const auto n = number(*observation, DCM_ReferencedROINumber)) {
      LiverCode& code = codes[static_cast<int>(*n)];
      code = std::max(code,
                      liver_code(*observation, DCM_RTROIIdentificationCodeSequence, options.organ));
    }
  std::vector<LiverCandidate> candidates;
  for (DcmItem* roi : items(data, DCM_StructureSetROISequence))
    if (const auto n = number(*roi, DCM_ROINumber)) {
      const int id = static_cast<int>(*n);
      candidates.push_back({id, codes[id], {text(*roi, DCM_ROIName)}});
    }
  return choose_liver(candidates, options.liver_roi, options.organ.name);
}

// ContourData as text, as one: taking value by value is quadratic. In explicit VR its length has 16
// bits: what is longer is written as UN (PS3.5 6.2.2).
std::string_view contour_data(DcmItem& contour) {
  DcmElement* element = nullptr;
  if (contour.findAndGetElement(DCM_ContourData, element).bad() || element == nullptr) return {};
  Uint8* bytes = nullptr;
  if (element->ident() == EVR_UN && element->getUint8Array(bytes).good() && bytes != nullptr)
    return {reinterpret_cast<const char*>(bytes), element->getLength()};
  char* string = nullptr;
  Uint32 length = 0;
  if (element->getString(string, length).good() && string != nullptr) return {string, length};
  return {};
}

// The points of a contour; nothing where the data is no list of points or not as long as it says.
std::optional<std::vector<Vec3>> points_of(DcmItem& contour) {
  const auto cells = split_values(trim(contour_data(contour)));
  if (cells.size() % 3 != 0) return std::nullopt;
  std::vector<Vec3> points(cells.size() / 3);
  for (std::size_t i = 0; i < cells.size(); ++i) {
    const std::string& cell = cells[i];
    const char* end = cell.data() + cell.size();
    double& value = points[i / 3][i % 3];
    const auto parsed = std::from_chars(cell.data() + (cell.starts_with('+') ? 1 : 0), end, value);
    if (parsed.ec != std::errc() || parsed.ptr != end || !std::isfinite(value)) return std::nullopt;
  }
  const auto announced = number(contour, DCM_NumberOfContourPoints);
  if (announced && *announced != static_cast<double>(points.size())) return std::nullopt;
  return points;
}

}  // namespace

Outcome<LiverMask> dicom::rasterise_rtstruct(const std::filesystem::path& path,
                                             const LoadedVolume& loaded,
                                             const MaskOptions& options) {
  DcmFileFormat file;
  if (const Rejection r = load(path, file); r.code != Code::USED)
    return refuse_mask(Code::MASK_UNREADABLE, std::string(to_string(r.code)));
  DcmDataset& data = *file.getDataset();
  const auto roi = liver_roi(data, options);
  if (!roi) return roi.rejection();
  const Volume& volume = loaded.volume;
  const Geometry& g = volume.geometry;
  // Contours of one plane by their position, and where they lie.
  struct Drawn {
    double z_mm;
    std::int64_t slice;
    Polygon polygon;
  };
  std::vector<Drawn> drawn;
  std::set<std::vector<Vec3>> seen;
  std::size_t contours = 0, lost = 0;
  for (DcmItem* one : items(data, DCM_ROIContourSequence)) {
    if (static_cast<int>(number(*one, DCM_ReferencedROINumber).value_or(-1)) != roi.value())
      continue;
    for (DcmItem* contour : items(*one, DCM_ContourSequence)) {
      const std::string type = ascii(*contour, DCM_ContourGeometricType);
      if (type != "CLOSED_PLANAR" && type != "CLOSEDPLANAR_XOR") continue;
      const auto read = points_of(*contour);
      if (!read)
        return refuse_mask(Code::MASK_UNREADABLE,
                           "contour " + std::to_string(contours + 1) +
                               " holds no list of points of the stated length");
      const std::vector<Vec3>& points = *read;
      if (points.size() < 3) continue;  // no area
      ++contours;
      const std::int64_t slice =
          find_slice(loaded, referenced_instances(*contour, DCM_ContourImageSequence),
                     points.front(), g.spacing_mm[2] / 2);
      const double z = position_mm(volume, points.front());
      // A contour across slices belongs to another orientation.
      const auto off_plane = [&](const Vec3& p) {
        return std::abs(position_mm(volume, p) - z) > g.spacing_mm[2] / 2;
      };
      if (slice < 0 || std::any_of(points.begin(), points.end(), off_plane)) {
        ++lost;
        continue;
      }
      // A contour and its copy would cut each other out.
      if (!seen.insert(points).second && type == "CLOSED_PLANAR") continue;
      const Vec3& origin = volume.slice_origin_mm[static_cast<std::size_t>(slice)];
      Polygon polygon;
      for (const Vec3& p : points)
        polygon.push_back({dot(p - origin, g.axis[0]) / g.spacing_mm[0],
                           dot(p - origin, g.axis[1]) / g.spacing_mm[1]});
      drawn.push_back({z, slice, std::move(polygon)});
    }
  }
  if (contours == 0)
    return refuse_mask(Code::NO_LIVER_SEGMENT, "the ROI has no closed planar contour");
  if (lost > 0)
    return refuse_mask(Code::MASK_BAD_REFERENCE, std::to_string(lost) + " of " +
                                                     std::to_string(contours) +
                                                     " contours lie on no slice of the series");
  std::stable_sort(drawn.begin(), drawn.end(),
                   [](const Drawn& a, const Drawn& b) { return a.z_mm < b.z_mm; });
  const auto planes = [&](double same_mm) {
    std::vector<ContourPlane> found;
    for (const Drawn& contour : drawn) {
      if (found.empty() || contour.slice != found.back().slice ||
          contour.z_mm > found.back().z_mm + same_mm)
        found.push_back({contour.z_mm, contour.slice, {}});
      found.back().polygons.push_back(contour.polygon);
    }
    return found;
  };
  // Contours of one slice may differ by some tenths of a millimetre; so may thin slices.
  const double tenth = g.spacing_mm[2] / 10;
  auto mask = rasterise(volume, planes(std::min(0.2, tenth)));
  return mask ? std::move(mask) : rasterise(volume, planes(tenth));
}

}  // namespace wsp

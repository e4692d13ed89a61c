#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <set>

#include "io/medical/dicom_load.hpp"
#include "io/medical/dicom_mask.hpp"

namespace wsp {
namespace {

using namespace dicom;

Rejection refuse(Code code, std::string detail) { return {"", "mask", code, std::move(detail)}; }

Outcome<int> liver_roi(DcmDataset& data, const MaskOptions& options) {
  std::set<int> coded;
  for (DcmItem* observation : items(data, DCM_RTROIObservationsSequence))
    if (is_liver_code(*observation, DCM_RTROIIdentificationCodeSequence))
      if (const auto n = number(*observation, DCM_ReferencedROINumber))
        coded.insert(static_cast<int>(*n));
  std::vector<LiverCandidate> candidates;
  for (DcmItem* roi : items(data, DCM_StructureSetROISequence))
    if (const auto n = number(*roi, DCM_ROINumber)) {
      const int id = static_cast<int>(*n);
      candidates.push_back({id, coded.contains(id), {text(*roi, DCM_ROIName)}});
    }
  return choose_liver(candidates, options.liver_roi);
}

// The points of a contour; nothing where the data is no list of points or not as long as it says.
std::optional<std::vector<Vec3>> points_of(DcmItem& contour) {
  const auto cells = split_values(ascii(contour, DCM_ContourData));
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

// XOR the pixels whose centres lie inside a polygon (even-odd) into one slice; x, y are voxel
// indices.
void flip_inside(std::uint8_t* slice, std::int64_t nx, std::int64_t ny,
                 const std::vector<std::pair<double, double>>& polygon) {
  for (std::int64_t row = 0; row < ny; ++row) {
    const auto y = static_cast<double>(row);
    std::vector<double> crossings;
    for (std::size_t i = 0; i < polygon.size(); ++i) {
      const auto& [x0, y0] = polygon[i];
      const auto& [x1, y1] = polygon[(i + 1) % polygon.size()];
      if ((y0 <= y) != (y1 <= y)) crossings.push_back(x0 + (y - y0) / (y1 - y0) * (x1 - x0));
    }
    std::sort(crossings.begin(), crossings.end());
    for (std::size_t i = 0; i + 1 < crossings.size(); i += 2) {
      const auto inside = [&](double x) {
        return static_cast<std::int64_t>(std::ceil(std::clamp(x, 0.0, static_cast<double>(nx))));
      };
      const std::int64_t end = inside(crossings[i + 1]);
      for (std::int64_t x = inside(crossings[i]); x < end; ++x) slice[row * nx + x] ^= 1;
    }
  }
}

}  // namespace

Outcome<LiverMask> read_rtstruct_mask(const std::filesystem::path& path, const LoadedVolume& loaded,
                                      const MaskOptions& options) {
  DcmFileFormat file;
  if (const Rejection r = load(path, file); r.code != Code::USED)
    return refuse(Code::MASK_UNREADABLE, std::string(to_string(r.code)));
  DcmDataset& data = *file.getDataset();
  const auto roi = liver_roi(data, options);
  if (!roi) return roi.rejection();
  const Volume& volume = loaded.volume;
  const Geometry& g = volume.geometry;
  LiverMask mask;
  mask.geometry = g;
  mask.voxels.assign(static_cast<std::size_t>(g.voxels()), 0);
  const Vec3 perpendicular = cross(g.axis[0], g.axis[1]);
  const Vec3 normal = (1 / norm(perpendicular)) * perpendicular;
  std::size_t contours = 0, lost = 0, crowded = 0;
  std::vector<std::optional<double>> plane_mm(volume.z_mm.size());  // of the contours on a slice
  std::set<std::pair<std::int64_t, std::vector<Vec3>>> drawn;
  for (DcmItem* one : items(data, DCM_ROIContourSequence)) {
    if (static_cast<int>(number(*one, DCM_ReferencedROINumber).value_or(-1)) != roi.value())
      continue;
    for (DcmItem* contour : items(*one, DCM_ContourSequence)) {
      const std::string type = ascii(*contour, DCM_ContourGeometricType);
      if (type != "CLOSED_PLANAR" && type != "CLOSEDPLANAR_XOR") continue;
      const auto read = points_of(*contour);
      if (!read)
        return refuse(Code::MASK_UNREADABLE, "contour " + std::to_string(contours + 1) +
                                                 " holds no list of points of the stated length");
      const std::vector<Vec3>& points = *read;
      if (points.size() < 3) continue;  // no area
      ++contours;
      const std::int64_t z =
          find_slice(loaded, referenced_instances(*contour, DCM_ContourImageSequence),
                     points.front(), g.spacing_mm[2] / 2);
      // A contour across slices belongs to another orientation.
      const auto off_plane = [&](const Vec3& p) {
        return std::abs(dot(p - points.front(), normal)) > g.spacing_mm[2] / 2;
      };
      if (z < 0 || std::any_of(points.begin(), points.end(), off_plane)) {
        ++lost;
        continue;
      }
      // Contours of two planes on one slice, drawn on thinner ones, would cut each other out.
      auto& plane = plane_mm[static_cast<std::size_t>(z)];
      const double position = dot(points.front(), normal);
      if (std::abs(position - plane.value_or(position)) > g.spacing_mm[2] / 10) {
        ++crowded;
        continue;
      }
      plane = position;
      // So would a contour and its copy.
      if (!drawn.insert({z, points}).second && type == "CLOSED_PLANAR") continue;
      const Vec3& origin = volume.slice_origin_mm[static_cast<std::size_t>(z)];
      std::vector<std::pair<double, double>> polygon;
      for (const Vec3& p : points)
        polygon.emplace_back(dot(p - origin, g.axis[0]) / g.spacing_mm[0],
                             dot(p - origin, g.axis[1]) / g.spacing_mm[1]);
      flip_inside(mask.voxels.data() + z * g.slice_voxels(), g.size[0], g.size[1], polygon);
    }
  }
  if (contours == 0) return refuse(Code::NO_LIVER_SEGMENT, "the ROI has no closed planar contour");
  if (lost > 0)
    return refuse(Code::MASK_BAD_REFERENCE, std::to_string(lost) + " of " +
                                                std::to_string(contours) +
                                                " contours lie on no slice of the series");
  if (crowded > 0)
    return refuse(Code::MASK_BAD_REFERENCE,
                  std::to_string(crowded) + " of " + std::to_string(contours) +
                      " contours share a slice with contours of another plane: they were drawn on "
                      "thinner slices");
  return mask;
}

}  // namespace wsp

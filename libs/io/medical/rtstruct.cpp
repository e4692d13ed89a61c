#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>

#include "io/medical/dicom_load.hpp"
#include "io/medical/dicom_mask.hpp"

namespace wsp {
namespace {

using namespace dicom;

Rejection refuse(Code code, std::string detail) { return {"", "mask", code, std::move(detail)}; }

Outcome<int> liver_roi(DcmDataset& data, const MaskOptions& options) {
  std::set<int> coded, named;
  for (DcmItem* observation : items(data, DCM_RTROIObservationsSequence))
    if (is_liver_code(*observation, DCM_RTROIIdentificationCodeSequence))
      if (const auto n = number(*observation, DCM_ReferencedROINumber)) coded.insert(static_cast<int>(*n));
  for (DcmItem* roi : items(data, DCM_StructureSetROISequence))
    if (name_matches(text(*roi, DCM_ROIName), options.liver_roi))
      if (const auto n = number(*roi, DCM_ROINumber)) named.insert(static_cast<int>(*n));
  const std::set<int>& chosen = coded.empty() ? named : coded;
  if (chosen.empty()) return refuse(Code::NO_LIVER_SEGMENT, "no ROI is coded or named liver");
  if (chosen.size() > 1) return refuse(Code::MASK_AMBIGUOUS, std::to_string(chosen.size()) + " ROIs claim to be the liver");
  return *chosen.begin();
}

std::vector<Vec3> points_of(DcmItem& contour) {
  const auto cells = split_values(ascii(contour, DCM_ContourData));
  std::vector<Vec3> points;
  for (std::size_t i = 0; i + 2 < cells.size(); i += 3) {
    Vec3 p{};
    for (std::size_t k = 0; k < 3; ++k) {
      const std::string& cell = cells[i + k];
      const char* begin = cell.data() + (cell.starts_with('+') ? 1 : 0);
      if (std::from_chars(begin, cell.data() + cell.size(), p[k]).ec != std::errc() || !std::isfinite(p[k])) return {};
    }
    points.push_back(p);
  }
  return points;
}

// XOR the pixels whose centres lie inside a polygon (even-odd) into one slice; x, y are voxel indices.
void flip_inside(std::uint8_t* slice, std::int64_t nx, std::int64_t ny, const std::vector<std::pair<double, double>>& polygon) {
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
      const auto first = static_cast<std::int64_t>(std::ceil(std::max(crossings[i], 0.0)));
      const double end = std::min(crossings[i + 1], static_cast<double>(nx));
      for (std::int64_t x = first; static_cast<double>(x) < end; ++x) slice[row * nx + x] ^= 1;
    }
  }
}

}  // namespace

Outcome<LiverMask> read_rtstruct_mask(const std::filesystem::path& path, const LoadedVolume& loaded, const MaskOptions& options) {
  DcmFileFormat file;
  if (const Rejection r = load(path, file); r.code != Code::USED) return refuse(Code::MASK_UNREADABLE, std::string(to_string(r.code)));
  DcmDataset& data = *file.getDataset();
  const auto roi = liver_roi(data, options);
  if (!roi) return roi.rejection();
  const Volume& volume = loaded.volume;
  const Geometry& g = volume.geometry;
  LiverMask mask;
  mask.geometry = g;
  mask.voxels.assign(static_cast<std::size_t>(g.voxels()), 0);
  std::size_t contours = 0, lost = 0;
  for (DcmItem* one : items(data, DCM_ROIContourSequence)) {
    if (static_cast<int>(number(*one, DCM_ReferencedROINumber).value_or(-1)) != roi.value()) continue;
    for (DcmItem* contour : items(*one, DCM_ContourSequence)) {
      if (ascii(*contour, DCM_ContourGeometricType) != "CLOSED_PLANAR") continue;
      const std::vector<Vec3> points = points_of(*contour);
      if (points.size() < 3) continue;
      ++contours;
      std::string uid;
      for (DcmItem* image : items(*contour, DCM_ContourImageSequence)) uid = ascii(*image, DCM_ReferencedSOPInstanceUID);
      const std::int64_t z = find_slice(loaded, uid, points.front(), g.spacing_mm[2] / 2);
      if (z < 0) {
        ++lost;
        continue;
      }
      const Vec3& origin = volume.slice_origin_mm[static_cast<std::size_t>(z)];
      std::vector<std::pair<double, double>> polygon;
      for (const Vec3& p : points)
        polygon.emplace_back(dot(p - origin, g.axis[0]) / g.spacing_mm[0], dot(p - origin, g.axis[1]) / g.spacing_mm[1]);
      flip_inside(mask.voxels.data() + z * g.slice_voxels(), g.size[0], g.size[1], polygon);
    }
  }
  if (contours == 0) return refuse(Code::NO_LIVER_SEGMENT, "the ROI has no closed planar contour");
  if (lost > 0)
    return refuse(Code::MASK_BAD_REFERENCE, std::to_string(lost) + " of " + std::to_string(contours) + " contours lie on no slice of the series");
  return mask;
}

}  // namespace wsp

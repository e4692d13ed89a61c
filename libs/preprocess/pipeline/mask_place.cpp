#include "preprocess/pipeline/mask_place.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <string>

namespace wsp {
namespace {

constexpr double kRoundedMm = 0.02;  // positions with two decimals

// The plane of a series at a position along its normal, or null.
const Plane* plane_at(const Series& series, const Vec3& point) {
  const double z = dot(point, series.normal);
  const auto at =
      std::lower_bound(series.planes.begin(), series.planes.end(), z - kRoundedMm,
                       [](const Plane& plane, double from) { return plane.z_mm < from; });
  return at != series.planes.end() && at->z_mm <= z + kRoundedMm ? &*at : nullptr;
}

// True where each frame and contour lies on a plane of the series.
bool lies_on_planes(const MaskObject& mask, const Series& series) {
  const auto on = [&](const Vec3& point) { return plane_at(series, point) != nullptr; };
  return !(mask.frame_corners_mm.empty() && mask.contour_points_mm.empty()) &&
         std::all_of(mask.frame_corners_mm.begin(), mask.frame_corners_mm.end(),
                     [&](const auto& corners) {
                       return on(corners[0]) &&
                              std::all_of(corners.begin(), corners.end(), [&](const Vec3& corner) {
                                return plane_at(series, corner) == plane_at(series, corners[0]);
                              });
                     }) &&
         std::all_of(mask.contour_points_mm.begin(), mask.contour_points_mm.end(), on);
}

// Corner by corner, in any order: rows may run the other way.
bool same_corners(const std::array<Vec3, 4>& corners, const Series& series) {
  const Vec3 across = series.pixel_x_mm * static_cast<double>(series.columns - 1) * series.row_axis;
  const Vec3 down = series.pixel_y_mm * static_cast<double>(series.rows - 1) * series.column_axis;
  const Vec3 origin = plane_at(series, corners[0])->position_mm;
  const std::array<Vec3, 4> own{origin, origin + across, origin + down, origin + across + down};
  return std::all_of(own.begin(), own.end(), [&](const Vec3& mine) {
    return std::any_of(corners.begin(), corners.end(),
                       [&](const Vec3& theirs) { return norm(mine - theirs) <= 2 * kRoundedMm; });
  });
}

bool lies_on_grid(const MaskObject& mask, const Series& series) {
  return series.is_dicom && !mask.frame_of_reference_uid.empty() && !mask.study_uid.empty() &&
         series.frame_of_reference_uid == mask.frame_of_reference_uid &&
         series.study_uid == mask.study_uid && series.patient_id == mask.patient_id &&
         lies_on_planes(mask, series) &&
         std::all_of(mask.frame_corners_mm.begin(), mask.frame_corners_mm.end(),
                     [&](const auto& corners) { return same_corners(corners, series); });
}

}  // namespace

MaskPlaces place_masks(const Scan& scan) {
  using Indices = std::set<std::size_t>;
  std::map<std::string, Indices> by_instance,
      by_uid;  // of series; a UID that was split has several
  for (std::size_t s = 0; s < scan.series.size(); ++s) {
    if (!scan.series[s].series_uid.empty()) by_uid[scan.series[s].series_uid].insert(s);
    for (const Plane& plane : scan.series[s].planes)
      if (!plane.sop_instance_uid.empty()) by_instance[plane.sop_instance_uid].insert(s);
  }
  MaskPlaces places;
  places.of_series.resize(scan.series.size());
  for (std::size_t m = 0; m < scan.masks.size(); ++m) {
    const MaskObject& mask = scan.masks[m];
    const auto add = [&](std::size_t s) { places.of_series[s].push_back(m); };
    if (mask.series_uids.empty() && mask.sop_instance_uids.empty()) {
      Indices fitting;
      for (std::size_t s = 0; s < scan.series.size(); ++s)
        if (lies_on_grid(mask, scan.series[s])) fitting.insert(s);
      if (fitting.size() == 1) add(*fitting.begin());
      if (fitting.size() > 1) places.ambiguous.push_back(m);
      continue;
    }
    Indices holding, referred;
    for (const std::string& uid : mask.sop_instance_uids)
      if (const auto hit = by_instance.find(uid); hit != by_instance.end())
        holding.insert(hit->second.begin(), hit->second.end());
    referred = holding;
    for (const std::string& uid : mask.series_uids)
      if (const auto hit = by_uid.find(uid); hit != by_uid.end())
        referred.insert(hit->second.begin(), hit->second.end());
    bool unproven = false, proven = false;
    std::map<std::string, Indices> parts;
    for (const std::size_t s : referred) parts[scan.series[s].series_uid].insert(s);
    for (auto& [uid, series] : parts) {
      const auto narrow = [&series = series](const auto& keeps) {
        if (series.size() > 1) std::erase_if(series, [&](std::size_t s) { return !keeps(s); });
      };
      if (std::any_of(series.begin(), series.end(),
                      [&](std::size_t s) { return holding.contains(s); }))
        narrow([&](std::size_t s) { return holding.contains(s); });
      if (std::any_of(series.begin(), series.end(),
                      [&](std::size_t s) { return scan.series[s].code == Code::USED; }))
        narrow([&](std::size_t s) { return scan.series[s].code == Code::USED; });
      narrow([&](std::size_t s) { return lies_on_planes(mask, scan.series[s]); });
      (series.size() == 1 ? proven : unproven) = true;
      if (series.size() == 1) add(*series.begin());
    }
    if (unproven && !proven) places.ambiguous.push_back(m);
  }
  return places;
}

}  // namespace wsp

#include "preprocess/pipeline/liver_source.hpp"

#include <algorithm>
#include <cmath>
#include <exception>

#include "io/core/error.hpp"
#include "io/core/names.hpp"
#include "io/medical/image_file.hpp"
#include "io/medical/masks.hpp"
#include "preprocess/ops/dome.hpp"
#include "preprocess/ops/liver.hpp"
#include "preprocess/ops/slices.hpp"
#include "preprocess/ops/surface_distance.hpp"
#include "preprocess/ops/tip.hpp"

namespace wsp {
namespace {

Outcome<GivenMask> mask_from_files(const CasePlan& plan, const LoadedVolume& volume,
                                   const MaskOptions& options) {
  if (plan.mask_files.size() > 1)
    return Rejection{plan.name, "mask", Code::MASK_AMBIGUOUS,
                     std::to_string(plan.mask_files.size()) + " mask files match this case"};
  auto mask = read_mask_file(plan.mask_files.front(), volume, options);
  if (!mask) return mask.rejection();
  return GivenMask{std::move(mask).value(), "file", {}};
}

// An object that names another patient is no mask of this one, whatever it refers to.
bool is_of_another(const MaskObject& object, const Series& series) {
  return object.patient_id != series.patient_id && !is_placeholder_id(object.patient_id) &&
         !is_placeholder_id(series.patient_id);
}

Outcome<LiverMask> read_object(const Scan& scan, const CasePlan& plan, const MaskObject& object,
                               const LoadedVolume& volume, const MaskOptions& options) {
  if (is_of_another(object, scan.series[plan.series]))
    return Rejection{plan.name, "mask", Code::MASK_BAD_REFERENCE,
                     "the mask object names another patient than the series it refers to"};
  const auto path = scan.root / scan.files[object.file].relative_path;
  return object.is_rtstruct ? read_rtstruct_mask(path, volume, options)
                            : read_seg_mask(path, volume, options);
}

// A SEG or RTSTRUCT without a liver is no fault of the case; one that is broken is.
Outcome<GivenMask> mask_from_objects(const Scan& scan, const CasePlan& plan,
                                     const LoadedVolume& volume, const MaskOptions& options) {
  std::vector<GivenMask> found;
  std::vector<std::pair<std::size_t, Code>> files;
  std::optional<Rejection> first;
  for (const std::size_t index : plan.mask_objects) {
    const MaskObject& object = scan.masks[index];
    auto mask = read_object(scan, plan, object, volume, options);
    if (!mask) {
      files.emplace_back(object.file, mask.rejection().code);
      if (!first || first->code == Code::NO_LIVER_SEGMENT) first = mask.rejection();
      continue;
    }
    files.emplace_back(object.file, Code::USED_AS_MASK);
    found.push_back({std::move(mask).value(), object.is_rtstruct ? "rtstruct" : "seg", {}});
  }
  // A voxel mask says more than contours of the same liver.
  if (found.size() > 1 && std::count_if(found.begin(), found.end(),
                                        [](const auto& f) { return f.source == "seg"; }) == 1)
    std::erase_if(found, [](const auto& f) { return f.source != "seg"; });
  if (found.size() > 1) {
    for (std::size_t i = 1; i < found.size(); ++i)
      if (found[i].mask.voxels != found.front().mask.voxels)
        return Rejection{plan.name, "mask", Code::MASK_AMBIGUOUS,
                         std::to_string(found.size()) + " objects hold different livers"};
  }
  if (found.empty()) return first ? *first : Rejection{plan.name, "mask", Code::NO_LIVER_MASK, ""};
  found.front().files = std::move(files);
  return std::move(found.front());
}

}  // namespace

Outcome<GivenMask> find_given_mask(const Scan& scan, const CasePlan& plan,
                                   const LoadedVolume& volume, const MaskOptions& options) {
  if (!plan.mask_files.empty()) return mask_from_files(plan, volume, options);
  if (!plan.mask_objects.empty()) return mask_from_objects(scan, plan, volume, options);
  return Rejection{plan.name, "mask", Code::NO_LIVER_MASK,
                   "no mask file matches, and no SEG or RTSTRUCT refers to this series"};
}

double given_mask_bytes(const Scan& scan, const CasePlan& plan) {
  double most = 0;  // they are read one after another
  for (const auto& file : plan.mask_files) most = std::max(most, label_image_bytes(file));
  for (const std::size_t m : plan.mask_objects) most = std::max(most, scan.masks[m].bytes);
  return most;
}

bool leaves_to_segmenter(const Rejection& rejection) {
  return rejection.code == Code::NO_LIVER_MASK || rejection.code == Code::NO_LIVER_SEGMENT;
}

Outcome<Segmentation> ask_segmenter(Segmenter& segmenter, const Volume& volume) {
  try {
    auto answer = segmenter.segment(volume);
    if (!answer) return answer;
    const Segmentation& s = answer.value();
    if (s.mask.geometry.size != volume.geometry.size || s.mask.voxels.size() != volume.hu.size() ||
        (!s.probability.empty() && s.probability.size() != volume.hu.size()))
      return Rejection{"", "mask", Code::SEGMENTER_FAILED, "its mask is not on the volume's grid"};
    return answer;
  } catch (const Error&) {
    throw;
  } catch (const std::exception& e) {
    return segmenter_failure(e);
  }
}

namespace {

// Lung of a slice, mm2. Where a side of the image cuts the body, no ribs close the lung, and it is
// told from the air outside by its values.
double lung_mm2(std::span<const std::int16_t> hu, const Geometry& geometry) {
  constexpr std::int16_t kBodyHu = -300, kLeastLungHu = -900, kMostLungHu = -500;
  constexpr double kCutMm = 100;
  const auto [nx, ny, nz] = geometry.size;
  const auto body_at = [&](std::int64_t x) {  // from its first row to its last
    std::int64_t first = ny, last = -1;
    for (std::int64_t y = 0; y < ny; ++y)
      if (hu[static_cast<std::size_t>(y * nx + x)] > kBodyHu) {
        first = std::min(first, y);
        last = y;
      }
    return static_cast<double>(last - first + 1) * geometry.spacing_mm[1];
  };
  if (std::max(body_at(0), body_at(nx - 1)) < kCutMm) {
    ValueCounts unused;
    return profile_slice(hu, nullptr, 0, geometry, unused, unused).lung_mm2;
  }
  return geometry.spacing_mm[0] * geometry.spacing_mm[1] *
         static_cast<double>(std::count_if(hu.begin(), hu.end(), [](std::int16_t v) {
           return v >= kLeastLungHu && v <= kMostLungHu;
         }));
}

// The lungs lie about the liver's dome: below it, or within 40 mm above, there is air of some 60
// cm2 in a slice, unless the scan ends there. Slices are looked at every 6 mm.
bool below_lungs(const Volume& volume, const SliceRange& liver) {
  constexpr double kLungMm2 = 6000, kAboveMm = 40, kStepMm = 6;
  const auto z = [&](std::int64_t k) { return volume.z_mm[static_cast<std::size_t>(k)]; };
  const std::int64_t top = volume.geometry.size[2] - 1;
  if (liver.last == top) return true;
  double looked = z(top) + kStepMm;
  for (std::int64_t k = top; k >= liver.first; --k) {
    if (z(k) > z(liver.last) + kAboveMm || z(k) > looked - kStepMm) continue;
    looked = z(k);
    if (lung_mm2(volume.slice(k), volume.geometry) >= kLungMm2) return true;
  }
  return false;
}

// The liver of the voxels of at least `least` / 255, cleaned and refined as the mask is.
LiverMask liver_at(const Segmentation& prediction, const Volume& volume, std::uint8_t least) {
  LiverMask mask;
  mask.geometry = volume.geometry;
  mask.voxels.resize(prediction.probability.size());
  std::transform(prediction.probability.begin(), prediction.probability.end(), mask.voxels.begin(),
                 [&](std::uint8_t p) { return p >= least ? 1 : 0; });
  remove_specks(mask);
  clean_mask(mask);
  refine_liver(volume, mask);
  return mask;
}

}  // namespace

PredictedMask clean_prediction(Segmentation prediction, const Volume& volume, bool refine) {
  PredictedMask result;
  result.mask = std::move(prediction.mask);
  result.components = static_cast<std::int64_t>(component_sizes(MaskRuns(result.mask)).size());
  remove_specks(result.mask);
  if (refine)
    drop_misplaced(result.mask, prediction.probability,
                   [&](const SliceRange& r) { return below_lungs(volume, r); });
  clean_mask(result.mask);
  std::int64_t inside = 0, all = 0, voxels = 0;  // probabilities in 1/255
  for (std::size_t i = 0; i < prediction.probability.size(); ++i) {
    const std::int64_t p = prediction.probability[i];
    const std::int64_t m = result.mask.voxels[i];
    all += p;
    inside += p * m;
    voxels += m;
  }
  if (voxels > 0) {
    result.mean_probability = static_cast<double>(inside) / 255 / static_cast<double>(voxels);
    result.confidence = 2 * static_cast<double>(inside) / static_cast<double>(all + 255 * voxels);
  }
  if (!refine) return result;
  result.refined = refine_liver(volume, result.mask);
  if (!prediction.probability.empty()) {
    constexpr std::uint8_t kBold = 64, kSure = 191;  // 0.25 and 0.75
    result.refined->stability = dice_of(liver_at(prediction, volume, kBold).voxels,
                                        liver_at(prediction, volume, kSure).voxels);
  }
  std::int64_t added = complete_dome(volume, result.mask);
  added += complete_tip(volume, result.mask, result.refined->mode_hu, result.refined->spread_hu);
  if (added > 0) clean_mask(result.mask);
  return result;
}

namespace {

// Of the mask's middle from the body's, in mm to the patient's left.
double left_of_body(const Volume& volume, const LiverMask& mask) {
  const auto [nx, ny, nz] = volume.geometry.size;
  constexpr std::int16_t kBodyHu = -300;
  double liver = 0, body = 0, liver_x = 0, body_x = 0;
  for (std::int64_t z = 0; z < nz; ++z) {
    const auto hu = volume.slice(z);
    const auto inside = mask.slice(z);
    if (std::find(inside.begin(), inside.end(), 1) == inside.end()) continue;
    for (std::int64_t y = 0; y < ny; ++y)
      for (std::int64_t x = 0; x < nx; ++x) {
        const auto i = static_cast<std::size_t>(y * nx + x);
        if (hu[i] > kBodyHu) {
          ++body;
          body_x += static_cast<double>(x);
        }
        if (inside[i] != 0) {
          ++liver;
          liver_x += static_cast<double>(x);
        }
      }
  }
  if (liver == 0 || body == 0) return 0;
  return (liver_x / liver - body_x / body) * volume.geometry.spacing_mm[0];
}

// The largest step of the area between neighbouring slices, as part of the largest area and for 5
// mm.
double largest_step(const std::vector<double>& areas, const std::vector<double>& z_mm) {
  double largest = 0, step = 0;
  for (const double area : areas) largest = std::max(largest, area);
  for (std::size_t i = 1; i < areas.size(); ++i)
    step = std::max(step,
                    std::abs(areas[i] - areas[i - 1]) / std::max(1.0, (z_mm[i] - z_mm[i - 1]) / 5));
  return largest > 0 ? step / largest : 0;
}

}  // namespace

std::vector<std::string> mask_doubts(const Volume& volume, const LiverMask& mask,
                                     const std::optional<double>& confidence,
                                     const std::optional<RefinedLiver>& refined,
                                     const std::vector<double>& areas_mm2, double liver_ml,
                                     const Organ& organ) {
  constexpr double kConfidence = 0.7, kAgreement = 0.881, kOverlapAgreement = 0.16, kLeastMl = 350,
                   kSliverMl = 50, kMostMl = 8000, kLeftMm = 25, kLeastHu = -30, kMostHu = 230,
                   kSpreadHu = 28, kStep = 0.6;
  std::vector<std::string> doubts;
  const auto doubt = [&](bool there, const char* word) {
    if (there) doubts.emplace_back(word);
  };
  const bool cut = !areas_mm2.empty() && (areas_mm2.front() > 0 || areas_mm2.back() > 0);
  doubt(confidence && *confidence < kConfidence, "confidence");
  // Where the HU tell the liver apart, and a bold mask and a sure one end at the same border,
  // refinement may move it far and be right.
  doubt(refined && 0.8 * refined->agreement + 0.2 * refined->stability <
                       kAgreement + kOverlapAgreement * refined->overlap,
        "agreement");
  if (!organ.is_liver()) {
    doubt(liver_ml > organ.most_ml || (!cut && liver_ml < organ.least_ml), "volume");
    return doubts;
  }
  doubt(liver_ml > kMostMl || liver_ml < (cut ? kSliverMl : kLeastMl), "volume");
  doubt(left_of_body(volume, mask) > kLeftMm, "side");
  const auto extent = liver_extent(areas_mm2, 0);
  doubt(extent && !below_lungs(volume, *extent), "place");
  doubt(refined && (refined->mode_hu < kLeastHu || refined->mode_hu > kMostHu ||
                    refined->spread_hu > kSpreadHu),
        "values");
  doubt(largest_step(areas_mm2, volume.z_mm) > kStep, "shape");
  return doubts;
}

MaskComparison compare_masks(const Volume& volume, const LiverMask& given, const LiverMask& model,
                             double min_area_mm2, std::int64_t permille) {
  MaskComparison result;
  result.dice = dice_of(given.voxels, model.voxels);
  const Geometry& g = volume.geometry;
  result.hd95_mm = surface_distances(given.voxels, model.voxels,
                                     {g.size, {g.spacing_mm[0], g.spacing_mm[1]}, volume.z_mm})
                       .hd95_mm;
  const auto given_mm2 = liver_areas_mm2(given), model_mm2 = liver_areas_mm2(model);
  result.given_ml = liver_volume_ml(given_mm2, volume.z_mm, g.spacing_mm[2]);
  result.model_ml = liver_volume_ml(model_mm2, volume.z_mm, g.spacing_mm[2]);
  const auto a = liver_extent(given_mm2, min_area_mm2), b = liver_extent(model_mm2, min_area_mm2);
  if (!a || !b) return result;
  const auto z = [&](std::int64_t k) { return volume.z_mm[static_cast<std::size_t>(k)]; };
  result.first_off = b->first - a->first;
  result.last_off = b->last - a->last;
  result.first_off_mm = z(b->first) - z(a->first);
  result.last_off_mm = z(b->last) - z(a->last);
  const SliceRange kept = central_slices(*a, permille), other = central_slices(*b, permille);
  const std::int64_t common = std::max<std::int64_t>(
      0, std::min(kept.last, other.last) - std::max(kept.first, other.first) + 1);
  result.kept_iou =
      static_cast<double>(common) / static_cast<double>(kept.count() + other.count() - common);
  return result;
}

}  // namespace wsp

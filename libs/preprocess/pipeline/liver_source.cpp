#include "preprocess/pipeline/liver_source.hpp"

#include <algorithm>
#include <exception>

#include "io/core/error.hpp"
#include "io/core/names.hpp"
#include "io/medical/masks.hpp"
#include "preprocess/ops/liver.hpp"

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

PredictedMask clean_prediction(Segmentation prediction) {
  PredictedMask result;
  result.mask = std::move(prediction.mask);
  result.components = static_cast<std::int64_t>(component_sizes(result.mask).size());
  remove_specks(result.mask);
  clean_mask(result.mask);
  if (prediction.probability.empty()) return result;
  std::int64_t inside = 0, all = 0, voxels = 0;  // probabilities in 1/255
  for (std::size_t i = 0; i < prediction.probability.size(); ++i) {
    const std::int64_t p = prediction.probability[i];
    const std::int64_t m = result.mask.voxels[i];
    all += p;
    inside += p * m;
    voxels += m;
  }
  if (voxels == 0) return result;
  result.mean_probability = static_cast<double>(inside) / 255 / static_cast<double>(voxels);
  result.confidence = 2 * static_cast<double>(inside) / static_cast<double>(all + 255 * voxels);
  return result;
}

MaskComparison compare_masks(const Volume& volume, const LiverMask& given, const LiverMask& model) {
  std::int64_t both = 0, sum = 0;
  for (std::size_t i = 0; i < given.voxels.size(); ++i) {
    both += given.voxels[i] & model.voxels[i];
    sum += given.voxels[i] + model.voxels[i];
  }
  const auto ml = [&](const LiverMask& mask) {
    return liver_volume_ml(liver_areas_mm2(mask), volume.z_mm, volume.geometry.spacing_mm[2]);
  };
  return {sum > 0 ? 2 * static_cast<double>(both) / static_cast<double>(sum) : 1.0, ml(given),
          ml(model)};
}

}  // namespace wsp

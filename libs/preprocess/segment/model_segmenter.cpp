#include "preprocess/segment/model_segmenter.hpp"

#include <cmath>

#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/core/parallel.hpp"
#include "preprocess/segment/model_grid.hpp"
#include "preprocess/segment/model_passes.hpp"

namespace wsp {
namespace {

Segmentation on_native_grid(const Volume& volume, const ModelGrid& grid, double threshold,
                            const Probabilities& probabilities) {
  Segmentation result;
  result.mask.geometry = volume.geometry;
  result.mask.voxels.resize(volume.hu.size());
  result.probability.resize(volume.hu.size());
  // A probability in 1/65535 that was rounded down to just below the threshold counts.
  const auto least = static_cast<float>(threshold - 0.5 / 65535);
  const auto area = static_cast<std::size_t>(volume.geometry.slice_voxels());
  wsp::parallel_loop(std::int64_t{0}, volume.geometry.size[2], [&](std::int64_t z) {
    const std::vector<float> slice = grid.native_slice(z, probabilities);
    const std::size_t first = static_cast<std::size_t>(z) * area;
    for (std::size_t i = 0; i < slice.size(); ++i) {
      result.mask.voxels[first + i] = slice[i] >= least ? 1 : 0;
      result.probability[first + i] =
          static_cast<std::uint8_t>(std::lround(std::min(1.0F, slice[i]) * 255));
    }
  });
  return result;
}

}  // namespace

ModelSegmenter::ModelSegmenter(ModelDescriptor model, std::unique_ptr<Network> network,
                               SegmentationPlan plan)
    : model_(std::move(model)), network_(std::move(network)), plan_(plan) {}

std::string model_identity(const ModelDescriptor& model, SegmentationPlan plan,
                           const std::string& precision) {
  // Another way of running the same weights is another model: raise the number with each.
  constexpr const char* kMethod = "segment-2";
  constexpr const char* kRefinement = "refine-6";  // so is another refinement
  return hex(sha256(model.identity + kMethod + (model.refine ? kRefinement : "") +
                    std::to_string(plan.coarse_mm) + (precision == "fp32" ? "" : precision)));
}

std::string ModelSegmenter::identity() const {
  return model_identity(model_, plan_, network_->precision());
}

Outcome<Segmentation> ModelSegmenter::segment(const Volume& volume) {
  try {
    const ModelGrid grid(volume, model_);
    if (model_.nnunet) return run_nnunet(volume, grid, model_, *network_, plan_);
    const Probabilities probabilities = model_.dimensions == 3
                                            ? run_windows(grid, model_, *network_, plan_)
                                            : run_slices(grid, model_, *network_, plan_);
    return on_native_grid(volume, grid, model_.threshold, probabilities);
  } catch (const Error&) {
    throw;
  } catch (const BadOutput& e) {
    return Rejection{"", "mask", Code::SEGMENTER_BAD_OUTPUT, e.what()};
  } catch (const std::exception& e) {
    return segmenter_failure(e);
  }
}

}  // namespace wsp

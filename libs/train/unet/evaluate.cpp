#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "io/core/error.hpp"
#include "io/core/progress.hpp"
#include "preprocess/ops/liver.hpp"
#include "train/run/device.hpp"
#include "train/unet/case_grid.hpp"
#include "train/unet/evaluation_scope.hpp"
#include "train/unet/network.hpp"
#include "train/unet/unet.hpp"

namespace wsp::train {
namespace {

LiverMask mask_on(const VoxelGrid& grid) {
  LiverMask mask;
  mask.geometry.size = grid.size;
  mask.geometry.spacing_mm = {grid.spacing_mm[0], grid.spacing_mm[1], 1};
  mask.voxels.resize(static_cast<std::size_t>(mask.geometry.voxels()));
  return mask;
}

double kept_iou(const SliceRange& a, const SliceRange& b) {
  const std::int64_t both = std::min(a.last, b.last) - std::max(a.first, b.first) + 1;
  const std::int64_t shared = std::max<std::int64_t>(0, both);
  return static_cast<double>(shared) / static_cast<double>(a.count() + b.count() - shared);
}

/// Collects the slices of one volume after the other and scores each when it is complete.
class Judge {
 public:
  Judge(const UNetEvaluate& what, const DatasetReader& reader,
        const std::vector<MaskedVolume>& volumes, double threshold)
      : what_(what),
        reader_(reader),
        volumes_(volumes),
        threshold_(threshold),
        progress_("evaluating", volumes.size(), "volumes") {}

  void take(const PredictedSlices& s) {
    const MaskedVolume& volume = volumes_[s.volume];
    if (s.first == 0) {
      grid_ = stored_grid(reader_, volume);
      truth_ = mask_on(grid_);
      predicted_ = mask_on(grid_);
    }
    const std::int64_t at = s.first * truth_.geometry.slice_voxels(), n = s.masks.numel();
    const torch::Tensor masks = s.masks.contiguous();
    const auto* label = masks.data_ptr<std::uint8_t>();
    const auto* probability = s.probability.data_ptr<float>();
    for (std::int64_t i = 0; i < n; ++i) {
      truth_.voxels[static_cast<std::size_t>(at + i)] = label[i] != 0;
      predicted_.voxels[static_cast<std::size_t>(at + i)] = probability[i] >= threshold_;
    }
    if (s.first + s.probability.size(0) < volume.count) return;
    score(volume);
    progress_.advance();
  }
  std::vector<CaseScores> scores;

 private:
  [[nodiscard]] std::optional<SliceRange> extent(const LiverMask& mask) const {
    return liver_extent(liver_areas_mm2(mask), what_.min_area_mm2);
  }

  void score(const MaskedVolume& volume) {
    if (what_.clean) clean_mask(predicted_);
    CaseScores c;
    c.name = reader_.cases()[static_cast<std::size_t>(volume.case_id)].name;
    c.subject = volume.subject;
    c.slices = volume.count;
    c.overlap = overlap_scores(truth_.voxels, predicted_.voxels, grid_);
    c.surface = surface_distances(truth_.voxels, predicted_.voxels, grid_);
    const auto wanted = extent(truth_), found = extent(predicted_);
    if (wanted && found) {
      c.has_extent = true;
      c.first_off = found->first - wanted->first;
      c.last_off = found->last - wanted->last;
      c.kept_iou = kept_iou(central_slices(*wanted, what_.central_permille),
                            central_slices(*found, what_.central_permille));
    }
    scores.push_back(std::move(c));
  }

  const UNetEvaluate& what_;
  const DatasetReader& reader_;
  const std::vector<MaskedVolume>& volumes_;
  double threshold_;
  Progress progress_;
  VoxelGrid grid_;
  LiverMask truth_, predicted_;
};

UNetEvaluation evaluate(const UNetEvaluate& what) {
  const torch::Device device = choose_device(what.device, 0);
  TrainedUNet trained = load_trained_unet(what.source);
  const std::string precision = prediction_precision(what.precision, trained.config, device);
  const DatasetReader reader(what.dataset);
  if (reader.layout().width != trained.config.stored_size ||
      reader.layout().height != trained.config.stored_size)
    throw Error(
        ErrorCode::usage,
        fmt::format("the dataset's slices are {}x{} and the network was trained on {}x{}: "
                    "ingest with --size {}",
                    reader.layout().width, reader.layout().height, trained.config.stored_size,
                    trained.config.stored_size, trained.config.stored_size));
  const EvaluationScope scope = evaluation_scope(what, reader, trained);
  place_for_prediction(trained, device, precision);
  LoaderOptions options;
  options.image_size = trained.config.stored_size;
  options.workers = what.workers == 0 && device.is_cpu() ? 1 : what.workers;
  Judge judge(what, reader, scope.volumes, 0.5);
  predict_volumes(reader, scope.volumes, std::move(options), *trained.net, trained.config,
                  trained.config.stored_size / trained.config.image_size, kSlicesAtOnce, device,
                  precision, [&](const PredictedSlices& s) { judge.take(s); });
  return {std::move(judge.scores), scope.part, scope.left_out, scope.excluded, scope.trained_on};
}

}  // namespace

UNetEvaluation evaluate_unet(const UNetEvaluate& what) {
  try {
    at::set_num_threads(std::max(1, what.threads));
    return evaluate(what);
  } catch (const Error&) {
    throw;
  } catch (const std::exception& e) {
    throw readable_error(e);
  }
}

}  // namespace wsp::train

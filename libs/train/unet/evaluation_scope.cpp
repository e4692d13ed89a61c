#include "train/unet/evaluation_scope.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/core/log.hpp"
#include "io/manifest/manifest.hpp"
#include "train/unet/case_grid.hpp"

namespace wsp::train {
namespace {

using Volumes = std::vector<MaskedVolume>;

// In the liver's central slices there is no end of the liver to find, and no background to spare.
void need_all_slices(const std::filesystem::path& dataset, const Volumes& volumes) {
  const nlohmann::json about = load_json(dataset / "dataset.json");
  const auto config = about.find("config");
  if (config == about.end() || config->value("slices", "all") == "all") return;
  std::size_t liver = 0, background = 0;
  for (const MaskedVolume& volume : volumes) {
    liver += volume.liver.size();
    background += volume.background.size();
  }
  throw Error(ErrorCode::no_input,
              fmt::format("a liver network is judged on slices with liver and slices without: "
                          "expected every acquired slice, found the central ones, {} with liver and "
                          "{} without in {} volumes; make the dataset with wsp-ingest --slices all "
                          "--masks DIR",
                          liver, background, volumes.size()));
}

void leave_out_predicted(const std::filesystem::path& dataset, const DatasetReader& reader,
                         Volumes& volumes) {
  const std::size_t before = volumes.size();
  std::erase_if(volumes, [&](const MaskedVolume& volume) {
    return mask_source(dataset, reader, volume) == "segmenter";
  });
  const std::size_t predicted = before - volumes.size();
  if (predicted == 0) return;
  if (volumes.empty())
    throw Error(ErrorCode::no_input,
                fmt::format("the masks of all {} volumes were made by a model (wsp-ingest "
                            "--liver-model): expected masks that are known to be right; make the "
                            "dataset with wsp-ingest --slices all --masks DIR",
                            before));
  log::warn(fmt::format("{} of {} volumes have a mask that a model made, which is no truth: they are "
                        "left out",
                        predicted, before));
}

// Which subjects were trained on: as the weights say, else as the same dataset is split again.
std::optional<std::set<std::string>> marks_of(const TrainedUNet& trained,
                                              const DatasetReader& reader, bool same_dataset) {
  if (trained.trained_on || !same_dataset) return trained.trained_on;
  return subject_marks(
      select_volumes(reader, {trained.config.splits, trained.config.hold_back}).training);
}

}  // namespace

EvaluationScope evaluation_scope(const UNetEvaluate& what, const DatasetReader& reader,
                                 const TrainedUNet& trained) {
  EvaluationScope scope;
  scope.part = "all";
  scope.volumes = all_volumes(reader);
  need_all_slices(what.dataset, scope.volumes);
  leave_out_predicted(what.dataset, reader, scope.volumes);
  const bool same_dataset =
      hex(sha256_file(what.dataset / "dataset.json")) == trained.config.dataset_sha256;
  const auto marks = marks_of(trained, reader, same_dataset);
  if (!marks) {
    log::warn("these weights are of a version that did not keep which subjects they were trained "
              "on: whether they have seen volumes of this dataset cannot be known");
    return scope;
  }
  const auto seen = [&](const MaskedVolume& v) { return marks->contains(subject_mark(v.subject)); };
  const std::int64_t before = std::ssize(scope.volumes);
  const std::int64_t known = std::count_if(scope.volumes.begin(), scope.volumes.end(), seen);
  scope.trained_on = what.all ? known : 0;
  if (known == 0) return scope;
  if (what.all) {
    log::warn(fmt::format("the subjects of {} of these {} volumes are among those that the network "
                          "was trained on: their scores flatter it",
                          known, before));
    return scope;
  }
  scope.part = "held back";
  scope.left_out = known;
  std::erase_if(scope.volumes, seen);
  if (same_dataset)
    log::info(fmt::format("{} of {} volumes were trained on and are left out", known, before));
  else
    log::warn(fmt::format("this is another dataset than the one trained on, but the subjects of {} of "
                          "its {} volumes have names that the network was trained on: they are left "
                          "out; if they are other people, score them with --all",
                          known, before));
  if (scope.volumes.empty())
    throw Error(ErrorCode::no_input, "no volume was held back from training: evaluate on another "
                                     "dataset, or with --all on what the network has seen");
  return scope;
}

}  // namespace wsp::train

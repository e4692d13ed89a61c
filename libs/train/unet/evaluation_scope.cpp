#include "train/unet/evaluation_scope.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/core/log.hpp"
#include "io/manifest/manifest.hpp"
#include "train/data/rated_cases.hpp"
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
  throw Error(
      ErrorCode::no_input,
      fmt::format("a liver network is judged on slices with liver and slices without: "
                  "expected every acquired slice, found the central ones, {} with liver and "
                  "{} without in {} volumes; make the dataset with wsp-ingest --slices all "
                  "--masks DIR",
                  liver, background, volumes.size()));
}

void leave_out_predicted(const DatasetReader& reader, Volumes& volumes) {
  const std::size_t before = volumes.size();
  std::erase_if(volumes, [&](const MaskedVolume& volume) {
    return mask_source(reader, volume) == "segmenter";
  });
  const std::size_t predicted = before - volumes.size();
  if (predicted == 0) return;
  if (volumes.empty())
    throw Error(ErrorCode::no_input,
                fmt::format("the masks of all {} volumes were made by a model (wsp-ingest "
                            "--liver-model): expected masks that are known to be right; make the "
                            "dataset with wsp-ingest --slices all --masks DIR",
                            before));
  log::warn(
      fmt::format("{} of {} volumes have a mask that a model made, which is no truth: they are "
                  "left out",
                  predicted, before));
}

void leave_out_rated(const DatasetReader& reader, EvaluationScope& scope) {
  if (scope.excluded.empty()) return;
  const std::set<std::string> rated(scope.excluded.begin(), scope.excluded.end());
  const std::size_t before = scope.volumes.size();
  std::erase_if(scope.volumes, [&](const MaskedVolume& volume) {
    return rated.contains(reader.cases()[static_cast<std::size_t>(volume.case_id)].name);
  });
  log::info(fmt::format("{} of {} volumes are rated exclude and left out",
                        before - scope.volumes.size(), before));
  if (scope.volumes.empty())
    throw Error(ErrorCode::no_input, "every volume is rated exclude: nothing remains to be scored");
}

struct Marks {
  std::optional<std::set<std::string>> trained, chose;
};

// Which subjects were trained on and which chose the weights: as these say, else as the same
// dataset is split again.
Marks marks_of(const TrainedUNet& trained, const DatasetReader& reader, bool same_dataset) {
  Marks marks{trained.trained_on, trained.chosen_on};
  if (!same_dataset || (marks.trained && marks.chose)) return marks;
  const VolumeSet set = select_volumes(
      reader, {trained.config.splits, trained.config.hold_back, trained.config.exclude});
  if (!marks.trained) marks.trained = subject_marks(set.training);
  if (!marks.chose) marks.chose = subject_marks(set.validation);
  return marks;
}

// Of volumes that were not trained on: those that had no part in choosing the weights, else all of
// them as what they are.
void leave_out_validation(const std::set<std::string>& chose, EvaluationScope& scope) {
  const auto judged = [&](const MaskedVolume& v) {
    return chose.contains(subject_mark(v.subject));
  };
  const auto count = std::count_if(scope.volumes.begin(), scope.volumes.end(), judged);
  if (count == 0) return;
  if (count < std::ssize(scope.volumes)) {
    log::info(fmt::format(
        "{} volumes of subjects whose scores chose these weights among the epochs' are left out",
        count));
    scope.part = "held back";
    scope.left_out += count;
    std::erase_if(scope.volumes, judged);
    return;
  }
  scope.part = "validation";
  log::warn(fmt::format(
      "the scores of these {} volumes chose the weights among the epochs': they are validation "
      "scores, which "
      "flatter. For a test, evaluate on another dataset, or give some cases the split 'test'",
      count));
}

}  // namespace

EvaluationScope evaluation_scope(const UNetEvaluate& what, const DatasetReader& reader,
                                 const TrainedUNet& trained) {
  EvaluationScope scope;
  scope.part = "all";
  scope.volumes = all_volumes(reader);
  need_all_slices(what.dataset, scope.volumes);
  leave_out_predicted(reader, scope.volumes);
  const bool same_dataset =
      hex(sha256_file(what.dataset / "dataset.json")) == trained.config.dataset_sha256;
  if (!what.exclude.empty())
    scope.excluded = cases_rated_exclude(what.exclude, what.dataset, reader);
  else if (same_dataset)
    scope.excluded = trained.config.exclude;
  leave_out_rated(reader, scope);
  const auto marks = marks_of(trained, reader, same_dataset);
  if (!marks.trained) {
    log::warn(
        "these weights do not say which subjects they were trained on: they are of an earlier "
        "version, or began from an exported model. Whether they have seen volumes of this dataset "
        "cannot be known");
    return scope;
  }
  const auto seen = [&](const MaskedVolume& v) {
    return marks.trained->contains(subject_mark(v.subject));
  };
  const std::int64_t before = std::ssize(scope.volumes);
  const std::int64_t known = std::count_if(scope.volumes.begin(), scope.volumes.end(), seen);
  scope.trained_on = what.all ? known : 0;
  if (what.all) {
    if (known > 0)
      log::warn(
          fmt::format("the subjects of {} of these {} volumes are among those that the network "
                      "was trained on: their scores flatter it",
                      known, before));
    return scope;
  }
  scope.part = known > 0 ? "held back" : "all";
  scope.left_out = known;
  std::erase_if(scope.volumes, seen);
  if (known > 0 && same_dataset)
    log::info(fmt::format("{} of {} volumes were trained on and are left out", known, before));
  else if (known > 0)
    log::warn(
        fmt::format("this is another dataset than the one trained on, but the subjects of {} of "
                    "its {} volumes have names that the network was trained on: they are left "
                    "out; if they are other people, score them with --all",
                    known, before));
  if (scope.volumes.empty())
    throw Error(ErrorCode::no_input,
                "no volume was held back from training: evaluate on another "
                "dataset, or with --all on what the network has seen");
  if (marks.chose) leave_out_validation(*marks.chose, scope);
  return scope;
}

}  // namespace wsp::train

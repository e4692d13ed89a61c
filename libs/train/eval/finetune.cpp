#include "train/eval/finetune.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "io/core/error.hpp"
#include "io/core/log.hpp"
#include "io/shard/dataset.hpp"
#include "train/data/training_set.hpp"
#include "train/engine/train.hpp"
#include "train/eval/embed.hpp"
#include "train/eval/folds.hpp"

namespace wsp::train {
namespace {

// The dataset's subjects with a known diagnosis, without pixels: as make_cohort() will find them.
FeatureTable roster(const std::filesystem::path& dataset, bool include_flagged) {
  const DatasetReader reader(dataset);
  FeatureTable t;
  t.dimensions = 1;
  t.label_names = reader.layout().label_names;
  t.labels.resize(t.label_names.size());
  for (const IndexCase& entry : reader.cases()) {
    if ((!include_flagged && !depth_is_trusted(entry)) || entry.slice_count == 0) continue;
    t.values.push_back(0);
    t.case_id.push_back(static_cast<std::int32_t>(t.cases.size()));
    t.depth.push_back(0.5);
    t.content.push_back(0);
    t.cases.push_back({entry.name, entry.subject, 0, 0, "", ""});
    for (std::size_t l = 0; l < t.labels.size(); ++l) t.labels[l].push_back(entry.labels[l]);
  }
  return t;
}

}  // namespace

ProtocolResult finetune(const FinetuneOptions& o) {
  const FeatureTable known = roster(o.dataset, o.config.include_flagged);
  const Cohort planned = make_cohort({&known}, {o.diagnosis});
  const auto& positive = planned.set.positive;
  CrossValidation cv;
  cv.fold = {stratified_folds(positive, o.protocol.cv.folds, o.protocol.cv.seed, 0)};
  cv.probability = {std::vector<double>(positive.size())};
  cv.chosen_c = {std::vector<double>(static_cast<std::size_t>(o.protocol.cv.folds), o.protocol.cv.c)};
  Cohort last;
  for (int f = 0; f < o.protocol.cv.folds; ++f) {
    log::info(fmt::format("{}: fold {} of {}", o.name, f + 1, o.protocol.cv.folds));
    TrainConfig config = o.config;
    config.method = "supervised";
    config.label = known.label_names[label_index(known, o.diagnosis.label)];
    config.positive = o.diagnosis.positive;
    config.hold_back = 0;
    config.subjects.clear();
    std::vector<double> weight;
    for (std::size_t s = 0; s < positive.size(); ++s) {
      weight.push_back(cv.fold[0][s] == f ? 0 : 1);
      if (weight.back() > 0) config.subjects.push_back(planned.set.names[s]);
    }
    RunOptions run;
    run.dataset = o.dataset;
    run.out = o.out / fmt::format("fold-{}", f);
    run.init = o.init;
    run.resume = std::filesystem::exists(run.out);
    run.device = o.device;
    run.threads = o.threads;
    run.verify = false;
    run.probe_every = 0;
    run.tensorboard = false;
    run.command = "wsp-eval finetune";
    const TrainSummary summary = train(config, run);

    EmbedOptions embed;
    embed.dataset = o.dataset;
    embed.encoder = summary.weights;
    embed.labelled = o.diagnosis.label;
    embed.device = o.device;
    embed.threads = o.threads;
    embed.include_flagged = o.config.include_flagged;
    const FeatureTable features = embed_dataset(embed);
    last = make_cohort({&features}, {o.diagnosis});
    if (last.set.names != planned.set.names)
      throw Error(ErrorCode::failure, "the dataset changed while it was trained on: start again");
    LogisticFits fits(last.set);
    fits.prepare(o.protocol.cv.c);
    const std::vector<double> p = subject_probabilities(last.set, fits.fit(o.protocol.cv.c, weight, positive));
    std::vector<double> tested;
    std::vector<std::uint8_t> truth;
    for (std::size_t s = 0; s < positive.size(); ++s)
      if (cv.fold[0][s] == f) {
        cv.probability[0][s] = p[s];
        tested.push_back(p[s]);
        truth.push_back(positive[s]);
      }
    cv.scores.push_back(binary_scores(tested, truth));
  }
  return summarise(last, o.name, std::move(cv), o.protocol);
}

}  // namespace wsp::train

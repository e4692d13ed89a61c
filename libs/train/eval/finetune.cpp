#include "train/eval/finetune.hpp"

#include <fmt/format.h>

#include "io/core/error.hpp"
#include "io/core/log.hpp"
#include "train/data/rated_cases.hpp"
#include "train/eval/embed.hpp"
#include "train/eval/go_on.hpp"
#include "train/eval/left_out.hpp"
#include "train/eval/network_check.hpp"
#include "train/eval/overlap.hpp"
#include "train/eval/roster.hpp"
#include "train/stats/folds.hpp"

namespace wsp::train {
ProtocolResult finetune(const FinetuneOptions& o) {
  FeatureTable known = roster(o.dataset, o.config.include_flagged);
  leave_out_rated(known, o.exclude);
  const Cohort planned = make_cohort({&known}, {o.diagnosis});
  for (const std::string& remark : planned.remarks) log::warn(remark);
  std::vector<std::string> overlap;
  if (std::filesystem::is_regular_file(o.init)) {  // else train() says what is wrong
    FeatureTable seen = known;
    set_provenance(seen, weights_provenance(o.init));
    overlap = training_overlap(seen, planned.set.names);
    judge_overlap(overlap, o.allow_overlap);
  }
  const auto& positive = planned.set.positive;
  CrossValidation cv;
  cv.fold = {stratified_folds(positive, o.protocol.cv.folds, o.protocol.cv.seed, 0)};
  cv.probability = {std::vector<double>(positive.size())};
  cv.chosen_c = {
      std::vector<double>(static_cast<std::size_t>(o.protocol.cv.folds), o.protocol.cv.c)};
  (void)subgroups_by(planned, {&known}, o.by);  // before hours of training
  Cohort last;
  FeatureTable features;
  for (int f = 0; f < o.protocol.cv.folds; ++f) {
    log::info(fmt::format("{}: fold {} of {}", o.name, f + 1, o.protocol.cv.folds));
    TrainConfig config = o.config;
    config.method = "supervised";
    config.label = known.label_names[label_index(known, o.diagnosis.label)];
    config.positive = positive_classes(known, o.diagnosis)
                          .among(known.labels[label_index(known, o.diagnosis.label)]);
    config.hold_back = 0;
    config.splits.clear();
    if (!o.exclude.empty())
      config.exclude = cases_rated_exclude(o.exclude, o.dataset, DatasetReader(o.dataset));
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
    run.device = o.device;
    run.threads = o.threads;
    run.command = "wsp-eval finetune";
    const TrainSummary summary = train_or_go_on(config, run, o.force);

    EmbedOptions embed;
    embed.dataset = o.dataset;
    embed.exclude = o.exclude;
    embed.encoder = summary.weights;
    embed.labelled = o.diagnosis.label;
    embed.device = o.device;
    embed.precision = o.precision;
    embed.threads = o.threads;
    embed.include_flagged = o.config.include_flagged;
    features = embed_dataset(embed);
    last = make_cohort({&features}, {o.diagnosis});
    if (last.set.names != planned.set.names)
      throw Error(ErrorCode::failure, "the dataset changed while it was trained on: start again");
    LogisticFits fits(last.set);
    double& c = cv.chosen_c[0][static_cast<std::size_t>(f)];
    // In inner folds of the training subjects, as the probe chooses.
    for (const double candidate : o.protocol.cv.c_grid) fits.prepare(candidate);
    if (!o.protocol.cv.c_grid.empty())
      c = choose_c(last.set, fits, positive, weight, o.protocol.cv, f);
    fits.prepare(c);
    const std::vector<double> p = subject_probabilities(last.set, fits.fit(c, weight, positive));
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
  const std::vector<Subgroups> subgroups = subgroups_by(last, {&features}, o.by);
  HalfSamples halves = half_samples_of_scores(last.set, cv, o.protocol.cv.seed,
                                              o.protocol.divisions, groupings_of(subgroups));
  ProtocolResult result =
      summarise(last, o.name, std::move(cv), std::move(halves), o.protocol.sensitivity, subgroups);
  result.overlap = overlap;
  return result;
}

}  // namespace wsp::train

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
namespace {

// The subjects that a network was trained on before; refused unless allowed.
std::vector<std::string> overlap_of_weights(const FinetuneOptions& o, const FeatureTable& known,
                                            const Cohort& planned) {
  if (!std::filesystem::is_regular_file(o.init)) return {};  // train() says what is wrong
  FeatureTable seen = known;
  set_provenance(seen, weights_provenance(o.init));
  std::vector<std::string> overlap = training_overlap(seen, planned.set.names);
  judge_overlap(overlap, o.allow_overlap);
  return overlap;
}

// Train on the subjects whose weight is above 0, or go on; returns the encoder's file.
std::filesystem::path train_fold(const FinetuneOptions& o, int fold, const FeatureTable& known,
                                 const Cohort& planned, const std::vector<double>& weight) {
  TrainConfig config = o.config;
  config.method = "supervised";
  const std::size_t label = label_index(known, o.diagnosis.label);
  config.label = known.label_names[label];
  config.positive = positive_classes(known, o.diagnosis).among(known.labels[label]);
  config.hold_back = 0;
  config.splits.clear();
  if (!o.exclude.empty())
    config.exclude = cases_rated_exclude(o.exclude, o.dataset, DatasetReader(o.dataset));
  config.subjects.clear();
  for (std::size_t s = 0; s < weight.size(); ++s)
    if (weight[s] > 0) config.subjects.push_back(planned.set.names[s]);
  RunOptions run;
  run.dataset = o.dataset;
  run.out = o.out / fmt::format("fold-{}", fold);
  run.init = o.init;
  run.device = o.device;
  run.threads = o.threads;
  run.command = "wsp-eval finetune";
  return train_or_go_on(config, run, o.force).weights;
}

FeatureTable embed_fold(const FinetuneOptions& o, const std::filesystem::path& encoder) {
  EmbedOptions embed;
  embed.dataset = o.dataset;
  embed.exclude = o.exclude;
  embed.encoder = encoder;
  embed.labelled = o.diagnosis.label;
  embed.device = o.device;
  embed.precision = o.precision;
  embed.threads = o.threads;
  embed.include_flagged = o.config.include_flagged;
  return embed_dataset(embed);
}

// Fit the last layer anew on a fold's training subjects, and score the others.
void score_fold(const FinetuneOptions& o, int fold, const ProbeSet& set,
                const std::vector<std::uint8_t>& positive, const std::vector<double>& weight,
                CrossValidation& cv) {
  LogisticFits fits(set);
  double& c = cv.chosen_c[0][static_cast<std::size_t>(fold)];
  // In inner folds of the training subjects, as the probe chooses.
  for (const double candidate : o.protocol.cv.c_grid) fits.prepare(candidate);
  if (!o.protocol.cv.c_grid.empty()) c = choose_c(set, fits, positive, weight, o.protocol.cv, fold);
  fits.prepare(c);
  const std::vector<double> p = subject_probabilities(set, fits.fit(c, weight, positive));
  std::vector<double> tested;
  std::vector<std::uint8_t> truth;
  for (std::size_t s = 0; s < positive.size(); ++s)
    if (cv.fold[0][s] == fold) {
      cv.probability[0][s] = p[s];
      tested.push_back(p[s]);
      truth.push_back(positive[s]);
    }
  cv.scores.push_back(binary_scores(tested, truth));
}

}  // namespace

ProtocolResult finetune(const FinetuneOptions& o) {
  FeatureTable known = roster(o.dataset, o.config.include_flagged);
  leave_out_rated(known, o.exclude);
  const Cohort planned = make_cohort({&known}, {o.diagnosis});
  for (const std::string& remark : planned.remarks) log::warn(remark);
  const std::vector<std::string> overlap = overlap_of_weights(o, known, planned);
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
    std::vector<double> weight;
    for (const auto fold : cv.fold[0]) weight.push_back(fold == f ? 0 : 1);
    features = embed_fold(o, train_fold(o, f, known, planned, weight));
    last = make_cohort({&features}, {o.diagnosis});
    if (last.set.names != planned.set.names)
      throw Error(ErrorCode::failure, "the dataset changed while it was trained on: start again");
    score_fold(o, f, last.set, positive, weight, cv);
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

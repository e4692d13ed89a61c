#include "train/pretrain/probe.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "io/core/error.hpp"
#include "train/pretrain/logistic.hpp"

namespace wsp::train {
namespace {

// Rows of the similarity matrix that are in memory at once.
constexpr std::int64_t kTile = 512;

// The labelled slices, in float64 on the CPU.
ProbeSlices labelled(const ProbeSlices& all, const char* which) {
  const auto n = static_cast<std::int64_t>(all.label.size());
  if (all.features.dim() != 2 || all.features.size(0) != n ||
      all.subject.size() != all.label.size())
    throw Error(ErrorCode::failure,
                fmt::format("probe: {} labels and {} subjects do not fit the {} features", n,
                            all.subject.size(), which));
  ProbeSlices kept;
  std::vector<std::int64_t> rows;
  for (std::size_t i = 0; i < all.label.size(); ++i) {
    if (all.label[i] < 0) continue;
    rows.push_back(static_cast<std::int64_t>(i));
    kept.label.push_back(all.label[i]);
    kept.subject.push_back(all.subject[i]);
  }
  kept.features = all.features.detach()
                      .to(torch::kCPU, torch::kFloat64)
                      .index_select(0, torch::tensor(rows, torch::kInt64));
  if (!torch::isfinite(kept.features).all().item<bool>())
    throw Error(ErrorCode::failure,
                fmt::format("probe: the {} features hold values that are not finite", which));
  return kept;
}

SubjectScores score(const torch::Tensor& probability, const std::vector<std::int64_t>& classes,
                    const ProbeSlices& slices) {
  const torch::Tensor p = probability.contiguous();
  return score_subjects(
      average_by_subject({p.data_ptr<double>(), static_cast<std::size_t>(p.numel())}, classes,
                         slices.label, slices.subject));
}

torch::Tensor unit_length_on_cpu(const torch::Tensor& x) {
  const torch::Tensor values = x.detach().to(torch::kCPU, torch::kFloat64);
  return values / values.norm(2, {1}, true).clamp_min(1e-12);
}

}  // namespace

torch::Tensor knn_probabilities(const torch::Tensor& features,
                                const std::vector<std::int64_t>& label, std::int64_t classes,
                                const torch::Tensor& queries, const ProbeOptions& options) {
  const torch::NoGradGuard no_grad;
  if (options.neighbours < 1 || !(options.neighbour_temperature > 0))
    throw Error(ErrorCode::usage,
                "the nearest-neighbour probe needs at least one neighbour and a "
                "temperature above 0");
  const torch::Tensor known = unit_length_on_cpu(features);
  const torch::Tensor asked = unit_length_on_cpu(queries);
  const torch::Tensor known_label = torch::tensor(label, torch::kInt64);
  const std::int64_t k = std::min(options.neighbours, known.size(0));
  const std::int64_t m = asked.size(0);
  torch::Tensor votes = torch::zeros({m, classes}, torch::kFloat64);
  for (std::int64_t begin = 0; begin < m; begin += kTile) {
    const std::int64_t end = std::min(begin + kTile, m);
    const auto [cosine, index] = asked.slice(0, begin, end).matmul(known.t()).topk(k, 1);
    // Relative to the nearest, so that no temperature can overflow.
    const torch::Tensor weight =
        torch::exp((cosine - cosine.narrow(1, 0, 1)) / options.neighbour_temperature);
    const torch::Tensor neighbour_label =
        known_label.index_select(0, index.flatten()).view_as(index);
    votes.slice(0, begin, end).scatter_add_(1, neighbour_label, weight);
  }
  return votes / votes.sum(1, true);
}

ProbeResult run_probe(const ProbeSlices& train_slices, const ProbeSlices& held_back_slices,
                      const ProbeOptions& options) {
  const torch::NoGradGuard no_grad;
  const ProbeSlices train = labelled(train_slices, "training");
  const ProbeSlices held_back = labelled(held_back_slices, "held-back");
  ProbeResult result;
  result.train_slices = static_cast<std::int64_t>(train.label.size());
  result.held_back_slices = static_cast<std::int64_t>(held_back.label.size());
  result.knn = result.logistic = score_subjects({});
  if (train.label.empty() || held_back.label.empty()) return result;
  if (train.features.size(1) != held_back.features.size(1))
    throw Error(ErrorCode::failure,
                fmt::format("probe: training features of {} dimensions, held-back "
                            "ones of {}",
                            train.features.size(1), held_back.features.size(1)));
  const std::set<std::int32_t> seen(train.subject.begin(), train.subject.end());
  for (const std::int32_t subject : held_back.subject)
    if (seen.contains(subject))
      throw Error(ErrorCode::failure,
                  fmt::format("probe: subject {} is in training and held back", subject));

  const std::set<std::int64_t> distinct(train.label.begin(), train.label.end());
  const std::vector<std::int64_t> classes(distinct.begin(), distinct.end());
  std::vector<std::int64_t> index;
  for (const std::int64_t label : train.label)
    index.push_back(std::lower_bound(classes.begin(), classes.end(), label) - classes.begin());
  result.knn =
      score(knn_probabilities(train.features, index, static_cast<std::int64_t>(classes.size()),
                              held_back.features, options),
            classes, held_back);

  result.logistic.subjects = result.knn.subjects;
  if (classes.size() < 2) return result;
  const Standardiser standardiser = Standardiser::fit(train.features);
  const LogisticModel model =
      fit_logistic(standardiser.apply(train.features), train.label, {.c = options.c});
  result.logistic =
      score(model.probabilities(standardiser.apply(held_back.features)), model.classes, held_back);
  return result;
}

}  // namespace wsp::train

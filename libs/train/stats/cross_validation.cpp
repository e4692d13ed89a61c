#include "train/stats/cross_validation.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "io/core/counter_rng.hpp"
#include "io/core/error.hpp"
#include "io/core/interrupt.hpp"
#include "io/core/parallel.hpp"
#include "train/stats/folds.hpp"
#include "train/stats/neighbours.hpp"
#include "train/stats/subject_scores.hpp"

namespace wsp::train {
namespace {

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

double log_loss(double p, bool positive) {
  const double kept = std::clamp(p, 1e-15, 1 - 1e-15);
  return -std::log(positive ? kept : 1 - kept);
}

// With every slice of the training part a neighbour, the vote is the classes' share of slices.
void refuse_too_many_neighbours(const ProbeSet& set, const std::vector<std::vector<int>>& fold,
                                const CrossValidationOptions& o) {
  for (const std::vector<int>& part : fold)
    for (int f = 0; f < o.folds; ++f) {
      std::int64_t slices = 0;
      for (std::size_t s = 0; s < part.size(); ++s)
        if (part[s] >= 0 && part[s] != f) slices += set.first[s + 1] - set.first[s];
      if (o.neighbours >= slices)
        throw Error(
            ErrorCode::usage,
            fmt::format("--knn is {}, but a training part has {} slices: take fewer, e.g. 20",
                        o.neighbours, slices));
    }
}

}  // namespace

double choose_c(const ProbeSet& set, const LogisticFits& fits,
                std::span<const std::uint8_t> positive, const std::vector<double>& outside,
                const CrossValidationOptions& o, int job) {
  // Streams of inner folds lie apart from those of the outer ones.
  const std::uint64_t stream = (std::uint64_t{1} << 32) + static_cast<std::uint64_t>(job);
  std::vector<std::size_t> inside;
  std::vector<std::uint8_t> truth;
  for (std::size_t s = 0; s < outside.size(); ++s)
    if (outside[s] > 0) {
      inside.push_back(s);
      truth.push_back(positive[s]);
    }
  const std::vector<int> inner = stratified_folds(truth, o.folds, o.seed, stream);
  std::vector<std::vector<double>> weight(at(o.folds), std::vector<double>(outside.size()));
  for (std::size_t f = 0; f < weight.size(); ++f)
    for (std::size_t i = 0; i < inside.size(); ++i)
      weight[f][inside[i]] = inner[i] == static_cast<int>(f) ? 0 : 1;
  std::vector<double> loss(o.c_grid.size());
  std::vector<BinaryModel> last;  // of each inner fold: where the next C begins
  for (std::size_t k = 0; k < o.c_grid.size(); ++k) {
    std::vector<LogisticRequest> requests;
    for (std::size_t f = 0; f < weight.size(); ++f)
      requests.push_back({o.c_grid[k], weight[f], positive, last.empty() ? nullptr : &last[f]});
    last = fits.fit_all(requests);
    for (std::size_t f = 0; f < weight.size(); ++f) {
      const std::vector<double> p = subject_probabilities(set, last[f]);
      for (std::size_t i = 0; i < inside.size(); ++i)
        if (inner[i] == static_cast<int>(f)) loss[k] += log_loss(p[inside[i]], truth[i] != 0);
    }
  }
  return o.c_grid[at(std::min_element(loss.begin(), loss.end()) - loss.begin())];
}

std::vector<double> default_c_grid() { return {1e-4, 1e-3, 1e-2, 1e-1, 1, 1e1, 1e2}; }

double CrossValidation::mean_auc() const {
  std::vector<double> values;
  for (const BinaryScores& s : scores) values.push_back(s.auc);
  return mean(values);
}

CrossValidation cross_validate(const ProbeSet& set, LogisticFits& fits,
                               std::span<const std::uint8_t> positive,
                               const CrossValidationOptions& options) {
  std::vector<std::vector<int>> fold;
  for (int r = 0; r < options.repeats; ++r)
    fold.push_back(stratified_folds(positive, options.folds, options.seed,
                                    static_cast<std::uint64_t>(r), set.dataset));
  return cross_validate_in(set, fits, positive, fold, options);
}

CrossValidation cross_validate_in(const ProbeSet& set, LogisticFits& fits,
                                  std::span<const std::uint8_t> positive,
                                  const std::vector<std::vector<int>>& fold,
                                  CrossValidationOptions o) {
  o.repeats = static_cast<int>(fold.size());
  o.folds = *std::max_element(fold.at(0).begin(), fold.at(0).end()) + 1;
  if (o.neighbours > 0) refuse_too_many_neighbours(set, fold, o);
  if (o.neighbours == 0) {
    if (o.c_grid.empty()) fits.prepare(o.c);
    for (const double c : o.c_grid) fits.prepare(c);
  }
  const std::int64_t n = set.subjects();
  CrossValidation cv;
  cv.fold = fold;
  cv.probability.assign(at(o.repeats), std::vector<double>(at(n)));
  cv.chosen_c.assign(at(o.repeats), std::vector<double>(at(o.folds), o.c));
  cv.scores.resize(at(o.repeats) * at(o.folds));
  const auto outside_of = [&](int job) {
    const std::vector<int>& part = cv.fold[at(job / o.folds)];
    std::vector<double> weight(at(n));
    for (std::size_t s = 0; s < at(n); ++s)
      weight[s] = part[s] < 0 || part[s] == job % o.folds ? 0 : 1;
    return weight;
  };
  if (o.neighbours == 0 && !o.c_grid.empty())
    wsp::parallel_loop(0, o.repeats * o.folds, [&](int job) {
      cv.chosen_c[at(job / o.folds)][at(job % o.folds)] =
          choose_c(set, fits, positive, outside_of(job), o, job);
    });
  wsp::parallel_loop(0, o.repeats, [&](int repeat) {
    const std::size_t r = at(repeat);
    std::vector<std::vector<double>> weight;
    std::vector<LogisticRequest> requests;
    for (int f = 0; f < o.folds; ++f) weight.push_back(outside_of(repeat * o.folds + f));
    for (std::size_t f = 0; f < weight.size(); ++f)
      requests.push_back({cv.chosen_c[r][f], weight[f], positive});
    std::vector<BinaryModel> models;
    if (o.neighbours == 0) models = fits.fit_all(requests);
    wsp::parallel_loop(0, o.folds, [&](int f) {
      const std::vector<double> p =
          o.neighbours > 0 ? neighbour_probabilities(set, positive, weight[at(f)], o.neighbours)
                           : subject_probabilities(set, models[at(f)]);
      std::vector<double> tested;
      std::vector<std::uint8_t> truth;
      for (std::size_t s = 0; s < at(n); ++s) {
        if (cv.fold[r][s] != f) continue;
        cv.probability[r][s] = p[s];
        tested.push_back(p[s]);
        truth.push_back(positive[s]);
      }
      cv.scores[at(repeat * o.folds + f)] = binary_scores(tested, truth);
    });
  });
  return cv;
}

Permutation permute_labels(const ProbeSet& set, LogisticFits& fits, const CrossValidation& observed,
                           CrossValidationOptions o, int samples) {
  o.repeats = 1;
  if (o.neighbours == 0 && o.c_grid.empty()) fits.prepare(o.c);
  for (const double c : o.c_grid) fits.prepare(c);
  std::vector<double> first;
  for (int f = 0; f < o.folds; ++f) first.push_back(observed.scores[at(f)].auc);
  const double reached = mean(first);
  std::map<int, std::vector<std::size_t>> members_of;
  for (std::size_t s = 0; s < set.positive.size(); ++s)
    members_of[set.dataset.empty() ? 0 : set.dataset[s]].push_back(s);
  std::vector<std::vector<std::size_t>> datasets;
  for (auto& [number, members] : members_of) datasets.push_back(std::move(members));
  std::vector<double> null(at(samples));
  wsp::parallel_loop(0, samples, [&](int i) {
    stop_if_interrupted("run again; nothing was written");
    // Within each dataset: what tells only the datasets apart, whose prevalences differ, knows no
    // diagnosis.
    std::vector<std::uint8_t> shuffled(set.positive);
    CounterRng rng(o.seed, {0x7065726d, static_cast<std::uint64_t>(i)});
    for (const std::vector<std::size_t>& members : datasets)
      for (std::size_t k = members.size(); k > 1; --k)
        std::swap(shuffled[members[k - 1]], shuffled[members[rng.below(k)]]);
    null[at(i)] = cross_validate(set, fits, shuffled, o).mean_auc();
  });
  Permutation result;
  result.samples = samples;
  result.null = {quantile(null, 0.025), quantile(null, 0.975)};
  result.null_mean = mean(null);
  const auto as_good =
      std::count_if(null.begin(), null.end(), [&](double a) { return a >= reached - 1e-12; });
  result.p = (1 + static_cast<double>(as_good)) / (1 + static_cast<double>(samples));
  return result;
}

}  // namespace wsp::train

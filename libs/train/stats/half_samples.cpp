#include "train/stats/half_samples.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>

#include "io/core/error.hpp"
#include "io/core/interrupt.hpp"
#include "io/core/parallel.hpp"
#include "train/stats/curves.hpp"
#include "train/stats/folds.hpp"

namespace wsp::train {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
// Streams of the divisions and of the folds in their halves, apart from those of other folds.
constexpr std::uint64_t kDivisions = std::uint64_t{1} << 40, kFolds = std::uint64_t{1} << 41;

struct Classes {
  std::int64_t positives = 0, negatives = 0;
  [[nodiscard]] std::int64_t smaller() const { return std::min(positives, negatives); }
};

std::size_t groups_in(const std::vector<int>& group) {
  return static_cast<std::size_t>(1 + *std::max_element(group.begin(), group.end()));
}

Classes classes_of(std::span<const std::uint8_t> positive) {
  const auto positives =
      std::count_if(positive.begin(), positive.end(), [](std::uint8_t p) { return p != 0; });
  return {positives, static_cast<std::int64_t>(positive.size()) - positives};
}

HalfSamples empty_samples(const ProbeSet& set, const CrossValidation& whole, int divisions,
                          const Groupings& groupings, bool refitted) {
  const Classes classes = classes_of(set.positive);
  HalfSamples h;
  h.refitted = refitted;
  h.positives = static_cast<double>(classes.positives);
  h.negatives = static_cast<double>(classes.negatives);
  h.folds = *std::max_element(whole.fold.front().begin(), whole.fold.front().end()) + 1;
  h.half_folds = static_cast<int>(std::min<std::int64_t>(h.folds, classes.smaller() / 2));
  if (h.half_folds < 2) return h;
  if (!refitted) h.half_folds = h.folds;  // those of the whole, thinned
  h.scores = {whole.fold.front(), set.positive, {whole.probability.front()}};
  for (HalfSamples::Pairs* pairs : {&h.auc, &h.balanced_accuracy, &h.brier})
    pairs->resize(static_cast<std::size_t>(divisions));
  h.roc.resize(static_cast<std::size_t>(divisions));
  if (std::adjacent_find(set.dataset.begin(), set.dataset.end(), std::not_equal_to<>()) !=
      set.dataset.end())
    h.within.resize(static_cast<std::size_t>(divisions));
  for (const std::vector<int>& group : groupings)
    h.groups.insert(h.groups.end(), groups_in(group), HalfSamples::Pairs(h.auc.size()));
  return h;
}

std::vector<int> halves_of(const ProbeSet& set, std::uint64_t seed, std::size_t division) {
  return stratified_folds(set.positive, 2, seed, kDivisions + division, set.dataset);
}

void keep(HalfSamples& h, std::size_t division, std::size_t half, const CrossValidation& cv,
          const ProbeSet& set, const Groupings& groupings) {
  const auto mean_over_folds = [&](double BinaryScores::*measure) {
    std::vector<double> values;
    for (const BinaryScores& s : cv.scores) values.push_back(s.*measure);
    return mean(values);
  };
  h.auc[division][half] = mean_over_folds(&BinaryScores::auc);
  h.balanced_accuracy[division][half] = mean_over_folds(&BinaryScores::balanced_accuracy);
  h.brier[division][half] = mean_over_folds(&BinaryScores::brier);
  h.roc[division][half] = roc_curve(cv, set.positive);
  std::size_t place = 0;
  for (const std::vector<int>& group : groupings)
    for (std::size_t g = 0; g < groups_in(group); ++g)
      h.groups[place++][division][half] =
          subgroup_auc(cv, set.positive, set.dataset, group, static_cast<int>(g));
  if (!h.within.empty())
    h.within[division][half] = within_datasets_auc(cv, set.positive, set.dataset);
}

// Folds of one half's subjects, -1 for the others.
std::vector<int> folds_in(const ProbeSet& set, const std::vector<int>& halves, int half, int folds,
                          std::uint64_t seed, std::uint64_t stream) {
  std::vector<std::size_t> inside;
  std::vector<std::uint8_t> positive;
  std::vector<int> dataset;
  for (std::size_t s = 0; s < halves.size(); ++s)
    if (halves[s] == half) {
      inside.push_back(s);
      positive.push_back(set.positive[s]);
      if (!set.dataset.empty()) dataset.push_back(set.dataset[s]);
    }
  const std::vector<int> part = stratified_folds(positive, folds, seed, stream, dataset);
  std::vector<int> fold(halves.size(), -1);
  for (std::size_t i = 0; i < inside.size(); ++i) fold[inside[i]] = part[i];
  return fold;
}

// Variance of the mean over folds of an AUC, as Hanley and McNeil have it for exponential scores
// and Newcombe 2006 (method 5) with the mean of the class sizes: over auc (1 - auc), and itself.
double spread(double auc, double positives, double negatives, int folds) {
  const double m = positives / folds, n = negatives / folds, more = std::max(0.0, (m + n) / 2 - 1);
  return (1 + more * ((1 - auc) / (2 - auc) + auc / (1 + auc))) / (m * n * folds);
}

double shape(double auc, double positives, double negatives, int folds) {
  return auc * (1 - auc) * spread(auc, positives, negatives, folds);
}

double mean_square(const HalfSamples::Pairs& a, const HalfSamples::Pairs* b) {
  double sum = 0, count = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double d = a[i][0] - a[i][1] - (b != nullptr ? (*b)[i][0] - (*b)[i][1] : 0);
    if (std::isnan(d)) continue;
    sum += d * d;
    count += 1;
  }
  return count > 0 ? sum / count : kNone;
}

double middle(const HalfSamples::Pairs& pairs) {
  std::vector<double> values;
  for (const auto& pair : pairs) values.insert(values.end(), pair.begin(), pair.end());
  return mean(values);
}

// The furthest value from one towards an end that is not refused.
double edge(double value, double end, const std::function<bool(double)>& held) {
  double in = value, out = end;
  for (int i = 0; i < 60 && in != out; ++i) {
    const double middle = (in + out) / 2;
    (held(middle) ? in : out) = middle;
  }
  return in;
}

// All values within [0, 1] from which one lies no further than t of their own standard errors, or
// than one_sided where nothing could lie as far on the other side: beyond 0 and 1 there is nothing.
Interval score_interval(double value, double t, double one_sided,
                        const std::function<double(double)>& variance) {
  const auto held = [&](double v) {
    const double mirrored = 2 * v - value;
    return std::abs(value - v) <=
           (mirrored < 0 || mirrored > 1 ? one_sided : t) * std::sqrt(variance(v));
  };
  return {edge(value, 0, held), edge(value, 1, held)};
}

// The scale on which an AUC's variance is spread() / 4.
double stabilised(double auc) { return std::asin(std::sqrt(std::clamp(auc, 0.0, 1.0))); }

double shape(double auc, const HalfSamples& h) {
  return shape(auc, h.positives, h.negatives, h.folds);
}

// The shape's variance in a half where that part of a pair is all that is lost.
double least(const HalfSamples& h, double pair) {
  const double m = h.positives / 2, n = h.negatives / 2;
  return shape(1 - pair * h.half_folds / (m * n), m, n, h.half_folds);
}

// How many times the shape's the halves' variance is. What one pair less of a half's would give is
// added to both: halves that separate all do not vouch for a variance of 0.
double inflation(double variance, double auc_of_halves, const HalfSamples& h) {
  const double floor = least(h, 1);
  return (variance + floor) /
         (shape(auc_of_halves, h.positives / 2, h.negatives / 2, h.half_folds) + floor);
}

double freedom(const HalfSamples& h) { return std::min(h.positives, h.negatives) - 1; }

// Of a sum of both classes' variances (Satterthwaite 1946), every subject varying alike.
double freedom_of_both(const HalfSamples& h) {
  const double a = 1 / h.positives, b = 1 / h.negatives;
  return (a + b) * (a + b) / (a * a / (h.positives - 1) + b * b / (h.negatives - 1));
}

// Variance of a difference in the whole over that in a half, at the same AUC: 1/2 where it hangs on
// subjects, 1/4 where on single pairs, for equally many folds. Equal orders do not say.
double whole_over_half(const HalfSamples& a, const HalfSamples& b) {
  const PairVariance pairs = pair_variance(a.scores, &b.scores);
  const double half = pairs.of_mean_auc(a.positives / 2, a.negatives / 2, a.half_folds);
  return half > 0 ? pairs.of_mean_auc(a.positives, a.negatives, a.folds) / half : 0.5;
}

}  // namespace

HalfSamples half_samples(const ProbeSet& set, LogisticFits& fits, const CrossValidation& whole,
                         CrossValidationOptions o, int divisions, const Groupings& groupings) {
  HalfSamples h = empty_samples(set, whole, divisions, groupings, true);
  if (!o.c_grid.empty()) o.c = quantile(whole.chosen_c.front(), 0.5);
  o.c_grid.clear();
  if (o.neighbours == 0) fits.prepare(o.c);
  o.neighbours = (o.neighbours + 1) / 2;  // of half as many slices
  wsp::parallel_loop(std::size_t{0}, h.auc.size(), [&](std::size_t division) {
    stop_if_interrupted("run again; nothing was written");
    const std::vector<int> halves = halves_of(set, o.seed, division);
    for (int half = 0; half < 2; ++half) {
      std::vector<std::vector<int>> fold;
      for (std::size_t r = 0; r < whole.fold.size(); ++r)
        fold.push_back(folds_in(
            set, halves, half, h.half_folds, o.seed,
            kFolds + (division * 2 + static_cast<std::size_t>(half)) * whole.fold.size() + r));
      keep(h, division, static_cast<std::size_t>(half),
           cross_validate_in(set, fits, set.positive, fold, o), set, groupings);
    }
  });
  return h;
}

HalfSamples half_samples_of_scores(const ProbeSet& set, const CrossValidation& whole,
                                   std::uint64_t seed, int divisions, const Groupings& groupings) {
  HalfSamples h = empty_samples(set, whole, divisions, groupings, false);
  for (std::size_t division = 0; division < h.auc.size(); ++division) {
    const std::vector<int> halves = halves_of(set, seed, division);
    for (int half = 0; half < 2; ++half) {
      CrossValidation part = whole;
      part.scores.clear();
      for (std::vector<int>& fold : part.fold)
        for (std::size_t s = 0; s < fold.size(); ++s)
          if (halves[s] != half) fold[s] = -1;
      for (std::size_t r = 0; r < part.fold.size(); ++r)
        for (int f = 0; f < h.folds; ++f) {
          std::vector<double> p;
          std::vector<std::uint8_t> truth;
          for (std::size_t s = 0; s < part.fold[r].size(); ++s)
            if (part.fold[r][s] == f) {
              p.push_back(part.probability[r][s]);
              truth.push_back(set.positive[s]);
            }
          part.scores.push_back(binary_scores(p, truth));
        }
      keep(h, division, static_cast<std::size_t>(half), part, set, groupings);
    }
  }
  return h;
}

HalfSamples mean_of(const std::vector<HalfSamples>& several) {
  HalfSamples all = several.at(0);
  all.roc.clear();
  all.groups.clear();
  for (std::size_t i = 1; i < several.size(); ++i)
    all.scores.of.insert(all.scores.of.end(), several[i].scores.of.begin(),
                         several[i].scores.of.end());
  for (HalfSamples::Pairs HalfSamples::*pairs : {&HalfSamples::auc, &HalfSamples::balanced_accuracy,
                                                 &HalfSamples::brier, &HalfSamples::within}) {
    if (std::any_of(several.begin(), several.end(), [&](const HalfSamples& one) {
          return (one.*pairs).size() != (all.*pairs).size();
        }))
      (all.*pairs).clear();
    for (std::size_t i = 0; i < (all.*pairs).size(); ++i)
      for (std::size_t half = 0; half < 2; ++half) {
        double sum = 0;
        for (const HalfSamples& one : several) sum += (one.*pairs)[i][half];
        (all.*pairs)[i][half] = sum / static_cast<double>(several.size());
      }
  }
  return all;
}

Interval auc_interval(double auc, const HalfSamples& h, const HalfSamples::Pairs& pairs) {
  const double variance = mean_square(pairs, nullptr) / 2;
  if (std::isnan(variance) || std::isnan(auc)) return {kNone, kNone};
  const double size = inflation(variance, middle(pairs), h);
  return score_interval(auc, student_quantile(freedom(h)), student_quantile(freedom(h), 0.1),
                        [&](double value) { return size * shape(value, h); });
}

std::vector<Interval> roc_band(const std::vector<double>& curve, const HalfSamples& h) {
  if (h.roc.empty()) return {};
  std::vector<Interval> band;
  const double m = h.positives / 2, least = (1 - 1 / m) / (m * m), t = student_quantile(freedom(h));
  for (std::size_t k = 0; k < curve.size(); ++k) {
    HalfSamples::Pairs pairs;
    for (const auto& both : h.roc) pairs.push_back({both[0][k], both[1][k]});
    const double p = middle(pairs),
                 size = (mean_square(pairs, nullptr) / 2 + least) / (p * (1 - p) / m + least);
    band.push_back(score_interval(
        curve[k], t, t, [&](double value) { return size * value * (1 - value) / h.positives; }));
  }
  return band;
}

Interval mean_interval(double value, const HalfSamples& h, const HalfSamples::Pairs& pairs) {
  const double reach = student_quantile(freedom(h)) * std::sqrt(mean_square(pairs, nullptr) / 4);
  if (std::isnan(reach)) return {kNone, kNone};
  return {std::max(0.0, value - reach), std::min(1.0, value + reach)};
}

PairedDifference paired_difference(double auc_a, const HalfSamples& a, double auc_b,
                                   const HalfSamples& b) {
  if (a.auc.size() != b.auc.size() || a.positives != b.positives || a.negatives != b.negatives ||
      a.scores.fold != b.scores.fold)
    throw Error(ErrorCode::failure,
                "a paired comparison needs the same subjects, folds and divisions on both sides");
  PairedDifference result{auc_a - auc_b, {kNone, kNone}, kNone};
  const double variance = mean_square(a.auc, &b.auc) / 2;
  if (std::isnan(variance)) return result;
  const double half = (middle(a.auc) + middle(b.auc)) / 2, both = (auc_a + auc_b) / 2;
  const double apart = stabilised(auc_a) - stabilised(auc_b);
  const double of_one = spread(half, a.positives / 2, a.negatives / 2, a.half_folds),
               size = std::max(variance, least(a, 0.5)) /
                      std::max(half * (1 - half) * of_one, least(a, 0.5));
  const double error = std::sqrt(size * of_one / 4 * whole_over_half(a, b));
  // In standard errors. Two AUC that differ by d have a mean of |d| / 2 to 1 - |d| / 2: where both
  // are 1, a difference is not impossible.
  const auto distance = [&](double d) {
    const double at = std::clamp(both, std::abs(d) / 2, 1 - std::abs(d) / 2);
    return (apart - (stabilised(at + d / 2) - stabilised(at - d / 2))) / error;
  };
  const double t = student_quantile(freedom_of_both(a));
  const auto held = [&](double d) { return std::abs(distance(d)) <= t; };
  result.interval = {edge(result.difference, -1, held), edge(result.difference, 1, held)};
  result.p = apart == 0 ? 1 : student_tail(distance(0), freedom_of_both(a));
  return result;
}

double subgroup_auc(const CrossValidation& cv, std::span<const std::uint8_t> positive,
                    std::span<const int> dataset, std::span<const int> group, int number) {
  CrossValidation among = cv;
  for (std::vector<int>& fold : among.fold)
    for (std::size_t s = 0; s < fold.size(); ++s)
      if (group[s] != number) fold[s] = -1;
  const std::vector<int> one(dataset.empty() ? positive.size() : 0);
  return within_datasets_auc(among, positive,
                             dataset.empty() ? std::span<const int>(one) : dataset);
}

double within_datasets_auc(const CrossValidation& cv, std::span<const std::uint8_t> positive,
                           std::span<const int> dataset) {
  struct Sums {
    double won = 0, pairs = 0, positives = 0, negatives = 0;
  };
  std::map<int, Sums> of;
  for (std::size_t r = 0; r < cv.fold.size(); ++r)
    for (std::size_t i = 0; i < positive.size(); ++i) {
      if (cv.fold[r][i] < 0) continue;
      Sums& sums = of[dataset[i]];
      (positive[i] != 0 ? sums.positives : sums.negatives) += 1;
      for (std::size_t j = 0; j < positive.size() && positive[i] != 0; ++j) {
        if (positive[j] != 0 || dataset[j] != dataset[i] || cv.fold[r][j] != cv.fold[r][i])
          continue;
        const double a = cv.probability[r][i], b = cv.probability[r][j];
        sums.won += a > b ? 1 : a == b ? 0.5 : 0;
        sums.pairs += 1;
      }
    }
  const auto repeats = static_cast<double>(cv.fold.size());
  double sum = 0, weights = 0;
  for (const auto& [number, s] : of) {
    if (s.pairs == 0) continue;
    const double m = s.positives / repeats, n = s.negatives / repeats, weight = m * n / (m + n + 1);
    sum += weight * s.won / s.pairs;
    weights += weight;
  }
  return weights > 0 ? sum / weights : kNone;
}

}  // namespace wsp::train

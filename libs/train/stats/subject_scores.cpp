#include "train/stats/subject_scores.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>
#include <numeric>
#include <set>
#include <utility>

#include "io/core/error.hpp"

namespace wsp::train {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

double mean_of(const std::vector<double>& values) {
  if (values.empty()) return kNone;
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

std::int64_t most_frequent(const std::map<std::int64_t, int>& counts) {
  // max_element keeps the first of equals; from the back that is the larger label.
  return std::max_element(counts.rbegin(), counts.rend(),
                          [](const auto& a, const auto& b) { return a.second < b.second; })
      ->first;
}

// Probability of one label for every subject; 0 where the model does not know the label.
std::vector<double> column_of(const SubjectPredictions& p, std::int64_t label) {
  const auto at = std::find(p.classes.begin(), p.classes.end(), label) - p.classes.begin();
  std::vector<double> column;
  column.reserve(p.probability.size());
  for (const auto& row : p.probability)
    column.push_back(static_cast<std::size_t>(at) < row.size() ? row[static_cast<std::size_t>(at)]
                                                               : 0);
  return column;
}

}  // namespace

double roc_auc(std::span<const double> score, std::span<const std::uint8_t> positive) {
  if (score.size() != positive.size())
    throw Error(ErrorCode::failure,
                fmt::format("{} scores for {} truths", score.size(), positive.size()));
  std::vector<std::size_t> order(score.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return score[a] < score[b]; });
  double pairs_won = 0, negatives_below = 0, positives = 0;
  for (std::size_t begin = 0; begin < order.size();) {
    double tied_positives = 0, tied_negatives = 0;
    std::size_t end = begin;
    for (; end < order.size() && score[order[end]] == score[order[begin]]; ++end)
      (positive[order[end]] != 0 ? tied_positives : tied_negatives) += 1;
    pairs_won += tied_positives * (negatives_below + tied_negatives / 2);
    negatives_below += tied_negatives;
    positives += tied_positives;
    // Not-a-number is equal to nothing, itself included.
    if (end == begin) return kNone;
    begin = end;
  }
  return positives > 0 && negatives_below > 0 ? pairs_won / (positives * negatives_below) : kNone;
}

double balanced_accuracy(std::span<const std::int64_t> truth,
                         std::span<const std::int64_t> predicted) {
  if (truth.size() != predicted.size())
    throw Error(ErrorCode::failure,
                fmt::format("{} predictions for {} truths", predicted.size(), truth.size()));
  std::map<std::int64_t, std::pair<double, double>> right_of_all;
  for (std::size_t i = 0; i < truth.size(); ++i) {
    auto& [right, all] = right_of_all[truth[i]];
    right += truth[i] == predicted[i] ? 1 : 0;
    all += 1;
  }
  std::vector<double> recalls;
  for (const auto& [label, count] : right_of_all) recalls.push_back(count.first / count.second);
  return mean_of(recalls);
}

SubjectPredictions average_by_subject(std::span<const double> probability,
                                      const std::vector<std::int64_t>& classes,
                                      std::span<const std::int64_t> label,
                                      std::span<const std::int32_t> subject) {
  if (subject.size() != label.size() || probability.size() != label.size() * classes.size())
    throw Error(ErrorCode::failure,
                fmt::format("{} subjects and {} probabilities for {} slices and {} classes",
                            subject.size(), probability.size(), label.size(), classes.size()));
  struct Sum {
    std::vector<double> probability;
    std::map<std::int64_t, int> labels;
    double slices = 0;
  };
  std::map<std::int32_t, Sum> sums;
  for (std::size_t i = 0; i < label.size(); ++i) {
    if (label[i] < 0) continue;
    Sum& sum = sums[subject[i]];
    sum.probability.resize(classes.size());
    for (std::size_t c = 0; c < classes.size(); ++c)
      sum.probability[c] += probability[i * classes.size() + c];
    sum.labels[label[i]] += 1;
    sum.slices += 1;
  }
  SubjectPredictions result;
  result.classes = classes;
  for (auto& [id, sum] : sums) {
    for (double& p : sum.probability) p /= sum.slices;
    result.subject.push_back(id);
    result.label.push_back(most_frequent(sum.labels));
    result.probability.push_back(std::move(sum.probability));
  }
  return result;
}

SubjectScores score_subjects(const SubjectPredictions& p) {
  SubjectScores scores;
  scores.subjects = static_cast<std::int64_t>(p.subject.size());
  if (p.subject.empty() || p.classes.empty()) {
    scores.auc = scores.balanced_accuracy = scores.accuracy = kNone;
    return scores;
  }
  std::vector<std::int64_t> predicted;
  for (const auto& row : p.probability)
    predicted.push_back(p.classes[static_cast<std::size_t>(
        std::max_element(row.begin(), row.end()) - row.begin())]);
  scores.balanced_accuracy = balanced_accuracy(p.label, predicted);
  double right = 0;
  for (std::size_t i = 0; i < predicted.size(); ++i) right += predicted[i] == p.label[i] ? 1 : 0;
  scores.accuracy = right / static_cast<double>(predicted.size());

  std::set<std::int64_t> all(p.label.begin(), p.label.end());
  std::set<std::int64_t> told(all);
  all.insert(p.classes.begin(), p.classes.end());
  // Of two classes either against the other says the same.
  if (all.size() == 2) told = {*all.rbegin()};
  std::vector<double> areas;
  for (const std::int64_t label : told) {
    std::vector<std::uint8_t> positive;
    for (const std::int64_t truth : p.label) positive.push_back(truth == label ? 1 : 0);
    areas.push_back(roc_auc(column_of(p, label), positive));
  }
  scores.auc = mean_of(areas);
  return scores;
}

}  // namespace wsp::train

#include "train/eval/pca_figure.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "io/core/counter_rng.hpp"
#include "train/stats/metrics.hpp"
#include "train/stats/pca.hpp"
#include "train/stats/subject_scores.hpp"

namespace wsp::train {
namespace {

// As many of either class as there are, up to half of `shown` each, the rest from the other.
std::vector<std::size_t> choose(const std::vector<std::uint8_t>& positive, int shown,
                                std::uint64_t seed) {
  CounterRng rng(seed, {0x706361});
  std::vector<std::size_t> of_class[2], chosen;
  for (std::size_t s = 0; s < positive.size(); ++s) of_class[positive[s] != 0 ? 1 : 0].push_back(s);
  for (auto& members : of_class)
    for (std::size_t i = members.size(); i > 1; --i)
      std::swap(members[i - 1], members[rng.below(i)]);
  for (std::size_t i = 0; chosen.size() < static_cast<std::size_t>(shown) && i < positive.size();
       ++i)
    for (const auto& members : of_class)
      if (i < members.size() && chosen.size() < static_cast<std::size_t>(shown))
        chosen.push_back(members[i]);
  return chosen;
}

}  // namespace

PcaSummary summarise_pca(const Cohort& cohort, int shown, std::uint64_t seed,
                         const std::string& title) {
  const ProbeSet& set = cohort.set;
  const std::int64_t k = std::min<std::int64_t>(2, set.dimensions);
  const Pca pca = fit_pca(set.x, set.dimensions, k);
  const std::vector<double> points = pca.project(set.x);
  const auto coordinate = [&](std::int64_t row, std::int64_t axis) {
    return axis < k ? points[static_cast<std::size_t>(row * k + axis)] : 0;
  };
  PcaSummary summary;
  std::vector<double> means;
  std::vector<int> group;
  for (std::int64_t axis = 0; axis < k; ++axis) {
    summary.explained[axis] = pca.explained_variance_ratio[static_cast<std::size_t>(axis)];
    std::vector<double> along, of_subject;
    for (std::int64_t r = 0; r < set.rows(); ++r) along.push_back(coordinate(r, axis));
    summary.depth_correlation[axis] = pearson(along, cohort.depth);
    for (std::size_t s = 0; s < set.positive.size(); ++s) {
      double sum = 0;
      for (std::int64_t r = set.first[s]; r < set.first[s + 1]; ++r) sum += coordinate(r, axis);
      of_subject.push_back(sum / static_cast<double>(set.first[s + 1] - set.first[s]));
    }
    const double auc = roc_auc(of_subject, set.positive);
    summary.class_auc[axis] = std::max(auc, 1 - auc);
    if (axis == 0) means.resize(of_subject.size() * static_cast<std::size_t>(k));
    for (std::size_t s = 0; s < of_subject.size(); ++s)
      means[s * static_cast<std::size_t>(k) + static_cast<std::size_t>(axis)] = of_subject[s];
  }
  for (const std::uint8_t p : set.positive) group.push_back(p);
  summary.class_silhouette = silhouette(means, k, group);

  ScatterFigure& f = summary.figure;
  f.title = title;
  f.subtitle = fmt::format(
      "depth: r = {:.2f} with PC1, {:.2f} with PC2; diagnosis: AUC {:.2f} along PC1, {:.2f} along "
      "PC2",
      summary.depth_correlation[0], summary.depth_correlation[1], summary.class_auc[0],
      summary.class_auc[1]);
  f.x_label = fmt::format("PC1 ({:.0f} % of the variance)", 100 * summary.explained[0]);
  f.y_label = fmt::format("PC2 ({:.0f} %)", 100 * summary.explained[1]);
  f.series = {"negative", "positive"};
  f.shade_label = "light: feet, full colour: head; a line joins a subject's slices";
  for (const std::size_t s : choose(set.positive, shown, seed)) {
    ScatterFigure::Line line;
    line.name = set.names[s];
    line.series = set.positive[s] != 0 ? 1 : 0;
    std::vector<std::int64_t> order;
    for (std::int64_t r = set.first[s]; r < set.first[s + 1]; ++r) order.push_back(r);
    std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
      return cohort.depth[static_cast<std::size_t>(a)] < cohort.depth[static_cast<std::size_t>(b)];
    });
    for (const std::int64_t r : order) {
      line.x.push_back(coordinate(r, 0));
      line.y.push_back(coordinate(r, 1));
      line.shade.push_back(cohort.depth[static_cast<std::size_t>(r)]);
    }
    f.lines.push_back(std::move(line));
  }
  return summary;
}

nlohmann::json to_json(const PcaSummary& s) {
  const auto pair = [](const double(&v)[2]) {
    nlohmann::json j = nlohmann::json::array();
    for (const double x : v)
      j.push_back(std::isfinite(x) ? nlohmann::json(x) : nlohmann::json(nullptr));
    return j;
  };
  return {
      {"explained_variance_ratio", pair(s.explained)},
      {"depth_correlation", pair(s.depth_correlation)},
      {"class_auc", pair(s.class_auc)},
      {"class_silhouette", std::isfinite(s.class_silhouette) ? nlohmann::json(s.class_silhouette)
                                                             : nlohmann::json(nullptr)}};
}

}  // namespace wsp::train

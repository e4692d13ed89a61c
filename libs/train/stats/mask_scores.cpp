#include "train/stats/mask_scores.hpp"

#include <algorithm>
#include <cmath>
#include <map>

#include "io/core/counter_rng.hpp"
#include "io/core/error.hpp"

namespace wsp::train {
namespace {

constexpr std::uint64_t kBootstrapStream = 0x626f6f74;
constexpr double kMm3PerMl = 1000;

/// Half the distance to the slice below and above; an end slice has one neighbour on both sides.
double thickness_mm(const std::vector<double>& z_mm, std::size_t z) {
  if (z_mm.size() < 2) return 0;
  const double below = z > 0 ? z_mm[z] - z_mm[z - 1] : z_mm[z + 1] - z_mm[z];
  const double above = z + 1 < z_mm.size() ? z_mm[z + 1] - z_mm[z] : below;
  return (below + above) / 2;
}

struct Group {
  double sum = 0;
  std::int64_t count = 0;
};

double quantile(const std::vector<double>& sorted, double part) {
  const double at = part * static_cast<double>(sorted.size() - 1);
  const auto low = static_cast<std::size_t>(at);
  const std::size_t high = std::min(low + 1, sorted.size() - 1);
  return sorted[low] + (at - static_cast<double>(low)) * (sorted[high] - sorted[low]);
}

}  // namespace

OverlapScores overlap_scores(std::span<const std::uint8_t> truth,
                             std::span<const std::uint8_t> predicted, const VoxelGrid& grid) {
  const auto plane = static_cast<std::size_t>(grid.size[0] * grid.size[1]);
  if (truth.size() != predicted.size() || truth.size() != plane * grid.z_mm.size())
    throw Error(ErrorCode::failure, "two masks and their slice positions are not of one grid");
  std::int64_t in_truth = 0, in_predicted = 0, in_both = 0;
  OverlapScores scores;
  const double pixel_mm2 = grid.spacing_mm[0] * grid.spacing_mm[1];
  for (std::size_t z = 0; z < grid.z_mm.size(); ++z) {
    std::int64_t t = 0, p = 0;
    for (std::size_t i = z * plane; i < (z + 1) * plane; ++i) {
      t += truth[i] != 0;
      p += predicted[i] != 0;
      in_both += truth[i] != 0 && predicted[i] != 0;
    }
    const double ml = pixel_mm2 * thickness_mm(grid.z_mm, z) / kMm3PerMl;
    scores.truth_ml += static_cast<double>(t) * ml;
    scores.predicted_ml += static_cast<double>(p) * ml;
    in_truth += t;
    in_predicted += p;
  }
  const std::int64_t sum = in_truth + in_predicted;
  const auto both = static_cast<double>(in_both);
  scores.dice = sum == 0 ? 1 : 2 * both / static_cast<double>(sum);
  scores.iou = sum == 0 ? 1 : both / static_cast<double>(sum - in_both);
  return scores;
}

BootstrapMean bootstrap_mean(std::span<const double> values, const std::vector<std::string>& groups,
                             std::int64_t resamples, std::uint64_t seed) {
  if (values.size() != groups.size())
    throw Error(ErrorCode::failure, "a bootstrap needs a group for every value");
  std::map<std::string, Group> by_name;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) continue;
    Group& group = by_name[groups[i]];
    group.sum += values[i];
    ++group.count;
  }
  BootstrapMean result{std::nan(""), std::nan(""), std::nan(""), 0};
  if (by_name.empty()) return result;
  std::vector<Group> list;
  Group all;
  for (const auto& [name, group] : by_name) {
    list.push_back(group);
    all.sum += group.sum;
    all.count += group.count;
  }
  result.values = all.count;
  result.mean = all.sum / static_cast<double>(all.count);
  std::vector<double> means;
  CounterRng random(seed, {kBootstrapStream});
  for (std::int64_t r = 0; r < resamples; ++r) {
    Group drawn;
    for (std::size_t i = 0; i < list.size(); ++i) {
      const Group& group = list[random.below(list.size())];
      drawn.sum += group.sum;
      drawn.count += group.count;
    }
    means.push_back(drawn.sum / static_cast<double>(drawn.count));
  }
  std::sort(means.begin(), means.end());
  if (!means.empty()) {
    result.low = quantile(means, 0.025);
    result.high = quantile(means, 0.975);
  }
  return result;
}

}  // namespace wsp::train

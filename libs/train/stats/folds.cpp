#include "train/stats/folds.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "io/core/counter_rng.hpp"
#include "io/core/error.hpp"

namespace wsp::train {
namespace {

// Subjects of one class and dataset each: the negative ones first, datasets in ascending order.
std::vector<std::vector<std::size_t>> strata(std::span<const std::uint8_t> positive,
                                             std::span<const int> dataset) {
  std::map<std::pair<bool, int>, std::vector<std::size_t>> members;
  for (std::size_t i = 0; i < positive.size(); ++i)
    members[{positive[i] != 0, dataset.empty() ? 0 : dataset[i]}].push_back(i);
  std::vector<std::vector<std::size_t>> result;
  for (auto& [key, stratum] : members) result.push_back(std::move(stratum));
  return result;
}

}  // namespace

std::vector<int> stratified_folds(std::span<const std::uint8_t> positive, int folds,
                                  std::uint64_t seed, std::uint64_t repeat,
                                  std::span<const int> dataset) {
  const auto n = static_cast<int>(positive.size());
  const auto positives = static_cast<int>(
      std::count_if(positive.begin(), positive.end(), [](std::uint8_t p) { return p != 0; }));
  if (folds < 2)
    throw Error(ErrorCode::usage, fmt::format("--folds is {}: expected 2 or more", folds));
  if (n < folds)
    throw Error(ErrorCode::usage,
                fmt::format("{} labelled subjects are fewer than {} folds: use fewer "
                            "--folds or more subjects",
                            n, folds));
  if (const int fewer = std::min(positives, n - positives); fewer < folds)
    throw Error(ErrorCode::usage,
                fmt::format("{} negative and {} positive subjects do not fill {} folds with both "
                            "classes: use {}other --positive values",
                            n - positives, positives, folds,
                            fewer < 2 ? "more subjects, or "
                                      : fmt::format("at most {} --folds, or ", fewer)));
  CounterRng rng(seed, {0x666f6c64, repeat});
  std::vector<int> fold(positive.size());
  // One after the other, class by class and in it dataset by dataset; each starts where the one
  // before ended, so that the sizes stay even.
  int next = 0;
  for (std::vector<std::size_t>& members : strata(positive, dataset)) {
    for (std::size_t i = members.size(); i > 1; --i)
      std::swap(members[i - 1], members[rng.below(i)]);
    for (const std::size_t member : members) fold[member] = next++ % folds;
  }
  return fold;
}

}  // namespace wsp::train

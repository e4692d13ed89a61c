#include "train/stats/neighbours.hpp"

#include <algorithm>
#include <cmath>

#include "train/stats/dense.hpp"

namespace wsp::train {

std::vector<double> neighbour_probabilities(const ProbeSet& set,
                                            std::span<const std::uint8_t> positive,
                                            std::span<const double> weight, int k) {
  constexpr double kTemperature = 0.07;
  const auto d = static_cast<std::size_t>(set.dimensions);
  const auto row = [&](std::int64_t r) {
    return std::span(set.x).subspan(static_cast<std::size_t>(r) * d, d);
  };
  std::vector<double> norm;
  for (std::int64_t r = 0; r < set.rows(); ++r)
    norm.push_back(std::max(1e-12, std::sqrt(dense::dot(row(r), row(r)))));
  struct Neighbour {
    double cosine;
    std::int64_t row;
    bool positive;
  };
  std::vector<double> result(weight.size());
  std::vector<Neighbour> known;
  for (std::size_t s = 0; s < weight.size(); ++s) {
    if (weight[s] > 0) continue;
    double sum = 0;
    for (std::int64_t r = set.first[s]; r < set.first[s + 1]; ++r) {
      known.clear();
      for (std::size_t t = 0; t < weight.size(); ++t)
        if (weight[t] > 0)
          for (std::int64_t q = set.first[t]; q < set.first[t + 1]; ++q)
            known.push_back({dense::dot(row(r), row(q)) / (norm[static_cast<std::size_t>(r)] *
                                                           norm[static_cast<std::size_t>(q)]),
                             q, positive[t] != 0});
      const std::size_t count = std::min(known.size(), static_cast<std::size_t>(k));
      std::partial_sort(known.begin(), known.begin() + static_cast<std::ptrdiff_t>(count),
                        known.end(), [](const Neighbour& a, const Neighbour& b) {
                          return a.cosine != b.cosine ? a.cosine > b.cosine : a.row < b.row;
                        });
      double votes = 0, all = 0;
      for (std::size_t i = 0; i < count; ++i) {
        const double vote = std::exp((known[i].cosine - known[0].cosine) / kTemperature);
        all += vote;
        votes += known[i].positive ? vote : 0;
      }
      sum += all > 0 ? votes / all : 0.5;
    }
    result[s] = sum / static_cast<double>(set.first[s + 1] - set.first[s]);
  }
  return result;
}

}  // namespace wsp::train

#pragma once
#include <cstdint>

#include "io/core/counter_rng.hpp"
#include "train/stats/binary_logistic.hpp"

namespace wsp::test {

/// Subjects whose slices scatter around a point of their own; the diagnosis follows one direction
/// of it with noise. Features have different scales and offsets, as a network's do.
inline train::ProbeSet make_probe_set(std::int64_t subjects, std::int64_t slices, std::int64_t d,
                                      std::uint64_t seed, double signal = 1) {
  train::ProbeSet set;
  set.dimensions = d;
  set.first = {0};
  for (std::int64_t s = 0; s < subjects; ++s) {
    CounterRng rng(seed, {static_cast<std::uint64_t>(s)});
    std::vector<double> centre(static_cast<std::size_t>(d));
    for (double& c : centre) c = rng.normal();
    set.positive.push_back(signal * centre[0] + rng.normal() > 0 ? 1 : 0);
    // Some subjects have fewer slices.
    const std::int64_t count = slices - s % 3;
    for (std::int64_t i = 0; i < count; ++i)
      for (std::int64_t j = 0; j < d; ++j)
        set.x.push_back(3 + static_cast<double>(j % 7) +
                        (0.2 + static_cast<double>(j % 5)) *
                            (centre[static_cast<std::size_t>(j)] + rng.normal()));
    set.first.push_back(set.first.back() + count);
    set.names.push_back("sub-" + std::to_string(s));
  }
  return set;
}

}  // namespace wsp::test

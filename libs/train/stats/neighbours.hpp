#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "train/stats/binary_logistic.hpp"

namespace wsp::train {

/// Probability of each subject by its slices' k nearest slices (cosine, weighted by
/// exp(cosine / 0.07): Wu et al. 2018) among subjects with weight above 0, averaged over its
/// slices. A subject is never its own neighbour. Only those without weight are computed; 0 for the
/// others.
std::vector<double> neighbour_probabilities(const ProbeSet& set,
                                            std::span<const std::uint8_t> positive,
                                            std::span<const double> weight, int k);

}  // namespace wsp::train

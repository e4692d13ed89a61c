#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>

#include "train/run/optimizer.hpp"

namespace wsp::train {

/// Learning rate at a step: linear warm-up, then "cosine" (scheduled_rate()) or "poly", base * (1 -
/// done)^0.9 (Chen et al. 2017, DeepLab; nnU-Net's too).
inline double decayed_rate(const std::string& schedule, double base, std::int64_t step,
                           std::int64_t steps, std::int64_t warmup_steps) {
  constexpr double kPower = 0.9;
  if (schedule != "poly" || step < warmup_steps)
    return scheduled_rate(base, step, steps, warmup_steps);
  const auto rest = static_cast<double>(std::max<std::int64_t>(1, steps - warmup_steps));
  return base *
         std::pow(1 - std::min(1.0, static_cast<double>(step - warmup_steps) / rest), kPower);
}

}  // namespace wsp::train

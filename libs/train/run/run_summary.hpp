#pragma once
#include <cstdint>
#include <filesystem>

namespace wsp::train {

/// What any training came to.
struct RunSummary {
  std::int64_t steps = 0, epochs = 0;    ///< of the whole run, resumed parts included
  double first_loss = 0, last_loss = 0;  ///< means over the first and last epoch
  double slices_per_s = 0;               ///< of this process; 0 where it had nothing to do
  double wait_share = 0;                 ///< part of the time spent waiting for data
  bool stopped_early = false;
  std::filesystem::path weights;  ///< RUN/NAME.safetensors, of the last step
};

}  // namespace wsp::train

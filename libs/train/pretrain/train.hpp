#pragma once
#include <cstdint>
#include <filesystem>
#include <string>

#include "train/pretrain/config.hpp"
#include "train/run/run_summary.hpp"

/// Pretraining as one call. No Torch stands here, so that tools need none.
namespace wsp::train {

struct TrainSummary : RunSummary {
  double first_probe = -1, last_probe = -1,
         best_probe = -1;           ///< balanced accuracy by subject, -1 where there is none
  std::int64_t corrupt_slices = 0;  ///< replaced with --skip-corrupt
  int rank = 0;                     ///< of this process; only rank 0 writes
};

/// Pretrain (or resume) as configured. Writes RUN/: config.resolved.json, run.json, metrics.jsonl,
/// checkpoints/, tensorboard/, encoder.safetensors, encoder-best.safetensors. Throws Error: usage
/// for what cannot be asked of this dataset, network or device; output for a run directory in use
/// or not writable; corrupt for damaged data or checkpoints; interrupted after SIGINT or SIGTERM,
/// with a checkpoint behind it; failure for a non-finite loss, too little memory (saying which
/// micro-batch would fit) or a failed rank.
TrainSummary train(TrainConfig config, const RunOptions& options);

/// Draw again the views that a step of a run saw: PNG sheets of the slices and both views, and
/// views.json with the parameters, in `out`. `step` counts within the epoch.
void redraw_views(const std::filesystem::path& run, const std::filesystem::path& dataset,
                  std::int64_t epoch, std::int64_t step, const std::filesystem::path& out);

}  // namespace wsp::train

#include "train/eval/go_on.hpp"

#include <nlohmann/json.hpp>

#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/core/log.hpp"
#include "io/manifest/manifest.hpp"

namespace wsp::train {
namespace {

namespace fs = std::filesystem;

bool has_checkpoint(const fs::path& run) {
  std::error_code absent;
  for (const auto& entry : fs::directory_iterator(run / "checkpoints", absent))
    if (entry.path().extension() == ".safetensors") return true;
  return false;
}

// Whether config.resolved.json of the run says what training with `config` would write there.
bool made_with(TrainConfig config, const RunOptions& run) {
  const fs::path resolved = run.out / "config.resolved.json",
                 dataset = run.dataset / "dataset.json";
  if (!fs::is_regular_file(resolved) || !fs::is_regular_file(dataset)) return false;
  config.dataset_sha256 = hex(sha256_file(dataset));
  if (!run.init.empty() && fs::is_regular_file(run.init))
    config.init_sha256 = hex(sha256_file(run.init));
  try {
    const TrainConfig was = config_from_json(load_json(resolved));
    if (config.precision == "auto") config.precision = was.precision;  // train() resolves it
    return differences(was, config).empty();
  } catch (const Error&) {
    return false;  // damaged: train() says so
  }
}

}  // namespace

TrainSummary train_or_go_on(const TrainConfig& config, RunOptions run, bool force) {
  run.verify = false;
  run.probe_every = 0;
  run.tensorboard = false;
  run.resume = fs::exists(run.out);
  if (fs::exists(run.out / "encoder.safetensors") && !has_checkpoint(run.out) &&
      made_with(config, run)) {
    if (config.method != "random")
      log::warn("a run has weights but no checkpoint: it is trained anew");
    run.resume = false;
    run.force = true;
  }
  try {
    return train(config, run);
  } catch (const Error& e) {
    const bool another_start_helps = e.code() == ErrorCode::usage || e.code() == ErrorCode::corrupt;
    if (!force || !run.resume || !another_start_helps) throw;
    log::warn(std::string("--force: a run is begun anew, since ") + e.what());
  }
  run.resume = false;
  run.force = true;
  return train(config, run);
}

}  // namespace wsp::train

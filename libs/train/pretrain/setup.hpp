#pragma once
#include <torch/torch.h>

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "train/data/loader.hpp"
#include "train/data/sampler.hpp"
#include "train/data/training_set.hpp"
#include "train/kernels/augment.hpp"
#include "train/model/method.hpp"
#include "train/pretrain/config.hpp"
#include "train/pretrain/views.hpp"
#include "train/run/distributed.hpp"

namespace wsp::train {

/// What a run is made of before its first step: checked configuration, dataset, sampler, networks
/// on their device.
struct TrainSetup {
  /// Throws Error(usage) for what cannot be asked of this dataset or network, Error(corrupt) for a
  /// dataset that fails its checks.
  TrainSetup(TrainConfig config, const RunOptions& options, int ranks,
             const torch::Device& run_device);
  [[nodiscard]] LoaderOptions loader_options() const;
  /// What the user should know of the data and the network, a line each.
  [[nodiscard]] std::vector<std::string> notes() const;

  RunOptions options;
  torch::Device device;
  TrainConfig config;  ///< resolved: ready to be recorded, no "auto" precision
  DatasetReader reader;
  TrainingSet set;
  BalancedSampler sampler;
  std::unique_ptr<Method> method;
  /// subject_mark() of everyone that the encoder was trained on once this run is over, those of the
  /// --init weights included; none where these do not say.
  std::optional<std::set<std::string>> trained_on;
};

SelectOptions select_options(const TrainConfig& config);
SamplerOptions sampler_options(const TrainConfig& config);
/// Parameters of both views of m slices, [2m]: view 1 of all, then view 2. `sample`: place of the
/// first slice in the epoch.
std::vector<ViewParameters> batch_views(const TrainConfig& config, std::int64_t epoch,
                                        std::int64_t sample, std::int64_t m);
/// By which kernel views are drawn, and in which type: that of the forward pass where ours draws
/// them.
ViewDrawing view_drawing(const TrainConfig& config);
/// Device, ranks, versions, command: run.json.
nlohmann::json run_facts(const TrainSetup& setup, const RankEnvironment& environment,
                         const torch::Device& device);

}  // namespace wsp::train

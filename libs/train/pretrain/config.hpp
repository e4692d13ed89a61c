#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "train/run/options.hpp"

/// What a training run is asked to do. No Torch stands here, so that tools need none.
namespace wsp::train {

/// Everything that decides the result of a run; it stands in config.resolved.json and in every
/// checkpoint, and --resume insists that it is the same.
struct TrainConfig {
  std::string method = "wsp";
  std::string encoder = "tinynet";
  std::string norm = "batch";
  // data
  std::string label = "label";
  std::vector<std::string> kernel_columns;  ///< NAME or NAME:SIGMA
  std::string continuous;  ///< of is_continuous(method): NAME:SIGMA, for rnc NAME; else empty
  std::string depth_scale = "kept";
  bool include_flagged = false, include_unlabelled = false;
  std::vector<std::string> splits;
  std::vector<std::string> subjects;  ///< take only these; empty: all
  std::vector<std::string> exclude;   ///< cases that a reader rated as ones to leave out, sorted
  std::vector<std::int64_t>
      positive;            ///< label classes that become 1, the others 0; empty: as they are
  double hold_back = 0.1;  ///< part of the subjects kept for the online probe
  std::int64_t image_size = 512;
  bool skip_corrupt = false;
  // sampling
  std::int64_t batch = 64;
  std::int64_t samples_per_epoch = 10000;
  std::int64_t epochs = 40;
  std::int64_t max_steps = 0;  ///< 0: epochs decide
  std::uint64_t seed = 0;
  // augmentation
  double augment_probability = 0.5;
  double max_angle_deg = 30, max_shift = 0.2, min_crop_area = 0.7, max_crop_area = 0.7;
  bool flip_x = true, flip_y = true;
  // loss
  double temperature = 0.1, sigma = 0.1;
  std::string kernel = "rbf";           ///< rbf or laplacian
  std::string normalisation = "paper";  ///< paper or reference
  double momentum = 0.996, barlow_lambda = 0.005;
  std::int64_t loss_tile = 0;
  // optimisation
  std::string optimizer = "adam";  ///< adam, adamw, lars or sgd
  double learning_rate = 1e-4, weight_decay = 1e-4;
  double warmup_epochs = 0;
  double clip_norm = 0;                ///< 0: no clipping
  std::int64_t accumulate = 1;         ///< batches per optimizer step
  std::int64_t micro_batch = 0;        ///< slices embedded at once; 0: the whole batch
  std::string precision = "fp32";      ///< auto (a run's own is resolved), fp32, tf32, bf16, fp16
  std::string channels_last = "auto";  ///< auto (on CUDA in half precision), on or off
  bool deterministic = false;          ///< CUDA: the same bits again on the same card
  std::string cuda_kernels = "off";  ///< off or on: our own for views, pooling and contrastive loss
  std::string init_sha256;           ///< of the --init weights, or empty
  std::string dataset_sha256;        ///< of dataset.json
  int ranks = 1;
};

/// Named sets of defaults: "paper", and "published" (the published code's own: lr and decay 1e-5,
/// sigma 0.85, normalisation reference); rnc has its own temperature, 2, in both. Throws
/// Error(usage).
TrainConfig preset(std::string_view name, const std::string& method = "wsp");
/// Whether a method learns from the number that --continuous names.
bool is_continuous(const std::string& method);
/// Check ranges and combinations that need no dataset; throws Error(usage) naming the option.
void check_config(const TrainConfig& config);
nlohmann::json to_json(const TrainConfig& config);
/// Inverse of to_json(); throws Error(corrupt) for anything else.
TrainConfig config_from_json(const nlohmann::json& value);
/// "--option: was A, is B" for each difference, as the command line has it; empty when the two
/// compute the same.
std::vector<std::string> differences(const TrainConfig& was, const TrainConfig& is);
/// Where `recorded` is what to_json() gives: recorded_options() of it.
std::optional<nlohmann::json> recorded_training(const nlohmann::json& recorded);

}  // namespace wsp::train

#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

/// What a training of the liver U-Net is asked to do. No Torch stands here, so that tools need
/// none.
namespace wsp::train {

/// Everything that decides the result of a run (schemas/unet_config.schema.json); it stands in
/// config.resolved.json, in every checkpoint and beside the weights, and --resume insists that it
/// is the same.
struct UNetConfig {
  // network
  std::int64_t neighbours = 1;     ///< k: slices on either side that the network also sees
  std::vector<double> context_mm;  ///< how far away these k are; empty: they are adjacent
  std::int64_t width = 16;         ///< channels of the first level
  std::int64_t depth = 4;          ///< times that the image is halved
  std::string norm = "batch";      ///< batch or group
  std::int64_t image_size = 256;
  std::int64_t stored_size = 512;  ///< of the dataset's slices; a multiple of image_size
  // data
  std::vector<std::string> splits;
  std::vector<std::string> exclude;  ///< cases that a reader rated as ones to leave out, sorted
  double hold_back = 0.2;            ///< part of the subjects kept for validation
  // sampling
  std::int64_t batch = 16;
  std::int64_t samples_per_epoch = 2000;
  std::int64_t epochs = 40;
  std::int64_t max_steps = 0;  ///< 0: epochs decide
  double liver_share = 0.5;    ///< part of the drawn slices that hold liver
  std::uint64_t seed = 0;
  // augmentation, each with augment_probability
  double augment_probability = 0.5;
  double max_angle_deg = 15, max_shift = 0.1, min_crop_area = 0.7;
  double cut_context = 0;  ///< part of the slices beyond which the scan is taken to end nearby
  bool flip_x = false, flip_y = false;  ///< off: the liver has a side
  double elastic = 0.02;                ///< standard deviation, part of the image's side
  std::int64_t elastic_grid = 6;        ///< control points along a side
  double gain = 0.15, offset = 0.08, gamma = 0.2, noise = 0.03;  ///< of intensities in [0, 1]
  // optimisation (AdamW)
  double learning_rate = 1e-3, weight_decay = 1e-4;
  std::string schedule = "poly";  ///< poly or cosine
  double warmup_epochs = 0;
  double clip_norm = 0;                ///< 0: no clipping
  double dice_weight = 1;              ///< of the Dice loss beside the cross-entropy
  std::string precision = "fp32";      ///< auto (a run's own is resolved), fp32, tf32 or bf16
  std::string channels_last = "auto";  ///< auto (on CUDA in bf16), on or off
  std::string dataset_sha256;          ///< of dataset.json
  std::string init_sha256;             ///< of the --init weights, or empty
};

/// Check ranges and combinations that need no dataset; throws Error(usage) naming the option.
void check_config(const UNetConfig& config);
nlohmann::json to_json(const UNetConfig& config);
/// Inverse of to_json(); throws Error(corrupt) for what does not follow the schema.
UNetConfig unet_config_from_json(const nlohmann::json& value);
/// "--option: was A, is B" for each difference; empty when the two compute the same.
std::vector<std::string> differences(const UNetConfig& was, const UNetConfig& is);
/// Where `recorded` is what to_json() gives: recorded_options() of it.
std::optional<nlohmann::json> recorded_unet(const nlohmann::json& recorded);

}  // namespace wsp::train

#pragma once
#include <cstdint>
#include <filesystem>
#include <string>

#include "io/shard/dataset.hpp"
#include "train/data/provenance.hpp"
#include "train/pretrain/config.hpp"

/// What can be asked of networks and their data before any is trained. No Torch stands here.
namespace wsp::train {

/// Throws Error(usage) for a side that the backbone cannot take.
void check_image_size(const std::string& backbone, std::int64_t image_size);
/// What weights say of their own training. Throws Error where the file is no sound safetensors.
Provenance weights_provenance(const std::filesystem::path& weights);
/// Throws Error where the file holds no weights of this backbone.
void check_weights(const std::string& backbone, const std::filesystem::path& weights);
/// Throws Error(usage, no_input) where a training with this configuration finds no slices: see
/// select_slices().
void check_training_data(const TrainConfig& config, const DatasetReader& reader);

}  // namespace wsp::train

#include "train/eval/network_check.hpp"

#include <fmt/format.h>

#include "io/core/error.hpp"
#include "train/model/encoder.hpp"
#include "train/model/safetensors.hpp"
#include "train/pretrain/setup.hpp"

namespace wsp::train {

void check_image_size(const std::string& backbone, std::int64_t image_size) {
  const std::int64_t least = make_encoder({backbone, Norm::batch})->smallest_image();
  if (image_size < least)
    throw Error(ErrorCode::usage, fmt::format("the plan's image_size is {}: {} needs at least {}",
                                              image_size, backbone, least));
}

void check_weights(const std::string& backbone, const std::filesystem::path& weights) {
  load_encoder_weights(*make_encoder({backbone, Norm::batch}), weights);
}

Provenance weights_provenance(const std::filesystem::path& weights) {
  return provenance_of(read_tensor_file(weights).metadata, weights);
}

void check_training_data(const TrainConfig& config, const DatasetReader& reader) {
  (void)select_slices(reader, select_options(config));
}

}  // namespace wsp::train

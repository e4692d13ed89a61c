#pragma once
#include <filesystem>
#include <string>

#include "train/eval/features.hpp"

/// Representations of a dataset's slices. No Torch stands here, so that tools need none.
namespace wsp::train {

struct EmbedOptions {
  std::filesystem::path dataset, encoder;
  std::filesystem::path exclude;  ///< ratings of wsp-qa's page: cases rated exclude are left out
  std::string encoder_name;       ///< tinynet, ...; empty: what the weights say of themselves
  std::int64_t image_size =
      0;  ///< 0: the one that the encoder was trained with, else the stored one
  std::string device = "auto", precision = "fp32";
  int threads = 1, workers = 0;
  std::int64_t batch = 64;
  bool include_flagged = false;
  std::string labelled;  ///< only cases whose value in this label column is known; empty: all
};

/// Every slice of every case (but those flagged as untrustworthy) through the encoder as it is,
/// without augmentation, in evaluation mode. The result does not depend on batch, threads or
/// workers but for rounding. Throws Error: usage for weights that are no encoder's and an unknown
/// precision, no_input, corrupt, interrupted.
FeatureTable embed_dataset(const EmbedOptions& options);
/// Whether a table holds what embed_dataset() would give: the same weights, dataset, choice of
/// cases, image size and precision. Throws Error(failure) where weights or dataset cannot be read.
bool is_embedded_as(const FeatureTable& table, const EmbedOptions& options);

}  // namespace wsp::train

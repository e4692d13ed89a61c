#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "train/unet/network.hpp"
#include "train/unet/unet.hpp"

namespace wsp::train {

/// The volumes that an evaluation scores, and what they are to the network.
struct EvaluationScope {
  std::vector<MaskedVolume> volumes;
  std::string part;           ///< "held back": those trained on are left out; else "all"
  std::int64_t left_out = 0;  ///< volumes of subjects trained on
  /// Volumes among those scored whose subject the network was trained on; none where the weights do
  /// not say.
  std::optional<std::int64_t> trained_on;
};

/// Choose the volumes whose subjects the network was not trained on, by the names in its weights, so
/// that the same people are known in another ingest of theirs; with `what.all` every volume. Masks that
/// a model made are no truth and are left out. Logs what is left out, and warns of what flatters. Throws
/// Error(no_input) for a dataset of central slices, and where nothing remains to be scored.
EvaluationScope evaluation_scope(const UNetEvaluate& what, const DatasetReader& reader,
                                 const TrainedUNet& trained);

}  // namespace wsp::train

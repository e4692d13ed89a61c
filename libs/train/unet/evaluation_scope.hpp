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
  /// "held back": no subject was trained on or had a part in choosing the weights; "validation":
  /// none was trained on, but their scores chose the weights; else "all".
  std::string part;
  std::int64_t left_out =
      0;  ///< volumes of subjects trained on, and with "held back" of those that chose
  std::vector<std::string> excluded = {};  ///< cases that a reader's ratings leave out
  /// Volumes among those scored whose subject the network was trained on; none where the weights do
  /// not say.
  std::optional<std::int64_t> trained_on;
};

/// Choose the volumes whose subjects the network was not trained on, and of these the ones whose
/// scores did not choose its weights where there are any, by the names in its weights, so that the
/// same people are known in another ingest of theirs; with `what.all` every volume. Masks that a
/// model made are no truth and are left out; so are cases that `what.exclude` rates so, or without
/// it, in the dataset trained on, the training's own. Logs what is left out, and warns of what
/// flatters. Throws Error(no_input) for a dataset of central slices, and where nothing remains to
/// be scored.
EvaluationScope evaluation_scope(const UNetEvaluate& what, const DatasetReader& reader,
                                 const TrainedUNet& trained);

}  // namespace wsp::train

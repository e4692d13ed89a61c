#pragma once
#include <torch/torch.h>

#include <string>
#include <vector>

#include "train/data/loader.hpp"
#include "train/data/training_set.hpp"
#include "train/model/encoder.hpp"
#include "train/pretrain/probe.hpp"

namespace wsp::train {

/// The online probe: features of some training slices and of all held-back subjects, without
/// augmentation, in evaluation mode. Which slices is fixed by the dataset, so that epochs compare.
class ProbePass {
 public:
  /// `label` names the label column that is predicted; `loading` says how slices are read. Throws
  /// Error(usage) where the label is unknown.
  ProbePass(const DatasetReader& reader, const TrainingSet& set, const std::string& label,
            LoaderOptions loading);
  /// False where fewer than two classes are on either side; reason() says so in words.
  [[nodiscard]] bool possible() const { return reason_.empty(); }
  [[nodiscard]] const std::string& reason() const { return reason_; }
  /// Leaves the encoder in the mode it was in. With loading.skip_corrupt, damaged slices are left
  /// out: one that stood for another would count twice. Throws Error(interrupted) after a signal.
  [[nodiscard]] ProbeResult run(Encoder& encoder, const torch::Device& device);
  /// Held-back slices of the last run(), for the projector.
  [[nodiscard]] const ProbeSlices& held_back() const { return held_back_; }
  [[nodiscard]] const std::vector<TrainSlice>& held_back_slices() const { return held_back_kept_; }

 private:
  ProbeSlices embed(Encoder& encoder, const torch::Device& device,
                    const std::vector<TrainSlice>& slices, std::vector<TrainSlice>& kept) const;
  const DatasetReader& reader_;
  LoaderOptions loading_;
  std::vector<TrainSlice> train_, test_, held_back_kept_;
  bool warned_ = false;
  std::string reason_;
  ProbeSlices held_back_;
};

}  // namespace wsp::train

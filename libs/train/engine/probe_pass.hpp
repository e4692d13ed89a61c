#pragma once
#include <torch/torch.h>

#include <string>
#include <vector>

#include "train/data/training_set.hpp"
#include "train/engine/probe.hpp"
#include "train/model/encoder.hpp"

namespace wsp::train {

/// The online probe: features of some training slices and of all held-back subjects, without augmentation, in
/// evaluation mode. Which slices is fixed by the dataset, so that epochs compare.
class ProbePass {
 public:
  /// `label` names the label column that is predicted. Throws Error(usage) where it is unknown.
  ProbePass(const DatasetReader& reader, const TrainingSet& set, const std::string& label,
            std::int64_t image_size, int workers);
  /// False where fewer than two classes are on either side; reason() says so in words.
  [[nodiscard]] bool possible() const { return reason_.empty(); }
  [[nodiscard]] const std::string& reason() const { return reason_; }
  /// Leaves the encoder in the mode it was in.
  [[nodiscard]] ProbeResult run(Encoder& encoder, const torch::Device& device);
  /// Held-back slices of the last run(), for the projector.
  [[nodiscard]] const ProbeSlices& held_back() const { return held_back_; }
  [[nodiscard]] const std::vector<TrainSlice>& held_back_slices() const { return test_; }

 private:
  [[nodiscard]] ProbeSlices embed(Encoder& encoder, const torch::Device& device,
                                  const std::vector<TrainSlice>& slices) const;
  const DatasetReader& reader_;
  std::int64_t image_size_;
  int workers_;
  std::vector<TrainSlice> train_, test_;
  std::string reason_;
  ProbeSlices held_back_;
};

}  // namespace wsp::train

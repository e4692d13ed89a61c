#pragma once
#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "train/data/slice_sampler.hpp"
#include "train/run/batches.hpp"
#include "train/run/options.hpp"
#include "train/unet/augment.hpp"
#include "train/unet/network.hpp"

namespace wsp::train {

/// What a run is made of before its first step: dataset, checked configuration, volumes, sampler,
/// network on its device.
struct UNetSetup {
  /// Throws Error(usage) for what cannot be asked of this dataset or machine, Error(corrupt) for a
  /// dataset that fails its checks.
  UNetSetup(UNetConfig wanted, const RunOptions& run_options);
  [[nodiscard]] LoaderOptions loader_options() const;
  /// Rows of the index of a batch, [batch * (2k+1)]: every drawn slice with its neighbours; empty
  /// after the last.
  [[nodiscard]] std::vector<std::uint32_t> rows_of(std::int64_t batch) const;
  /// What the user should know of the data and the network, a line each.
  [[nodiscard]] std::vector<std::string> notes() const;

  RunOptions options;
  torch::Device device;
  DatasetReader reader;
  UNetConfig config;
  VolumeSet set;
  SliceSampler sampler;
  std::shared_ptr<UNet> net;
  /// subject_mark() of those whom the network sees here, or its --init weights saw; none where
  /// those do not say.
  std::optional<std::set<std::string>> trained_on;
  std::int64_t steps_per_epoch = 0, total_batches = 0;
};

/// What came of one batch.
struct TrainedBatch {
  AugmentedPair pair;
  torch::Tensor logits;  ///< [m, 1, s, s], with its graph
  torch::Tensor loss;    ///< scalar, detached, on the device
};
/// Augment a batch as (seed, epoch, place in the epoch) say, and add the gradient of its loss to
/// the parameters'.
TrainedBatch backward_pairs(const UNetSetup& setup, const DeviceBatch& batch);

/// Dice of whole volumes at the network's own size, the mean over the validation volumes. Leaves
/// the network training.
double validation_dice(const UNetSetup& setup);

}  // namespace wsp::train

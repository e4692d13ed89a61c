#pragma once
#include <cstdint>
#include <vector>

#include "train/data/volume_set.hpp"

namespace wsp::train {

struct SliceSamplerOptions {
  std::int64_t batch = 16;
  std::int64_t samples_per_epoch = 1000;  ///< draws; the last incomplete batch is dropped
  double liver_share =
      0.5;  ///< part of the draws that hold liver, within one slice of it per batch
  std::uint64_t seed = 0;
};

/// A slice that was drawn.
struct DrawnSlice {
  std::uint32_t volume = 0;  ///< index into the volumes
  std::uint32_t row = 0;     ///< of the index
};

/// Batches of slices balanced between liver and background: for each draw a subject that the batch
/// has drawn least, one of its volumes, and one of that volume's slices of the wanted kind, each
/// uniform, so that a long scan counts no more than a short one. A pure function of (seed, epoch,
/// step): the same on any thread or resumed run.
class SliceSampler {
 public:
  /// `volumes` must outlive the sampler. Throws Error(usage) for options out of range or where no
  /// slice of a wanted kind exists.
  SliceSampler(const std::vector<MaskedVolume>& volumes, const SliceSamplerOptions& options);
  [[nodiscard]] std::int64_t steps_per_epoch() const {
    return options_.samples_per_epoch / options_.batch;
  }
  /// epoch, step >= 0. Thread-safe.
  [[nodiscard]] std::vector<DrawnSlice> batch(std::int64_t epoch, std::int64_t step) const;

 private:
  struct Kind {
    std::vector<std::uint32_t> MaskedVolume::*rows;
    std::vector<std::vector<std::uint32_t>> subjects;  ///< [subject]: volumes that have such slices
  };
  [[nodiscard]] Kind group(std::vector<std::uint32_t> MaskedVolume::*rows) const;

  const std::vector<MaskedVolume>& volumes_;
  SliceSamplerOptions options_;
  Kind liver_, background_;
};

}  // namespace wsp::train

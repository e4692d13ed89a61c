#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "io/shard/dataset.hpp"

namespace wsp::train {

struct VolumeOptions {
  /// Splits to train on; empty takes every case whose split is not "val" or "test".
  std::vector<std::string> splits;
  /// Part of the subjects kept back for validation where the dataset has no split "val" (or
  /// `splits` trains on it): those whose names hash lowest, at least one where it is above 0. In
  /// [0, 1).
  double hold_back = 0.2;
  /// Names of cases that a reader rated as ones to leave out: in neither list.
  std::vector<std::string> exclude = {};
};

/// A whole volume with its mask: rows [first_row, first_row + count) of the index, feet to head.
struct MaskedVolume {
  std::int32_t case_id = 0;  ///< index into DatasetReader::cases()
  std::string subject;
  std::uint32_t first_row = 0;
  std::int64_t count = 0;
  double spacing_mm = 0;  ///< median distance of its slices; 0 of a single one
  std::vector<std::uint32_t> liver, background;  ///< rows with and without liver
};

/// The volumes on which a segmentation network is trained and judged. No subject is in both lists.
struct VolumeSet {
  std::vector<MaskedVolume> training, validation;
  std::vector<std::string> left_out;  ///< what was left out and why, for the log
};

/// All volumes of a dataset, in the order of the index.
std::vector<MaskedVolume> all_volumes(const DatasetReader& reader);

/// Choose the volumes of a dataset that was made with `wsp-ingest --slices all`. Cases whose liver
/// is cut off by their scan are taken: each slice's mask is right; those flagged MASK_UNSURE are
/// not. Throws Error(usage) for an unknown split, an excluded case that the dataset
/// does not have or a part out of range, Error(no_input) where
/// training would have no slice with or none without liver.
VolumeSet select_volumes(const DatasetReader& reader, const VolumeOptions& options);

}  // namespace wsp::train

#pragma once
#include <filesystem>
#include <string>

#include "io/shard/dataset.hpp"
#include "train/data/volume_set.hpp"
#include "train/stats/mask_scores.hpp"

namespace wsp::train {

/// Where the pixels of a case's stored slices lie: cases/CASE.json has the acquired geometry, the
/// index the slices' positions. Throws Error(corrupt) where the JSON cannot be read.
VoxelGrid stored_grid(const DatasetReader& reader, const MaskedVolume& volume);

/// Where a case's mask came from, by cases/CASE.json: file, seg, rtstruct or segmenter. Throws
/// Error(corrupt) where the JSON cannot be read.
std::string mask_source(const DatasetReader& reader, const MaskedVolume& volume);

}  // namespace wsp::train

#pragma once
#include <filesystem>

#include "io/shard/dataset.hpp"

namespace wsp::train {

/// Throws Error(corrupt) for a dataset that fails its checks: every hash with `verify`, else that
/// the files are there and long enough.
void check_dataset(const DatasetReader& reader, const std::filesystem::path& dataset, bool verify);

}  // namespace wsp::train

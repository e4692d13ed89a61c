#pragma once
#include <cstdint>
#include <filesystem>
#include <string>

namespace wsp::test {

struct TrainDatasetOptions {
  int subjects = 24;
  int slices = 8;  ///< per case; one case a subject
  int bare = 0;    ///< of them the last ones, without a liver; where there are any, masks are the
                   ///< body, else all of the slice
  int classes = 4;
  std::int64_t size = 64;
  int shards = 4;
  int first = 0;       ///< number of the first subject: other numbers, other people and pictures
  std::string prefix;  ///< of names: the same pictures under other names
};

/// Write a complete dataset whose pictures can be learnt from: a body whose width follows the
/// depth, and a texture whose wavelength follows the class. Labels: "label" (class of the subject),
/// "stage" (the same, -1 for every third subject); a continuous one, "stiffness_kpa", that grows
/// with the class and is unknown for every sixth subject.
void write_train_dataset(const std::filesystem::path& root, const TrainDatasetOptions& options);

}  // namespace wsp::test

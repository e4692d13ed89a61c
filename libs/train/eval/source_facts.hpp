#pragma once
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "train/eval/features.hpp"

namespace wsp::train {

/// A dataset, where it is there and is the one that was computed from.
struct Source {
  std::string what, directory;  ///< "evaluation D1", "d1"
  std::string absent;           ///< why nothing is known of it, or empty
  std::string sha256;
  nlohmann::json told;                                ///< dataset.json
  FeatureTable cases;                                 ///< roster(), described
  std::map<std::string, int> flags = {}, masks = {};  ///< how many of its cases have them
};

/// sha256_then: of its dataset.json when the results were made; empty: any will do. Throws
/// Error(interrupted) alone.
Source source_of(const std::string& what, const std::string& directory,
                 const std::filesystem::path& root, const std::string& sha256_then,
                 bool include_flagged);
/// "GE 12, unknown 3".
std::string counted(const std::map<std::string, int>& counts);
/// Labels, scanner, kernel, phase, slice spacing and pixel size of its cases.
std::string characteristics_of(const Source& source);

}  // namespace wsp::train

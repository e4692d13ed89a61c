#pragma once
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>

#include "preprocess/pipeline/liver_source.hpp"

namespace wsp {

/// Predicted masks by (volume, model), so that another ingest of the same volumes asks no model.
/// One file each, published atomically, with a SHA-256 over its bytes; names are hashes, and
/// nothing but the mask is in them. Thread-safe; several processes may share a directory.
class MaskCache {
 public:
  /// Makes the directory; throws Error(output) where that fails.
  explicit MaskCache(std::filesystem::path directory);

  /// SHA-256 over a volume's grid, slice positions and HU and a model's identity.
  static std::string key(const Volume& volume, const std::string& model_identity);

  /// The mask of a key, or nothing: absent, damaged (it is made again) or of another grid.
  [[nodiscard]] std::optional<PredictedMask> find(const std::string& key,
                                                  const Geometry& geometry) const;
  /// Where the disk is full or not writable a warning says so once, and nothing more is stored.
  void store(const std::string& key, const PredictedMask& mask);

 private:
  [[nodiscard]] std::filesystem::path path_of(const std::string& key) const;
  std::filesystem::path directory_;
  std::mutex one_at_a_time_;  // equal volumes may be done at once, and have one file
  bool full_ = false;
};

}  // namespace wsp

#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "io/core/error.hpp"
#include "train/model/safetensors.hpp"

namespace wsp::train {

/// The checkpoints of a run: RUN/checkpoints/step-000000123.safetensors and best.safetensors, each
/// a hashed tensor file (safetensors.hpp), published atomically.
class CheckpointStore {
 public:
  /// `keep` newest are kept beside the best.
  CheckpointStore(std::filesystem::path run, std::int64_t keep);
  /// Publish the step, then as the best where it is; then remove what is older than the newest
  /// `keep`.
  void save(std::int64_t step, const TensorFile& state, bool best);
  struct Found {
    std::filesystem::path path;
    TensorFile state;
    std::vector<std::filesystem::path> corrupt;  ///< newer ones that failed their hash
  };
  /// The newest checkpoint whose hash is right, the best where no numbered one is; nothing where
  /// there is none. Throws Error(corrupt) where there are checkpoints and none is right,
  /// Error(failure) where the directory cannot be read.
  [[nodiscard]] std::optional<Found> newest() const;
  /// The state of the best weights, where that file is whole.
  [[nodiscard]] std::optional<TensorFile> best() const;
  [[nodiscard]] bool any() const;
  /// The error of a run that breaks off, with what there is to go on from, if anything.
  [[nodiscard]] Error with_way_on(Error error) const;
  /// Set damaged checkpoints aside as NAME.damaged, so that they do not count among the newest. Of
  /// those set aside the newest stays; earlier ones, and halves of files that a kill left, are
  /// removed.
  void set_aside(const std::vector<std::filesystem::path>& damaged);
  /// Remove every checkpoint.
  void remove_all();

 private:
  [[nodiscard]] std::vector<std::filesystem::path> list() const;  ///< numbered ones, newest first
  [[nodiscard]] std::filesystem::path best_path() const { return directory_ / "best.safetensors"; }
  std::filesystem::path directory_;
  std::int64_t keep_;
};

/// After how many steps weights that a run wrote were taken ("wsp.steps"); -1 where the file is
/// missing, damaged or silent.
std::int64_t steps_of_weights(const std::filesystem::path& weights);

}  // namespace wsp::train

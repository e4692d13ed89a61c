#pragma once
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>

/// What weights say of their own training, as text beside them. No Torch stands here.
namespace wsp::train {

/// What stands for a subject in the weights' list of those trained on: half a SHA-256, so that
/// weights which are passed on name nobody. The same name gives the same mark: people are known
/// again where they have the same names.
std::string subject_mark(const std::string& subject);
/// The list as it stands in the metadata, "wsp.trained_on".
std::string marks_text(const std::set<std::string>& marks);

struct Provenance {
  std::string method, dataset_sha256;  ///< of the last training; empty where the weights do not say
  /// subject_mark() of each subject that they were trained on, those of --init weights included;
  /// none where they do not say.
  std::optional<std::set<std::string>> trained_on;
  /// Of each subject whose scores chose these weights among those of the run; none where they do
  /// not say.
  std::optional<std::set<std::string>> chosen_on;
};
/// From the metadata of `file`, which is named where it cannot be read: Error(corrupt).
Provenance provenance_of(const std::map<std::string, std::string>& metadata,
                         const std::filesystem::path& file);

}  // namespace wsp::train

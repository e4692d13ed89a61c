#pragma once
#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>

#include "io/core/directory_lock.hpp"

namespace wsp::train {

/// RUN, held by one process.
class RunDirectory {
 public:
  /// Make the directory where it is missing and lock it. Throws Error(output) when another process
  /// trains in it or it is not writable.
  explicit RunDirectory(std::filesystem::path path);
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] std::filesystem::path operator/(const char* name) const { return path_ / name; }
  void write_json(const char* name, const nlohmann::json& value) const;

 private:
  std::filesystem::path path_;
  std::unique_ptr<DirectoryLock> lock_;
};

/// The time in UTC, ISO 8601.
std::string utc_now();
/// Whether a run may be written to `run`, of which `files` are what a run of this kind writes.
/// Throws Error(output) for a dataset, and for a run that is there already unless `may_exist`
/// (--resume, --force).
void judge_run_directory(const std::filesystem::path& run, std::span<const std::string> files,
                         bool may_exist);
/// Remove what a kill left of a file that was being written ("NAME.tmp").
void remove_halves(const std::filesystem::path& run, std::span<const std::string> files);
/// Remove an earlier run's files, and what TensorBoard reads; nothing else is touched.
void clear_run_directory(const std::filesystem::path& run, std::span<const std::string> files);

}  // namespace wsp::train

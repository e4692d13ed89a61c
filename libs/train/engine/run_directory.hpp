#pragma once
#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>

#include "io/core/directory_lock.hpp"

namespace wsp::train {

/// RUN, held by one process.
class RunDirectory {
 public:
  /// Make the directory where it is missing and lock it. Throws Error(output) when another process trains
  /// in it or it is not writable.
  explicit RunDirectory(std::filesystem::path path);
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] std::filesystem::path operator/(const char* name) const { return path_ / name; }
  void write_json(const char* name, const nlohmann::json& value) const;

 private:
  std::filesystem::path path_;
  std::unique_ptr<DirectoryLock> lock_;
};

}  // namespace wsp::train

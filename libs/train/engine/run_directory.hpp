#pragma once
#include <filesystem>
#include <nlohmann/json_fwd.hpp>

namespace wsp::train {

/// RUN, held by one process: an advisory lock on RUN/.lock that the system drops when the process ends,
/// however it ends.
class RunDirectory {
 public:
  /// Make the directory where it is missing and lock it. Throws Error(output) when another process trains
  /// in it or it is not writable.
  explicit RunDirectory(std::filesystem::path path);
  ~RunDirectory();
  RunDirectory(const RunDirectory&) = delete;
  RunDirectory& operator=(const RunDirectory&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] std::filesystem::path operator/(const char* name) const { return path_ / name; }
  void write_json(const char* name, const nlohmann::json& value) const;

 private:
  std::filesystem::path path_;
  int lock_ = -1;
};

}  // namespace wsp::train

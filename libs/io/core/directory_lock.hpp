#pragma once
#include <filesystem>

namespace wsp {

/// The right to write into a directory: an advisory lock (flock) on the directory itself, so that
/// no lock file stands in it, held until destruction or the end of the process, however it ends.
class DirectoryLock {
 public:
  /// Throws Error(output) where another process holds the lock or the directory cannot be opened.
  /// A file system without locks gives none; a warning says so.
  explicit DirectoryLock(const std::filesystem::path& directory);
  ~DirectoryLock();
  DirectoryLock(const DirectoryLock&) = delete;
  DirectoryLock& operator=(const DirectoryLock&) = delete;

 private:
  int descriptor_ = -1;
};

}  // namespace wsp

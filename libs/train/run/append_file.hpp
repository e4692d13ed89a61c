#pragma once
#include <cstdint>
#include <filesystem>
#include <string_view>

namespace wsp::train {

/// A log that only grows and holds whole records: what append() could not write in full is taken
/// back, so that a disk that fills up leaves a readable file. Move-only; not thread-safe.
class AppendFile {
 public:
  enum class Open { create_new, create_or_append };

  /// Throws Error(output) when the file cannot be opened or, for create_new, exists already.
  AppendFile(std::filesystem::path path, Open mode);
  AppendFile(AppendFile&& other) noexcept;
  AppendFile& operator=(AppendFile&&) = delete;
  /// Closes without a word; call close() to learn of failures.
  ~AppendFile();

  /// Append all of `record` or nothing. Throws Error(output).
  void append(std::string_view record);
  /// Cut the file to its first `size` bytes. Throws Error(output).
  void truncate(std::uint64_t size);
  /// Make what was appended durable. Throws Error(output).
  void sync();
  /// Sync and close; nothing may be called afterwards. Throws Error(output).
  void close();
  [[nodiscard]] std::uint64_t size() const { return size_; }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  int fd_ = -1;
  std::uint64_t size_ = 0;
};

}  // namespace wsp::train

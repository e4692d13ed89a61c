#pragma once
#include <atomic>
#include <cstdint>
#include <filesystem>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "io/medical/dicom_header.hpp"

namespace wsp {

/// By which a file is told from itself at another time.
struct FileStamp {
  std::int64_t bytes = 0, modified_ns = 0, changed_ns = 0;  ///< of content, of anything (ctime)
  bool operator==(const FileStamp&) const = default;
};
/// None where it cannot be had.
std::optional<FileStamp> stamp_of(const std::filesystem::path& path);

/// The DICOM headers of an export, in a file: machines that share a scan read them once. Names and
/// birth dates of patients are in it. Of the program that wrote it only.
class SavedScan {
 public:
  SavedScan() = default;
  /// Throws Error(no_input) where there is no such file, Error(usage) for one that is none or of
  /// another version of the program, Error(corrupt) for one that is damaged.
  static SavedScan load(const std::filesystem::path& path);
  SavedScan(SavedScan&& other) noexcept
      : headers_(std::move(other.headers_)), found_(other.found_.load()) {}

  /// What was read of the file where it is what it was, or null. Thread-safe.
  [[nodiscard]] const dicom::Header* find(const std::string& relative_path,
                                          const FileStamp& stamp) const;
  /// Keep a header that was read after its stamp was taken. Not kept: what may be the disk's fault
  /// (may_be_the_disk()), and a file that changed a moment ago, whose next change its times may not
  /// show. Thread-safe.
  void keep(const std::string& relative_path, const FileStamp& stamp, const dicom::Header& header);
  [[nodiscard]] std::size_t size() const { return headers_.size(); }
  /// How many find() had.
  [[nodiscard]] std::size_t found() const { return found_; }
  /// Readable by its owner only. The same headers give the same bytes. Throws Error(output).
  void write(const std::filesystem::path& path) const;

 private:
  std::map<std::string, std::pair<FileStamp, dicom::Header>> headers_;
  mutable std::atomic<std::size_t> found_ = 0;
  std::mutex mutex_;
};

}  // namespace wsp

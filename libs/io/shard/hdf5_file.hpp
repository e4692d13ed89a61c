#pragma once
#include <hdf5.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "io/core/error.hpp"

/// The only place where HDF5 types stand.
namespace wsp::h5 {

/// Hold this while any handle of this header lives: HDF5 is used by one thread at a time.
[[nodiscard]] std::unique_lock<std::mutex> exclusive();

/// A move-only HDF5 id. close() is checked; the destructor closes without a word.
class Handle {
 public:
  using Closer = herr_t (*)(hid_t);
  Handle(hid_t id, Closer closer, std::string what, ErrorCode code = ErrorCode::corrupt)
      : id_(id), closer_(closer), what_(std::move(what)), code_(code) {
    if (id_ < 0) throw Error(code_, "HDF5 cannot open " + what_);
  }
  Handle(Handle&& other) noexcept
      : id_(std::exchange(other.id_, -1)),
        closer_(other.closer_),
        what_(std::move(other.what_)),
        code_(other.code_) {}
  Handle& operator=(Handle&&) = delete;
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle() {
    if (id_ >= 0) closer_(id_);
  }
  [[nodiscard]] hid_t get() const { return id_; }
  /// HDF5 may notice only here that the disk is full.
  void close() {
    if (closer_(std::exchange(id_, -1)) < 0) throw Error(code_, "HDF5 cannot close " + what_);
  }

 private:
  hid_t id_;
  Closer closer_;
  std::string what_;
  ErrorCode code_;
};

/// A file that is made in memory, with latest format and no timestamps, and then written by us:
/// after a failed write of its own (a full disk) the library crashes when what it holds is closed,
/// at the latest in its exit handler. Every failure is Error(output).
class NewFile {
 public:
  /// `name` is for messages.
  explicit NewFile(const std::string& name);
  ~NewFile();
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;
  [[nodiscard]] hid_t get() const { return file_.get(); }
  /// Close the file and write it to `path`, where what stands there goes (write_temporary()).
  void write_to(const std::filesystem::path& path);

 private:
  struct Image;
  static Handle create(const std::string& name, Image& image);
  std::unique_ptr<Image> image_;
  Handle file_;  // closed before its image goes
};
Handle create_group(hid_t parent, const char* name);
/// A dataset creation property list without object times.
Handle dataset_properties();
/// Open read-only. Only a regular file with the superblock that we write (version 3, 8-byte offsets
/// and lengths, no extension) reaches the HDF5 library: most files made to crash it do not. Throws
/// Error(corrupt).
Handle open_file(const std::filesystem::path& path);
/// Open /group/name where every step is a hard link, so that no other file is ever followed.
Handle open_dataset(hid_t file, const std::string& name);

void write_attribute(hid_t object, const char* name, std::int64_t value);
void write_attribute(hid_t object, const char* name, std::uint64_t value);
void write_attribute(hid_t object, const char* name, const std::string& value);
std::int64_t read_integer_attribute(hid_t object, const char* name);
std::uint64_t read_hash_attribute(hid_t object, const char* name);
std::string read_string_attribute(hid_t object, const char* name);

/// Columns: one-dimensional, contiguous, little-endian, with an attribute "xxh3": the XXH3-64 (seed
/// 0) of the stored bytes, which every read checks.
void write_column(hid_t group, const char* name, const std::vector<double>& values);
void write_column(hid_t group, const char* name, const std::vector<std::int64_t>& values);
void write_column(hid_t group, const char* name, const std::vector<std::int32_t>& values);
void write_column(hid_t group, const char* name, const std::vector<std::uint64_t>& values);
void write_column(hid_t group, const char* name, const std::vector<std::uint32_t>& values);
/// Fixed-length, null-padded UTF-8.
void write_column(hid_t group, const char* name, const std::vector<std::string>& values);

std::vector<double> read_doubles(hid_t file, const std::string& name);
/// int32 or int64.
std::vector<std::int64_t> read_integers(hid_t file, const std::string& name);
/// uint32 or uint64.
std::vector<std::uint64_t> read_unsigned(hid_t file, const std::string& name);
std::vector<std::string> read_strings(hid_t file, const std::string& name);

}  // namespace wsp::h5

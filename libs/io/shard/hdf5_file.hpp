#pragma once
#include <hdf5.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "io/core/error.hpp"
#include "io/shard/dataset.hpp"

/// The only place where HDF5 types stand. HDF5 is used from one thread at a time (hdf5_mutex()).
namespace wsp::h5 {

/// A move-only HDF5 id. close() is checked; the destructor closes without a word.
class Handle {
 public:
  using Closer = herr_t (*)(hid_t);
  Handle(hid_t id, Closer closer, const char* what, ErrorCode code = ErrorCode::corrupt)
      : id_(id), closer_(closer), what_(what), code_(code) {
    if (id_ < 0) throw Error(code_, std::string("HDF5 cannot open ") + what_);
  }
  Handle(Handle&& other) noexcept
      : id_(std::exchange(other.id_, -1)), closer_(other.closer_), what_(other.what_), code_(other.code_) {}
  Handle& operator=(Handle&&) = delete;
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle() {
    if (id_ >= 0) closer_(id_);
  }
  [[nodiscard]] hid_t get() const { return id_; }
  /// HDF5 may notice only here that the disk is full.
  void close() {
    if (closer_(std::exchange(id_, -1)) < 0)
      throw Error(code_, std::string("HDF5 cannot close ") + what_);
  }

 private:
  hid_t id_;
  Closer closer_;
  const char* what_;
  ErrorCode code_;
};

/// Silence HDF5's own messages, turn plugin loading off, register the Blosc filter; once.
void initialise();

/// Create a file with latest format and no timestamps; every failure is Error(output).
Handle create_file(const std::filesystem::path& path);
Handle create_group(hid_t parent, const char* name);
/// Open read-only; external links and unknown content are never followed. Error(corrupt).
Handle open_file(const std::filesystem::path& path);

/// A creation property list without object times.
Handle dataset_properties();

void write_column(hid_t group, const char* name, const std::vector<double>& values);
void write_column(hid_t group, const char* name, const std::vector<std::int64_t>& values);
void write_column(hid_t group, const char* name, const std::vector<std::int32_t>& values);
void write_column(hid_t group, const char* name, const std::vector<std::uint64_t>& values);
void write_column(hid_t group, const char* name, const std::vector<std::uint32_t>& values);
/// Fixed-length, null-padded UTF-8.
void write_column(hid_t group, const char* name, const std::vector<std::string>& values);
void write_attribute(hid_t object, const char* name, std::int64_t value);
void write_attribute(hid_t object, const char* name, const std::string& value);

std::vector<double> read_doubles(hid_t file, const std::string& name);
std::vector<std::int64_t> read_integers(hid_t file, const std::string& name);
std::vector<std::uint64_t> read_hashes(hid_t file, const std::string& name);
std::vector<std::string> read_strings(hid_t file, const std::string& name);
std::int64_t read_integer_attribute(hid_t file, const char* name);
std::string read_string_attribute(hid_t file, const char* name);

/// Where a chunk lies in the file.
struct ChunkInfo {
  std::uint64_t offset = 0, length = 0;
};

}  // namespace wsp::h5

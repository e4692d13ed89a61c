#pragma once
#include <hdf5.h>

#include <cstdint>
#include <filesystem>
#include <system_error>

namespace wsp {

/// Where HDF5's own chunk index puts one slice.
struct ChunkLocation {
  std::uint64_t offset = 0, length = 0;
};
/// Ask HDF5; throws Error(corrupt) for a chunk that is missing or skips the filter.
ChunkLocation chunk_place(hid_t set, hsize_t row);

/// A file that is removed at the end of the scope unless it was renamed.
struct TemporaryFile {
  explicit TemporaryFile(std::filesystem::path at) : path(std::move(at)) {}
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() {
    std::error_code ignored;
    std::filesystem::remove(path, ignored);
  }
  std::filesystem::path path;
};

}  // namespace wsp

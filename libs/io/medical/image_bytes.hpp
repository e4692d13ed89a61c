#pragma once
#include <zlib.h>

#include <cstdint>
#include <filesystem>
#include <span>

#include "io/core/outcome.hpp"

/// Bytes of image files, through zlib and libdeflate. Internal to io/medical.
namespace wsp::image {

/// A file from `start` on, unpacked where gzip's magic stands there and as it is elsewhere.
class ZFile {
 public:
  explicit ZFile(const std::filesystem::path& path, std::int64_t start = 0);
  ZFile(const ZFile&) = delete;
  ZFile& operator=(const ZFile&) = delete;
  ~ZFile();
  [[nodiscard]] bool is_gzip() { return file_ != nullptr && gzdirect(file_) == 0; }
  /// Go to an offset in what is unpacked.
  [[nodiscard]] bool seek(std::int64_t offset);
  /// Read up to `bytes`; how many there were.
  std::size_t read(char* into, std::size_t bytes);
  /// Read to the end, where gzip's checksum and length stand; how many bytes there were.
  std::int64_t drain();
  /// USED while nothing was wrong with what was read; else TRUNCATED_FILE, DECODE_FAILED or
  /// UNREADABLE.
  [[nodiscard]] Rejection verdict() const;

 private:
  gzFile file_ = nullptr;
  int state_ = Z_OK;  ///< of the last read that was not Z_OK
};

/// Fill `bytes` with what a gzip file holds, where it is one member that unpacks to exactly so many
/// bytes, checksum and length included: faster than a ZFile, which says what is wrong with others.
/// False for those; what then stands in `bytes` means nothing.
bool unpack_whole(const std::filesystem::path& path, std::span<char> bytes);

/// Turn the bytes of every number round.
void swap_bytes(std::span<char> numbers, std::size_t bytes);

}  // namespace wsp::image

#include "io/medical/image_bytes.hpp"

#include <fcntl.h>
#include <libdeflate.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <system_error>
#include <vector>

namespace wsp::image {

ZFile::ZFile(const std::filesystem::path& path, std::int64_t start) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return;
  if (::lseek(file, start, SEEK_SET) == start) file_ = gzdopen(file, "rb");
  if (file_ == nullptr)
    ::close(file);
  else
    gzbuffer(file_, 1U << 17);
}

ZFile::~ZFile() {
  if (file_ != nullptr) gzclose(file_);
}

bool ZFile::seek(std::int64_t offset) {
  return file_ != nullptr && gzseek(file_, offset, SEEK_SET) == offset;
}

std::size_t ZFile::read(char* into, std::size_t bytes) {
  std::size_t have = 0;
  while (file_ != nullptr && have < bytes) {
    const auto step = static_cast<unsigned>(std::min<std::size_t>(bytes - have, 1U << 26));
    const int n = gzread(file_, into + have, step);
    // zlib from 1.3.2 on tells of data that break off once, after the read that met their end.
    int state = Z_OK;
    gzerror(file_, &state);
    if (state != Z_OK) state_ = state;
    if (n <= 0) break;
    have += static_cast<std::size_t>(n);
  }
  return have;
}

std::int64_t ZFile::drain() {
  std::vector<char> buffer(1U << 20);
  std::int64_t total = 0;
  for (std::size_t n = 1; n > 0; total += static_cast<std::int64_t>(n))
    n = read(buffer.data(), buffer.size());
  return total;
}

Rejection ZFile::verdict() const {
  const int state = file_ == nullptr ? Z_ERRNO : state_;
  const auto say = [](Code code, const char* detail) {
    return Rejection{"", "read", code, detail};
  };
  if (state == Z_BUF_ERROR) return say(Code::TRUNCATED_FILE, "its gzip data break off");
  if (state == Z_DATA_ERROR)
    return say(Code::DECODE_FAILED, "its gzip data are damaged: code, checksum or length");
  if (state != Z_OK) return say(Code::UNREADABLE, "the file cannot be read");
  return say(Code::USED, "");
}

bool unpack_whole(const std::filesystem::path& path, std::span<char> bytes) {
  constexpr std::size_t kMostPacked = std::size_t{256} << 20;  // held beside what is unpacked
  std::error_code error;
  const std::size_t size = std::filesystem::file_size(path, error);
  std::ifstream file(path, std::ios::binary);
  if (error || size > std::min(kMostPacked, bytes.size()) || file.get() != 0x1F) return false;
  const std::unique_ptr<char[]> packed(new char[size]);
  if (!file.seekg(0).read(packed.get(), static_cast<std::streamsize>(size))) return false;
  const std::unique_ptr<libdeflate_decompressor, void (*)(libdeflate_decompressor*)> unpacker(
      libdeflate_alloc_decompressor(), libdeflate_free_decompressor);
  // libdeflate does not look at the header's own checksum, which hardly a file has.
  constexpr std::size_t kFlags = 3;
  constexpr char kHeaderChecksum = 2;
  std::size_t taken = 0;
  return size > kFlags && (packed[kFlags] & kHeaderChecksum) == 0 && unpacker != nullptr &&
         libdeflate_gzip_decompress_ex(unpacker.get(), packed.get(), size, bytes.data(),
                                       bytes.size(), &taken, nullptr) == LIBDEFLATE_SUCCESS &&
         taken == size;
}

void swap_bytes(std::span<char> numbers, std::size_t bytes) {
  for (std::size_t i = 0; i + bytes <= numbers.size(); i += bytes)
    std::reverse(numbers.data() + i, numbers.data() + i + bytes);
}

}  // namespace wsp::image

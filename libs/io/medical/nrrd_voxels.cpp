// The voxels of a NRRD file: raw, gzip, text or hex, in one file or several.
#include <algorithm>
#include <charconv>
#include <cstring>
#include <fstream>
#include <limits>
#include <optional>

#include "io/medical/image_bytes.hpp"
#include "io/medical/image_header.hpp"

namespace wsp::image {
namespace {

namespace fs = std::filesystem;
using Encoding = NrrdHeader::Encoding;

Rejection too_short() {
  return refuse_read(Code::TRUNCATED_FILE, "the file ends before its voxels do");
}

// Where the voxels begin in their file, lines left out.
std::optional<std::int64_t> begin_of(const NrrdHeader& header, const fs::path& path,
                                     std::int64_t share) {
  if (header.byte_skip < 0) {
    std::error_code error;
    return static_cast<std::int64_t>(fs::file_size(path, error)) - share;
  }
  std::ifstream file(path, std::ios::binary);
  file.seekg(header.start);
  for (std::int64_t k = 0; k < header.line_skip; ++k)
    file.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  if (!file) return std::nullopt;
  return static_cast<std::int64_t>(file.tellg()) +
         (header.encoding == Encoding::gzip ? 0 : header.byte_skip);
}

Rejection read_gzip(const NrrdHeader& header, const fs::path& path, std::int64_t begin,
                    std::span<char> into) {
  ZFile file(path, begin);
  if (!file.is_gzip()) return refuse_read(Code::DECODE_FAILED, "the voxels are no gzip data");
  const bool whole =
      file.seek(header.byte_skip) && file.read(into.data(), into.size()) == into.size();
  if (whole) file.drain();
  if (Rejection r = file.verdict(); r.code != Code::USED || whole) return r;
  return too_short();
}

template <class T>
Rejection read_numbers(std::ifstream& file, std::span<char> into) {
  std::string word;
  for (std::size_t at = 0; at < into.size(); at += sizeof(T)) {
    if (!(file >> word)) return too_short();
    if (word.ends_with(',')) word.pop_back();
    T value{};
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (error != std::errc() || end != word.data() + word.size())
      return refuse_read(Code::DECODE_FAILED, "a voxel is no number of the voxels' type");
    std::memcpy(into.data() + at, &value, sizeof(T));
  }
  return refuse_read(Code::USED, "");
}

Rejection read_text(const std::string& component, std::ifstream& file, std::span<char> into) {
  if (component == "int8") return read_numbers<std::int8_t>(file, into);
  if (component == "uint8") return read_numbers<std::uint8_t>(file, into);
  if (component == "int16") return read_numbers<std::int16_t>(file, into);
  if (component == "uint16") return read_numbers<std::uint16_t>(file, into);
  if (component == "int32") return read_numbers<std::int32_t>(file, into);
  if (component == "uint32") return read_numbers<std::uint32_t>(file, into);
  if (component == "int64") return read_numbers<std::int64_t>(file, into);
  if (component == "uint64") return read_numbers<std::uint64_t>(file, into);
  if (component == "float32") return read_numbers<float>(file, into);
  return read_numbers<double>(file, into);
}

Rejection read_hex(std::ifstream& file, std::span<char> into) {
  for (char& byte : into) {
    char digits[2];
    if (!(file >> digits[0] >> digits[1])) return too_short();
    std::uint8_t value = 0;
    if (std::from_chars(digits, digits + 2, value, 16).ptr != digits + 2)
      return refuse_read(Code::DECODE_FAILED, "a voxel is no hexadecimal number");
    byte = static_cast<char>(value);
  }
  return refuse_read(Code::USED, "");
}

Rejection read_share(const NrrdHeader& header, const fs::path& path, std::span<char> into) {
  const auto begin = begin_of(header, path, static_cast<std::int64_t>(into.size()));
  if (!begin || *begin < 0) return too_short();
  if (header.encoding == Encoding::gzip) return read_gzip(header, path, *begin, into);
  std::ifstream file(path, std::ios::binary);
  file.seekg(*begin);
  if (header.encoding == Encoding::text) return read_text(header.image.component, file, into);
  if (header.encoding == Encoding::hex) return read_hex(file, into);
  if (!file.read(into.data(), static_cast<std::streamsize>(into.size()))) return too_short();
  return refuse_read(Code::USED, "");
}

}  // namespace

Outcome<SharedSpan<char>> read_nrrd_voxels(const NrrdHeader& header) {
  const std::size_t bytes =
      static_cast<std::size_t>(header.image.geometry.voxels()) * header.voxel_bytes;
  const auto buffer = allocate_bytes(bytes);
  const std::span voxels(buffer.get(), bytes);
  const std::size_t share = voxels.size() / header.files.size();
  for (std::size_t i = 0; i < header.files.size(); ++i)
    if (Rejection r = read_share(header, header.files[i], voxels.subspan(i * share, share));
        r.code != Code::USED)
      return r;
  if (header.swapped && header.encoding != Encoding::text) swap_bytes(voxels, header.voxel_bytes);
  return SharedSpan<char>{voxels, buffer};
}

}  // namespace wsp::image

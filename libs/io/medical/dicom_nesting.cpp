#include "io/medical/dicom_nesting.hpp"

#include <array>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <limits>
#include <string_view>
#include <vector>

namespace wsp::dicom {
namespace {

constexpr std::uint64_t kUndefined = std::numeric_limits<std::uint64_t>::max();

/// The bytes of a file at growing positions; short jumps stay in the buffer.
class Bytes {
 public:
  explicit Bytes(const std::filesystem::path& path) : stream_(path, std::ios::binary) {}
  bool read(std::uint64_t position, unsigned char* out, std::size_t count) {
    if (position < at_) {
      stream_.seekg(static_cast<std::streamoff>(position));
    } else if (position > at_) {
      constexpr std::uint64_t kNear = 4096;
      if (position - at_ <= kNear)
        stream_.ignore(static_cast<std::streamsize>(position - at_));
      else
        stream_.seekg(static_cast<std::streamoff>(position));
    }
    stream_.read(reinterpret_cast<char*>(out), static_cast<std::streamsize>(count));
    at_ = position + count;
    return static_cast<std::size_t>(stream_.gcount()) == count && !stream_.bad();
  }

 private:
  std::ifstream stream_;
  std::uint64_t at_ = 0;
};

bool is_type(const unsigned char* vr) {
  static constexpr std::string_view kTypes =
      "AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN "
      "UR US UT UV";
  const std::array<char, 3> word{static_cast<char>(vr[0]), static_cast<char>(vr[1]), '\0'};
  return vr[0] >= 'A' && vr[1] >= 'A' && kTypes.find(word.data()) != std::string_view::npos;
}

bool has_long_length(const unsigned char* vr) {
  static constexpr std::string_view kLong = "OB OD OF OL OV OW SQ SV UC UN UR UT UV";
  const std::array<char, 3> word{static_cast<char>(vr[0]), static_cast<char>(vr[1]), '\0'};
  return kLong.find(word.data()) != std::string_view::npos;
}

}  // namespace

bool nests_too_deep(const std::filesystem::path& path) {
  Bytes bytes(path);
  std::array<unsigned char, 132> head{};
  const bool preamble =
      bytes.read(0, head.data(), head.size()) && std::memcmp(head.data() + 128, "DICM", 4) == 0;
  std::uint64_t position = preamble ? head.size() : 0;
  if (!preamble) bytes = Bytes(path);
  bool big = false;
  std::vector<std::uint64_t> ends;  // of the open sequences and items
  std::array<unsigned char, 12> raw{};
  const auto number = [&](std::size_t from, std::size_t count) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < count; ++i)
      value |= std::uint64_t{raw[from + i]} << (8 * (big ? count - 1 - i : i));
    return value;
  };
  while (bytes.read(position, raw.data(), 8)) {
    while (!ends.empty() && ends.back() <= position) ends.pop_back();
    // The meta header is little endian whatever follows it.
    if (ends.empty() && raw[0] == 0 && raw[1] != 0) big = true;
    const std::uint64_t group = number(0, 2), element = number(2, 2);
    std::uint64_t length = number(4, 4), header = 8;
    bool opens = false;
    if (group == 0xFFFE) {
      if (element != 0xE000) {  // the end of an item or of a sequence
        if (!ends.empty()) ends.pop_back();
        position += 8;
        continue;
      }
      opens = true;
    } else if (is_type(raw.data() + 4)) {
      length = number(6, 2);
      opens = raw[4] == 'S' && raw[5] == 'Q';
      if (has_long_length(raw.data() + 4)) {
        if (!bytes.read(position + 8, raw.data() + 8, 4)) return false;
        length = number(8, 4);
        header = 12;
      }
    }
    const bool undefined = length == 0xFFFFFFFF;
    if (!opens && !undefined &&
        length >= 8) {  // a sequence that no type tells, if an item begins it
      std::array<unsigned char, 4> first{};
      if (length < (1U << 24) && bytes.read(position + header, first.data(), 4))
        opens = big ? first == std::array<unsigned char, 4>{0xFF, 0xFE, 0xE0, 0x00}
                    : first == std::array<unsigned char, 4>{0xFE, 0xFF, 0x00, 0xE0};
    }
    position += header;
    if (opens || undefined) {
      ends.push_back(undefined ? kUndefined : position + length);
      if (ends.size() > 2 * static_cast<std::size_t>(kDeepestSequence)) return true;
    } else {
      position += length;
    }
  }
  return false;
}

}  // namespace wsp::dicom

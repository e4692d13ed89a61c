#include <array>
#include <cstring>
#include <string>

#include "io/medical/codec.hpp"

namespace wsp::dicom {

/// PS3.5 annex G: a header of segment offsets, then one PackBits segment per byte of the word, most
/// significant first. DCMTK's decoder reads only the first fragment of a frame and reports no
/// error.
Outcome<std::vector<std::uint8_t>> decode_rle(std::span<const std::uint8_t> bytes,
                                              std::int64_t pixels, int bytes_per_pixel) {
  const auto failed = [](std::string detail) {
    return Rejection{"", "read", Code::DECODE_FAILED, "RLE: " + detail};
  };
  constexpr std::size_t kHeader = 64;
  if (bytes.size() < kHeader) return failed("no header");
  std::array<std::uint32_t, 16> header{};
  std::memcpy(header.data(), bytes.data(), kHeader);
  const auto segments = static_cast<std::size_t>(bytes_per_pixel);
  if (header[0] != segments) {
    return failed(std::to_string(header[0]) + " segments, expected " + std::to_string(segments));
  }
  const auto count = static_cast<std::size_t>(pixels);
  std::vector<std::uint8_t> words(count * segments);
  for (std::size_t s = 0; s < segments; ++s) {
    std::size_t at = header[s + 1];
    const std::size_t end = s + 1 < segments ? header[s + 2] : bytes.size();
    if (at < kHeader || end > bytes.size() || at > end) return failed("segment offset");
    const std::size_t place = segments - 1 - s;  // this machine's words begin with the low byte
    std::size_t written = 0;
    while (written < count && at < end) {
      const std::uint8_t control = bytes[at++];
      if (control == 128) continue;
      if (control < 128) {
        std::size_t run = static_cast<std::size_t>(control) + 1;
        for (; run > 0 && at < end && written < count; --run)
          words[segments * written++ + place] = bytes[at++];
      } else {
        if (at >= end) break;
        const std::uint8_t value = bytes[at++];
        for (std::size_t run = 257U - control; run > 0 && written < count; --run) {
          words[segments * written++ + place] = value;
        }
      }
    }
    if (written < count) return failed("segment ends early");
  }
  return words;
}

}  // namespace wsp::dicom

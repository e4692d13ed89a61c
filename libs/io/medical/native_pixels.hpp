#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <vector>

class DcmFileFormat;

/// What a DICOM file's header says of pixels that lie in the file as they are. Internal to
/// io/medical.
namespace wsp::dicom {

/// How the header says that stored values lie in their words.
struct PixelFormat {
  std::int64_t columns = 0, rows = 0, frames = 1;
  int allocated = 16, stored = 16, high = 15;
  bool is_signed = false;
  bool overlay = false;  ///< an overlay lies in bits that are not stored (retired, PS3.5 8.1.2)
};

/// Values that are padding, ends included; none where low > high.
struct PaddingRange {
  std::int32_t low = 1, high = 0;
};

/// One image of 16-bit little-endian words that end a file, and all that decoding it asks of the
/// header before them: who finds the same header in the file again need not parse it.
struct NativePixels {
  std::uint64_t file_bytes = 0, offset = 0;
  std::uint64_t header_xxh3 = 0;  ///< of the bytes before `offset`
  PixelFormat format;
  PaddingRange padding;
  float slope = 1, intercept = 0;
};

/// Of a loaded file, where its pixels lie so; the header's bytes are read again.
std::optional<NativePixels> find_native_pixels(const std::filesystem::path& path,
                                               DcmFileFormat& file);

/// The words in a file's bytes, or nothing where the header is another now.
std::optional<std::span<const std::uint8_t>> native_words(std::span<const std::uint8_t> file,
                                                          const NativePixels& pixels);

}  // namespace wsp::dicom

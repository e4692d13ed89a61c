#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "io/core/outcome.hpp"

/// Pixels out of DICOM files. Internal to io/medical; no DCMTK type stands here, so that decoding
/// can move into worker processes.
namespace wsp::dicom {

/// One decoded frame, as the header says its stored values are to be read.
struct DecodedFrame {
  std::int64_t columns = 0, rows = 0;
  std::vector<std::int32_t> stored;  ///< [row][column], sign-extended at BitsStored
  std::vector<std::uint8_t>
      padding;  ///< 1 where PixelPaddingValue..RangeLimit; empty when none declared
  float slope = 1, intercept = 0;  ///< Rescale, of this frame
  bool sign_repaired = false;      ///< the codestream's signedness contradicted the header
};

/// Decodes frames of one file. Implementations are thread-safe.
class FrameDecoder {
 public:
  virtual ~FrameDecoder() = default;
  /// Decode `frames` (0-based) of the file, in the order given.
  /// Rejects with TRUNCATED_FILE, DECODE_FAILED, BAD_HEADER, SIGN_MISMATCH or
  /// UNSUPPORTED_TRANSFER_SYNTAX.
  virtual Outcome<std::vector<DecodedFrame>> decode(const std::filesystem::path& path,
                                                    std::span<const std::int32_t> frames) const = 0;
};

/// The decoder that works inside this process.
std::unique_ptr<FrameDecoder> make_frame_decoder();

/// A JPEG 2000 or HTJ2K image of one component.
struct CodestreamImage {
  std::int64_t columns = 0, rows = 0;
  int precision = 0;
  bool is_signed = false;
  std::vector<std::int32_t> values;
};
/// Decode one whole codestream (raw or in a JP2 box) with OpenJPEG; the size is checked against the
/// header's before pixels are allocated.
Outcome<CodestreamImage> decode_jpeg2000(std::span<const std::uint8_t> bytes, std::int64_t columns,
                                         std::int64_t rows);

/// Decode one whole RLE frame into words in this machine's byte order.
Outcome<std::vector<std::uint8_t>> decode_rle(std::span<const std::uint8_t> bytes,
                                              std::int64_t pixels, int bytes_per_pixel);

}  // namespace wsp::dicom

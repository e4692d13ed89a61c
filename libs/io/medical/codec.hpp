#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "io/core/bytes.hpp"
#include "io/core/hash.hpp"
#include "io/core/outcome.hpp"
#include "io/medical/native_pixels.hpp"

/// Pixels out of DICOM files. Internal to io/medical; no DCMTK type stands here.
namespace wsp::dicom {

/// What the words of pixels say of BitsStored, HighBit and PixelRepresentation: counts of pixels
/// that are no padding. They add up over a series: one frame alone may not tell.
struct WordEvidence {
  std::int64_t extended = 0;       ///< signed: negative, and the bits above HighBit repeat the sign
  std::int64_t bare = 0;           ///< signed: negative, and the bits above HighBit are zero
  std::int64_t wider = 0;          ///< bits above HighBit that can be a number's own
  std::int64_t negative = 0;       ///< unsigned: far too much for CT, but not as signed words
  std::int64_t low = 0;            ///< signed: far too little for CT, but not as unsigned words
  std::int64_t low_kept = 0;       ///< signed: negative, sound
  float low_from = 0, low_to = 0;  ///< HU of `low`
  float example_hu = 0;            ///< what one of `wider` or `negative` is read as

  void add(const WordEvidence& other);
  /// What contradicts the header, in words and numbers; empty when nothing does.
  [[nodiscard]] std::string contradiction() const;
};

/// One decoded frame, as the header says its stored values are to be read.
struct DecodedFrame {
  std::int64_t columns = 0, rows = 0;
  /// [row][column]: the words as they stand, where they are the values and prove nothing else.
  SharedSpan<std::int16_t> plain;
  PaddingRange padding_range;
  std::vector<std::int32_t> stored;  ///< without `plain`: sign-extended at BitsStored
  /// With `stored`: 1 where PixelPaddingValue..RangeLimit; empty when none declared.
  std::vector<std::uint8_t> padding;
  float slope = 1, intercept = 0;  ///< Rescale, of this frame
  bool sign_repaired = false;      ///< the codestream's signedness contradicted the header
  WordEvidence words;

  /// What is stored, whichever way.
  [[nodiscard]] std::vector<std::int32_t> values() const {
    return plain.view.empty() ? stored
                              : std::vector<std::int32_t>(plain.view.begin(), plain.view.end());
  }
};

class KeptImage;

/// What is known and wanted beside the frames of a file.
struct DecodeHints {
  const NativePixels* native = nullptr;  ///< what the scan found, or null
  Digest* hash = nullptr;                ///< filled with the SHA-256 of the file that is decoded
  KeptImage* kept = nullptr;             ///< the file's one image, where it was decoded before
  bool keep = false;                     ///< it will be wanted again; else `kept` is emptied
};

/// Decodes frames of one file. Implementations are thread-safe.
class FrameDecoder {
 public:
  virtual ~FrameDecoder() = default;
  /// Decode `frames` (0-based) of the file, in the order given. Throws Error(failure) where the
  /// file that is to be hashed cannot be read.
  /// Rejects with TRUNCATED_FILE, DECODE_FAILED, BAD_HEADER, SIGN_MISMATCH or
  /// UNSUPPORTED_TRANSFER_SYNTAX.
  virtual Outcome<std::vector<DecodedFrame>> decode(const std::filesystem::path& path,
                                                    std::span<const std::int32_t> frames,
                                                    const DecodeHints& hints = {}) const = 0;
};

/// Decodes in a worker process where there is a pool (io/core/worker_pool), but for the pixels that
/// the scan found as they are (NativePixels), which no library touches; else in this process.
/// Rejects with DECODER_CRASHED and DECODER_TIMEOUT too.
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

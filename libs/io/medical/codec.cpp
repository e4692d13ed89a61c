#include "io/medical/codec.hpp"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dcpixel.h>
#include <dcmtk/dcmdata/dctk.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <string>

#include "io/core/error.hpp"
#include "io/core/vector_clones.hpp"
#include "io/medical/codestreams.hpp"
#include "io/medical/dicom_header.hpp"
#include "io/medical/dicom_load.hpp"
#include "io/medical/dicom_text.hpp"
#include "io/medical/isolated.hpp"
#include "io/medical/kept_image.hpp"
#include "io/medical/pixel_format.hpp"
#include "io/medical/refuse.hpp"
#include "io/medical/transfer_syntax.hpp"

namespace wsp::dicom {
namespace {

/// The pixels of a frame: as the header says that they are to be read, and the words that they were
/// read from.
struct Pixels {
  std::span<const std::int16_t> plain;  ///< values and words in one, in the bytes that were
                                        ///< unpacked; the others are empty then
  std::vector<std::int32_t> values;
  std::vector<std::uint32_t> words;
  bool whole_words = true;  ///< the bits above HighBit are the writer's, not a decoder's
};

WSP_VECTOR_CLONES("avx2", "default")
std::uint16_t bits_in_use(const std::int16_t* words, std::size_t n) {
  std::uint16_t bits = 0;
  for (std::size_t i = 0; i < n; ++i) bits |= static_cast<std::uint16_t>(words[i]);
  return bits;
}

/// Whether 16-bit words are values as they stand, none of which could be read otherwise: what
/// weigh_words() would find nothing in.
bool are_plain(std::span<const std::int16_t> words, const PixelFormat& format) {
  if (format.allocated != 16 || format.high + 1 != format.stored) return false;
  if (format.is_signed && format.stored == 16) return true;
  const int bits = std::min(15, format.is_signed ? format.stored - 1 : format.stored);
  return bits_in_use(words.data(), words.size()) >> static_cast<unsigned>(bits) == 0;
}

/// Unpack one frame of words: drop bits outside BitsStored, extend the sign.
Pixels unpack(std::span<const std::uint8_t> bytes, const PixelFormat& format) {
  const auto count = static_cast<std::size_t>(format.columns * format.rows);
  if (format.allocated == 16) {
    const std::span words(reinterpret_cast<const std::int16_t*>(bytes.data()), count);
    if (are_plain(words, format)) return {words, {}, {}};
  }
  const auto shift = static_cast<unsigned>(format.high + 1 - format.stored);
  Pixels pixels{{}, std::vector<std::int32_t>(count), std::vector<std::uint32_t>(count)};
  for (std::size_t i = 0; i < count; ++i) {
    std::uint32_t word = 0;
    if (format.allocated == 8) {
      word = bytes[i];
    } else if (format.allocated == 16) {
      std::uint16_t half = 0;
      std::memcpy(&half, bytes.data() + 2 * i, sizeof half);
      word = half;
    } else {
      std::memcpy(&word, bytes.data() + 4 * i, sizeof word);
    }
    pixels.words[i] = word;
    pixels.values[i] = read_bits(word >> shift, format.stored, format.is_signed);
  }
  return pixels;
}

/// Native, deflated, JPEG and JPEG-LS: DCMTK gives one frame as words in this machine's order.
Outcome<Pixels> decode_by_dcmtk(DcmDataset& dataset, DcmPixelData& pixels,
                                const PixelFormat& format, E_TransferSyntax syntax,
                                std::int32_t frame, std::shared_ptr<const void>& owner) {
  const auto size = static_cast<std::size_t>(format.columns * format.rows * (format.allocated / 8));
  if (size >= 0xFFFFFFFFULL) return refuse_read(Code::TOO_LARGE, "one frame exceeds 4 GiB");
  const std::size_t even = size + (size & 1U);
  const std::shared_ptr<std::uint8_t[]> bytes(new std::uint8_t[even]());
  owner = bytes;
  Uint32 fragment = 0;
  OFString colour;
  const OFCondition status =
      pixels.getUncompressedFrame(&dataset, static_cast<Uint32>(frame), fragment, bytes.get(),
                                  static_cast<Uint32>(even), colour);
  if (status.bad()) {
    return refuse_read(!is_encapsulated(syntax) ? Code::TRUNCATED_FILE : Code::DECODE_FAILED,
                       "frame " + std::to_string(frame) + " cannot be decoded");
  }
  Pixels decoded = unpack({bytes.get(), size}, format);
  decoded.whole_words = !is_encapsulated(syntax);
  return decoded;
}

Outcome<Pixels> decode_by_rle(const Codestreams& streams, const PixelFormat& format,
                              std::int32_t frame, std::shared_ptr<const void>& owner) {
  const auto codestream = streams.frame(frame);
  if (!codestream) return codestream.rejection();
  auto words = decode_rle(codestream.value(), format.columns * format.rows, format.allocated / 8);
  if (!words) return words.rejection();
  const auto bytes = std::make_shared<std::vector<std::uint8_t>>(std::move(words).value());
  owner = bytes;
  return unpack(*bytes, format);
}

/// JPEG 2000: values as the codestream has them, then read as the header says where the two differ.
Outcome<Pixels> decode_by_openjpeg(const Codestreams& streams, const PixelFormat& format,
                                   std::int32_t frame, bool& sign_repaired) {
  const auto codestream = streams.frame(frame);
  if (!codestream) return codestream.rejection();
  auto image = decode_jpeg2000(codestream.value(), format.columns, format.rows);
  if (!image) return image.rejection();
  Pixels pixels;
  pixels.values = std::move(image.value().values);
  pixels.whole_words = false;
  const int precision = image.value().precision;
  if (precision < 1 || precision > format.allocated) {
    return refuse_read(Code::SIGN_MISMATCH, "codestream of " + std::to_string(precision) +
                                                " bits, header " +
                                                std::to_string(format.allocated));
  }
  for (const std::int32_t value : pixels.values)
    pixels.words.push_back(
        static_cast<std::uint32_t>(read_bits(static_cast<std::uint32_t>(value), precision, false)));
  if (image.value().is_signed == format.is_signed) return pixels;
  for (std::int32_t& value : pixels.values) {
    const std::int32_t read =
        read_bits(static_cast<std::uint32_t>(value), precision, format.is_signed);
    sign_repaired = sign_repaired || read != value;
    value = read;
  }
  return pixels;
}

/// Mark padding, as a stored value or as the whole word.
void mark_padding(const PaddingRange& range, const PixelFormat& format, const Pixels& pixels,
                  DecodedFrame& out) {
  out.padding_range = range;
  if (range.low > range.high) return;
  const auto within = [&](std::int32_t v) { return v >= range.low && v <= range.high; };
  out.padding.resize(pixels.values.size());
  for (std::size_t i = 0; i < out.padding.size(); ++i)
    out.padding[i] =
        within(pixels.values[i]) ||
                (format.allocated == 16 && within(read_bits(pixels.words[i], 16, format.is_signed)))
            ? 1
            : 0;
}

/// The HU that a CT may hold, extended scales and metal included, and below which not even noise in
/// air comes.
constexpr float kLeastHu = -10240, kMostHu = 32767, kBelowAirHu = -1500;

WordEvidence weigh_words(const PixelFormat& format, const Pixels& pixels,
                         const DecodedFrame& frame) {
  WordEvidence found;
  const auto hu = [&](std::int32_t value) {
    return static_cast<float>(value) * frame.slope + frame.intercept;
  };
  const auto can_be_ct = [&](float value) { return value >= kLeastHu && value <= kMostHu; };
  const int above = format.allocated - format.high - 1;
  const std::uint32_t ones = (1U << static_cast<unsigned>(above)) - 1U;
  const auto shift = static_cast<unsigned>(format.high + 1 - format.stored);
  for (std::size_t i = 0; i < pixels.values.size(); ++i) {
    if (!frame.padding.empty() && frame.padding[i] != 0) continue;
    const std::uint32_t word = pixels.words[i];
    const std::int32_t value = pixels.values[i];
    const std::uint32_t upper = above > 0 ? word >> static_cast<unsigned>(format.high + 1) : 0;
    if (upper != 0 && !format.overlay) {
      const int bits = format.allocated - static_cast<int>(shift);
      const bool sign = (word >> static_cast<unsigned>(format.high) & 1U) != 0;
      if (format.is_signed && upper == ones && sign) {
        ++found.extended;
      } else if (can_be_ct(hu(read_bits(word >> shift, bits, true))) ||
                 can_be_ct(hu(read_bits(word >> shift, bits, false)))) {
        ++found.wider;
        found.example_hu = hu(value);
      }
    } else if (format.is_signed && value < 0 && format.stored < 16) {
      if (above > 0 && pixels.whole_words && !format.overlay) ++found.bare;
      const float read = hu(value);
      if (read >= kBelowAirHu) {
        ++found.low_kept;
      } else if (can_be_ct(hu(value + (1 << format.stored)))) {
        if (found.low == 0 || read < found.low_from) found.low_from = read;
        if (found.low == 0 || read > found.low_to) found.low_to = read;
        ++found.low;
      }
    } else if (!format.is_signed && format.stored == 16 && value > 32767 && value != 65535 &&
               hu(value) > kMostHu && hu(value - 65536) >= kLeastHu) {
      ++found.negative;  // 65535 may be saturated
      found.example_hu = hu(value);
    }
  }
  return found;
}

/// Make a frame of its pixels; `out` knows its rescale values.
void finish_frame(Pixels pixels, const PixelFormat& format, const PaddingRange& padding,
                  DecodedFrame& out) {
  out.columns = format.columns;
  out.rows = format.rows;
  mark_padding(padding, format, pixels, out);
  out.plain.view = pixels.plain;
  out.words = weigh_words(format, pixels, out);
  out.stored = std::move(pixels.values);
}

Outcome<std::vector<DecodedFrame>> decode_any(const std::filesystem::path& path,
                                              const std::vector<std::int32_t>& frames) {
  DcmFileFormat file;
  Rejection loaded = load(path, file);
  if (loaded.code != Code::USED) return refuse_read(loaded.code, std::move(loaded.detail));
  DcmDataset& dataset = *file.getDataset();
  const std::string syntax = transfer_syntax(file);
  if (!is_supported_syntax(syntax)) {
    return refuse_read(Code::UNSUPPORTED_TRANSFER_SYNTAX, named_syntax(syntax));
  }
  const auto format = read_format(dataset);
  if (!format) return format.rejection();
  DcmElement* element = nullptr;
  dataset.findAndGetElement(DCM_PixelData, element);
  auto* data = dynamic_cast<DcmPixelData*>(element);
  if (data == nullptr) return refuse_read(Code::TRUNCATED_FILE, "no pixel data");
  const PaddingRange padding = read_padding(dataset, format.value());

  const bool jpeg2000 = is_jpeg2000_syntax(syntax);
  const bool rle = syntax == UID_RLELosslessTransferSyntax;
  std::optional<Codestreams> streams;
  if (jpeg2000 || rle) streams.emplace(*data, format.value().frames);
  if (has_endless_jpeg(*data))
    return refuse_read(Code::DECODE_FAILED, "a stray marker in the JPEG header");
  const FrameGroups groups(dataset);
  std::vector<DecodedFrame> decoded(frames.size());
  for (std::size_t i = 0; i < frames.size(); ++i) {
    DecodedFrame& out = decoded[i];
    if (frames[i] < 0 || frames[i] >= format.value().frames)
      return refuse_read(Code::BAD_HEADER, "frame number");
    auto pixels =
        jpeg2000 ? decode_by_openjpeg(*streams, format.value(), frames[i], out.sign_repaired)
        : rle    ? decode_by_rle(*streams, format.value(), frames[i], out.plain.owner)
              : decode_by_dcmtk(dataset, *data, format.value(), DcmXfer(syntax.c_str()).getXfer(),
                                frames[i], out.plain.owner);
    if (!pixels) return pixels.rejection();
    const Rescale rescale =
        read_rescale(dataset, groups.in(frames[i], DCM_PixelValueTransformationSequence));
    out.slope = static_cast<float>(rescale.slope);
    out.intercept = static_cast<float>(rescale.intercept);
    finish_frame(std::move(pixels).value(), format.value(), padding, out);
  }
  return decoded;
}

class Decoder final : public FrameDecoder {
 public:
  Outcome<std::vector<DecodedFrame>> decode(const std::filesystem::path& path,
                                            std::span<const std::int32_t> frames,
                                            const DecodeHints& hints) const override {
    if (hints.native != nullptr && frames.size() == 1 && frames[0] == 0) {
      std::vector<DecodedFrame> decoded(1);
      if (decode_native(path, *hints.native, hints.hash, decoded.front())) return decoded;
    }
    const bool may_be_kept = hints.kept != nullptr && frames.size() == 1 &&
                             (!hints.kept->empty() || (hints.keep && hints.kept->has_room()));
    const auto before = may_be_kept ? hash_of(path) : std::nullopt;
    if (before) {
      if (auto frame = hints.kept->find(*before)) {
        if (!hints.keep) hints.kept->drop();
        if (hints.hash != nullptr) *hints.hash = *before;
        std::vector<DecodedFrame> kept;
        kept.push_back(std::move(*frame));
        return kept;
      }
    }
    auto decoded = decode_anew(path, frames);
    if (decoded && hints.hash != nullptr) *hints.hash = sha256_file(path);
    // Of other bytes, perhaps, where the file changed meanwhile.
    if (decoded && hints.keep && before && hash_of(path) == before)
      hints.kept->keep(*before, decoded.value().front());
    return decoded;
  }

 private:
  static std::optional<Digest> hash_of(const std::filesystem::path& path) {
    try {
      return sha256_file(path);
    } catch (const Error&) {
      return std::nullopt;  // whoever decodes it says what is wrong
    }
  }

  static Outcome<std::vector<DecodedFrame>> decode_anew(const std::filesystem::path& path,
                                                        std::span<const std::int32_t> frames) {
    auto decoded =
        isolated<decode_any>("read", path, std::vector<std::int32_t>(frames.begin(), frames.end()));
    if (decoded && decoded.value().size() != frames.size()) return impossible("read");
    return decoded;
  }

  /// One read of the file; false where it is not what the scan saw.
  static bool decode_native(const std::filesystem::path& path, const NativePixels& native,
                            Digest* hash, DecodedFrame& out) {
    const std::shared_ptr<std::uint8_t[]> bytes(new std::uint8_t[native.file_bytes]);
    out.plain.owner = bytes;
    const std::span file(bytes.get(), native.file_bytes);
    if (!read_bytes(path, file)) return false;
    const auto words = native_words(file, native);
    if (!words) return false;
    if (hash != nullptr) *hash = sha256(file);
    out.slope = native.slope;
    out.intercept = native.intercept;
    finish_frame(unpack(*words, native.format), native.format, native.padding, out);
    return true;
  }
};

}  // namespace

void WordEvidence::add(const WordEvidence& other) {
  extended += other.extended;
  bare += other.bare;
  if (wider + negative == 0) example_hu = other.example_hu;
  wider += other.wider;
  negative += other.negative;
  low_kept += other.low_kept;
  if (other.low == 0) return;
  low_from = low == 0 ? other.low_from : std::min(low_from, other.low_from);
  low_to = low == 0 ? other.low_to : std::max(low_to, other.low_to);
  low += other.low;
}

std::string WordEvidence::contradiction() const {
  const auto hu = [](float value) { return std::to_string(std::llround(value)) + " HU"; };
  if (wider > 0)
    return "the bits above HighBit are in use in " + std::to_string(wider) +
           " pixels: without them one reads " + hu(example_hu);
  if (extended > 0 && bare > 0)
    return "the sign reaches above HighBit in " + std::to_string(extended) +
           " pixels and is missing there in " + std::to_string(bare) +
           ": the words are wider than BitsStored";
  if (negative > 0)
    return "PixelRepresentation is unsigned, but " + std::to_string(negative) +
           " pixels are signed words: one reads " + hu(example_hu);
  // One constant low value is what lies outside the field of view.
  if (low > low_kept && low_from < low_to)
    return "PixelRepresentation is signed, but " + std::to_string(low) +
           " pixels are unsigned words: they read " + hu(low_from) + " to " + hu(low_to);
  return {};
}

std::unique_ptr<FrameDecoder> make_frame_decoder() { return std::make_unique<Decoder>(); }

}  // namespace wsp::dicom

#include "io/medical/codec.hpp"

#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dcpixel.h>
#include <dcmtk/dcmdata/dcpixseq.h>
#include <dcmtk/dcmdata/dcpxitem.h>
#include <dcmtk/dcmdata/dctk.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "io/medical/dicom_header.hpp"
#include "io/medical/dicom_load.hpp"
#include "io/medical/dicom_text.hpp"

namespace wsp::dicom {
namespace {

Rejection refuse(Code code, std::string detail) { return {"", "read", code, std::move(detail)}; }

/// How the header says that stored values lie in their words.
struct PixelFormat {
  std::int64_t columns = 0, rows = 0, frames = 1;
  int allocated = 16, stored = 16, high = 15;
  bool is_signed = false;
};

std::int32_t read_bits(std::uint32_t word, int bits, bool is_signed) {
  const std::uint32_t mask = bits >= 32 ? 0xFFFFFFFFU : (1U << static_cast<unsigned>(bits)) - 1U;
  word &= mask;
  if (is_signed && (word >> static_cast<unsigned>(bits - 1)) != 0U) word |= ~mask;
  return static_cast<std::int32_t>(word);
}

Outcome<PixelFormat> read_format(DcmDataset& dataset) {
  PixelFormat format;
  format.columns = bits16(dataset, DCM_Columns).value_or(0);
  format.rows = bits16(dataset, DCM_Rows).value_or(0);
  format.allocated = bits16(dataset, DCM_BitsAllocated).value_or(0);
  format.stored =
      bits16(dataset, DCM_BitsStored).value_or(static_cast<std::uint16_t>(format.allocated));
  format.high =
      bits16(dataset, DCM_HighBit).value_or(static_cast<std::uint16_t>(format.stored - 1));
  format.is_signed = bits16(dataset, DCM_PixelRepresentation).value_or(0) == 1;
  format.frames = std::max<std::int64_t>(
      1, static_cast<std::int64_t>(number(dataset, DCM_NumberOfFrames).value_or(1)));
  const bool words = format.allocated == 8 || format.allocated == 16 || format.allocated == 32;
  if (format.columns < 1 || format.rows < 1 || !words || format.stored < 1 ||
      format.stored > format.allocated || format.high >= format.allocated ||
      format.high + 1 < format.stored || bits16(dataset, DCM_SamplesPerPixel).value_or(1) != 1) {
    return refuse(Code::BAD_HEADER, "pixel format");
  }
  return format;
}

/// Unpack one frame of words: drop bits outside BitsStored, extend the sign.
std::vector<std::int32_t> unpack(const std::vector<std::uint8_t>& bytes,
                                 const PixelFormat& format) {
  const auto count = static_cast<std::size_t>(format.columns * format.rows);
  const auto shift = static_cast<unsigned>(format.high + 1 - format.stored);
  std::vector<std::int32_t> values(count);
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
    values[i] = read_bits(word >> shift, format.stored, format.is_signed);
  }
  return values;
}

/// Native, deflated, JPEG and JPEG-LS: DCMTK gives one frame as words in this machine's order.
Outcome<std::vector<std::int32_t>> decode_by_dcmtk(DcmDataset& dataset, DcmPixelData& pixels,
                                                   const PixelFormat& format, std::int32_t frame) {
  const auto size = static_cast<std::size_t>(format.columns * format.rows * (format.allocated / 8));
  if (size >= 0xFFFFFFFFULL) return refuse(Code::TOO_LARGE, "one frame exceeds 4 GiB");
  std::vector<std::uint8_t> bytes(size + (size & 1U));
  Uint32 fragment = 0;
  OFString colour;
  const OFCondition status =
      pixels.getUncompressedFrame(&dataset, static_cast<Uint32>(frame), fragment, bytes.data(),
                                  static_cast<Uint32>(bytes.size()), colour);
  if (status.bad()) {
    const bool native = !is_encapsulated(dataset.getOriginalXfer());
    return refuse(native ? Code::TRUNCATED_FILE : Code::DECODE_FAILED,
                  "frame " + std::to_string(frame) + " cannot be decoded");
  }
  return unpack(bytes, format);
}

std::vector<std::span<const std::uint8_t>> all_fragments(DcmPixelSequence& sequence) {
  std::vector<std::span<const std::uint8_t>> fragments;
  for (unsigned long k = 0; k < sequence.card(); ++k) {
    DcmPixelItem* item = nullptr;
    Uint8* data = nullptr;
    if (sequence.getItem(item, k).bad() || item == nullptr) return {};
    const auto length = static_cast<std::size_t>(item->getLength());
    if (length > 0 && (item->getUint8Array(data).bad() || data == nullptr)) return {};
    fragments.emplace_back(data, length);
  }
  return fragments;
}

/// The fragments of one frame: by the offset table, else one each, else by the start-of-codestream
/// marker (fragments[0] is the table).
std::vector<std::uint8_t> frame_codestream(
    const std::vector<std::span<const std::uint8_t>>& fragments, std::int64_t frames,
    std::int32_t frame) {
  const std::size_t count = fragments.size() - 1;
  std::vector<std::size_t> starts;  // index of the first fragment of each frame
  const auto wanted = static_cast<std::size_t>(frames);
  if (frames == 1) {
    starts = {1};
  } else if (count == wanted) {
    for (std::size_t k = 1; k <= count; ++k) starts.push_back(k);
  } else if (fragments[0].size() == 4 * wanted) {
    std::size_t offset = 0;
    std::size_t next = 0;
    for (std::size_t k = 1; k <= count && next < wanted; ++k) {
      std::uint32_t entry = 0;
      std::memcpy(&entry, fragments[0].data() + 4 * next, sizeof entry);
      if (entry == offset) {
        starts.push_back(k);
        ++next;
      }
      offset += 8 + fragments[k].size() + (fragments[k].size() & 1U);
    }
  }
  if (starts.size() != wanted) {
    starts.clear();
    for (std::size_t k = 1; k <= count; ++k) {
      const auto& f = fragments[k];
      const bool raw = f.size() > 4 && f[0] == 0xFF && f[1] == 0x4F && f[2] == 0xFF && f[3] == 0x51;
      const bool boxed = f.size() > 8 && f[4] == 'j' && f[5] == 'P';
      if (raw || boxed) starts.push_back(k);
    }
  }
  const auto index = static_cast<std::size_t>(frame);
  if (starts.size() != wanted || index >= wanted) return {};
  const std::size_t end = index + 1 < wanted ? starts[index + 1] : count + 1;
  std::vector<std::uint8_t> codestream;
  for (std::size_t k = starts[index]; k < end; ++k) {
    codestream.insert(codestream.end(), fragments[k].begin(), fragments[k].end());
  }
  return codestream;
}

/// The whole compressed frame, joined from however many fragments it lies in.
Outcome<std::vector<std::uint8_t>> read_codestream(DcmPixelData& pixels, const PixelFormat& format,
                                                   std::int32_t frame) {
  E_TransferSyntax type = EXS_Unknown;
  const DcmRepresentationParameter* parameter = nullptr;
  pixels.getOriginalRepresentationKey(type, parameter);
  DcmPixelSequence* sequence = nullptr;
  if (pixels.getEncapsulatedRepresentation(type, parameter, sequence).bad() ||
      sequence == nullptr) {
    return refuse(Code::DECODE_FAILED, "no encapsulated pixel data");
  }
  const auto fragments = all_fragments(*sequence);
  if (fragments.size() < 2) return refuse(Code::TRUNCATED_FILE, "no fragment of pixel data");
  std::vector<std::uint8_t> codestream = frame_codestream(fragments, format.frames, frame);
  if (codestream.empty()) return refuse(Code::DECODE_FAILED, "fragments do not match frames");
  return codestream;
}

Outcome<std::vector<std::int32_t>> decode_by_rle(DcmPixelData& pixels, const PixelFormat& format,
                                                 std::int32_t frame) {
  const auto codestream = read_codestream(pixels, format, frame);
  if (!codestream) return codestream.rejection();
  const auto words =
      decode_rle(codestream.value(), format.columns * format.rows, format.allocated / 8);
  if (!words) return words.rejection();
  return unpack(words.value(), format);
}

/// JPEG 2000: values as the codestream has them, then read as the header says where the two differ.
Outcome<std::vector<std::int32_t>> decode_by_openjpeg(DcmPixelData& pixels,
                                                      const PixelFormat& format, std::int32_t frame,
                                                      bool& sign_repaired) {
  const auto codestream = read_codestream(pixels, format, frame);
  if (!codestream) return codestream.rejection();
  auto image = decode_jpeg2000(codestream.value(), format.columns, format.rows);
  if (!image) return image.rejection();
  std::vector<std::int32_t> values = std::move(image.value().values);
  const int precision = image.value().precision;
  if (precision < 1 || precision > format.allocated) {
    return refuse(Code::SIGN_MISMATCH, "codestream of " + std::to_string(precision) +
                                           " bits, header " + std::to_string(format.allocated));
  }
  if (image.value().is_signed == format.is_signed) return values;
  for (std::int32_t& value : values) {
    const std::int32_t read =
        read_bits(static_cast<std::uint32_t>(value), precision, format.is_signed);
    sign_repaired = sign_repaired || read != value;
    value = read;
  }
  return values;
}

/// Mark padding: PixelPaddingValue alone, or up to PixelPaddingRangeLimit (PS3.3 C.7.5.1.1.2).
std::vector<std::uint8_t> mark_padding(DcmDataset& dataset, const PixelFormat& format,
                                       const std::vector<std::int32_t>& stored) {
  const auto value = bits16(dataset, DCM_PixelPaddingValue);
  if (!value) return {};
  const std::uint16_t limit = bits16(dataset, DCM_PixelPaddingRangeLimit).value_or(*value);
  // The value's own type may contradict PixelRepresentation: its bits are what counts.
  const auto read = [&](std::uint16_t bits) { return read_bits(bits, 16, format.is_signed); };
  const std::int32_t low = std::min(read(*value), read(limit));
  const std::int32_t high = std::max(read(*value), read(limit));
  std::vector<std::uint8_t> padding(stored.size());
  for (std::size_t i = 0; i < stored.size(); ++i)
    padding[i] = stored[i] >= low && stored[i] <= high ? 1 : 0;
  return padding;
}

void read_rescale(DcmDataset& dataset, std::int32_t frame, DecodedFrame& decoded) {
  DcmItem* item = functional_group(dataset, frame, DCM_PixelValueTransformationSequence.getGroup(),
                                   DCM_PixelValueTransformationSequence.getElement());
  DcmItem& holder = item != nullptr ? *item : dataset;
  decoded.slope = static_cast<float>(number(holder, DCM_RescaleSlope).value_or(1));
  decoded.intercept = static_cast<float>(number(holder, DCM_RescaleIntercept).value_or(0));
}

class InProcessDecoder final : public FrameDecoder {
 public:
  Outcome<std::vector<DecodedFrame>> decode(const std::filesystem::path& path,
                                            std::span<const std::int32_t> frames) const override {
    DcmFileFormat file;
    Rejection loaded = load(path, file);
    if (loaded.code != Code::USED) return refuse(loaded.code, std::move(loaded.detail));
    DcmDataset& dataset = *file.getDataset();
    const std::string syntax = transfer_syntax(file);
    if (!is_supported_syntax(syntax)) {
      return refuse(Code::UNSUPPORTED_TRANSFER_SYNTAX, "transfer syntax " + syntax);
    }
    const auto format = read_format(dataset);
    if (!format) return format.rejection();
    DcmElement* element = nullptr;
    dataset.findAndGetElement(DCM_PixelData, element);
    auto* pixels = dynamic_cast<DcmPixelData*>(element);
    if (pixels == nullptr) return refuse(Code::TRUNCATED_FILE, "no pixel data");

    std::vector<DecodedFrame> decoded(frames.size());
    for (std::size_t i = 0; i < frames.size(); ++i) {
      DecodedFrame& out = decoded[i];
      if (frames[i] < 0 || frames[i] >= format.value().frames)
        return refuse(Code::BAD_HEADER, "frame number");
      auto values = is_jpeg2000_syntax(syntax)
                        ? decode_by_openjpeg(*pixels, format.value(), frames[i], out.sign_repaired)
                    : syntax == UID_RLELosslessTransferSyntax
                        ? decode_by_rle(*pixels, format.value(), frames[i])
                        : decode_by_dcmtk(dataset, *pixels, format.value(), frames[i]);
      if (!values) return values.rejection();
      out.columns = format.value().columns;
      out.rows = format.value().rows;
      out.stored = std::move(values).value();
      out.padding = mark_padding(dataset, format.value(), out.stored);
      read_rescale(dataset, frames[i], out);
    }
    return decoded;
  }
};

}  // namespace

std::unique_ptr<FrameDecoder> make_frame_decoder() { return std::make_unique<InProcessDecoder>(); }

}  // namespace wsp::dicom

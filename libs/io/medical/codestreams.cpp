#include "io/medical/codestreams.hpp"

#include <dcmtk/dcmdata/dcpixseq.h>
#include <dcmtk/dcmdata/dcpxitem.h>

#include <algorithm>
#include <cstring>
#include <iterator>

#include "io/medical/refuse.hpp"

namespace wsp::dicom {
namespace {

/// The fragments, the offset table first; none where there are none or one cannot be read.
std::vector<std::span<const std::uint8_t>> all_fragments(DcmPixelData& pixels) {
  std::vector<std::span<const std::uint8_t>> fragments;
  E_TransferSyntax type = EXS_Unknown;
  const DcmRepresentationParameter* parameter = nullptr;
  pixels.getOriginalRepresentationKey(type, parameter);
  DcmPixelSequence* sequence = nullptr;
  if (pixels.getEncapsulatedRepresentation(type, parameter, sequence).bad() || sequence == nullptr)
    return fragments;
  // getItem() counts from the first each time, which is quadratic.
  for (DcmObject* o = sequence->nextInContainer(nullptr); o != nullptr;
       o = sequence->nextInContainer(o)) {
    auto* item = dynamic_cast<DcmPixelItem*>(o);
    Uint8* data = nullptr;
    if (item == nullptr) return {};
    const auto length = static_cast<std::size_t>(item->getLength());
    if (length > 0 && (item->getUint8Array(data).bad() || data == nullptr)) return {};
    fragments.emplace_back(data, length);
  }
  return fragments;
}

/// The walk that DJCodecDecoder::scanJpegDataForBitDepth() makes, by markers and their lengths.
bool is_endless(std::span<const std::uint8_t> jpeg) {
  const auto word = [&](std::size_t at) { return jpeg[at] << 8U | jpeg[at + 1]; };
  for (std::size_t at = 0; at + 4 < jpeg.size();) {
    const int marker = word(at);
    if (marker == 0xFF01) return true;
    const bool frame = marker >= 0xFFC0 && marker <= 0xFFCF && marker != 0xFFC4 &&
                       marker != 0xFFC8 && marker != 0xFFCC;
    if (marker < 0xFF02 || frame || marker == 0xFFD9 || marker == 0xFFDA) return false;
    const bool alone = marker < 0xFFC0 || (marker >= 0xFFD0 && marker <= 0xFFD8);
    at += alone ? 2 : 2 + static_cast<std::size_t>(word(at + 2));
  }
  return false;
}

}  // namespace

Codestreams::Codestreams(DcmPixelData& pixels, std::int64_t frames)
    : fragments_(all_fragments(pixels)) {
  if (fragments_.size() < 2) return;
  starts_ = starts(static_cast<std::size_t>(frames));
  starts_.push_back(fragments_.size());
  if (starts_.size() != static_cast<std::size_t>(frames) + 1) starts_.clear();
}

Outcome<std::vector<std::uint8_t>> Codestreams::frame(std::int32_t number) const {
  if (fragments_.size() < 2) return refuse_read(Code::TRUNCATED_FILE, "no fragment of pixel data");
  const auto index = static_cast<std::size_t>(number);
  std::vector<std::uint8_t> codestream;
  if (index + 1 < starts_.size())
    for (std::size_t k = starts_[index]; k < starts_[index + 1]; ++k)
      codestream.insert(codestream.end(), fragments_[k].begin(), fragments_[k].end());
  if (codestream.empty()) return refuse_read(Code::DECODE_FAILED, "fragments do not match frames");
  return codestream;
}

/// The first fragment of each frame: by the offset table, else one each, else by the
/// start-of-codestream marker.
std::vector<std::size_t> Codestreams::starts(std::size_t frames) const {
  const std::size_t count = fragments_.size() - 1;
  if (frames == 1) return {1};
  std::vector<std::size_t> found;
  if (count == frames) {
    for (std::size_t k = 1; k <= count; ++k) found.push_back(k);
    return found;
  }
  if (fragments_[0].size() == 4 * frames) {
    std::size_t offset = 0;
    for (std::size_t k = 1; k <= count && found.size() < frames; ++k) {
      std::uint32_t entry = 0;
      std::memcpy(&entry, fragments_[0].data() + 4 * found.size(), sizeof entry);
      if (entry == offset) found.push_back(k);
      offset += 8 + fragments_[k].size() + (fragments_[k].size() & 1U);
    }
  }
  if (found.size() == frames) return found;
  found.clear();
  for (std::size_t k = 1; k <= count; ++k) {
    const auto& f = fragments_[k];
    const bool raw = f.size() > 4 && f[0] == 0xFF && f[1] == 0x4F && f[2] == 0xFF && f[3] == 0x51;
    const bool boxed = f.size() > 8 && f[4] == 'j' && f[5] == 'P';
    if (raw || boxed) found.push_back(k);
  }
  return found;
}

bool has_endless_jpeg(DcmPixelData& pixels) {
  E_TransferSyntax type = EXS_Unknown;
  const DcmRepresentationParameter* parameter = nullptr;
  pixels.getOriginalRepresentationKey(type, parameter);
  // The processes that DCMTK's JPEG module decodes; JPEG-LS has one of its own.
  static constexpr E_TransferSyntax kJpeg[] = {EXS_JPEGProcess1,   EXS_JPEGProcess2_4,
                                               EXS_JPEGProcess6_8, EXS_JPEGProcess10_12,
                                               EXS_JPEGProcess14,  EXS_JPEGProcess14SV1};
  if (std::find(std::begin(kJpeg), std::end(kJpeg), type) == std::end(kJpeg)) return false;
  const auto fragments = all_fragments(pixels);
  return std::any_of(fragments.begin(), fragments.end(), is_endless);
}

}  // namespace wsp::dicom

#pragma once
#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dcpixel.h>

#include <cstdint>
#include <span>
#include <vector>

#include "io/core/outcome.hpp"

/// Compressed pixel data as it lies in its fragments. Internal to io/medical.
namespace wsp::dicom {

/// The compressed frames of an object. Borrows the pixel data, whose fragments it reads once.
class Codestreams {
 public:
  Codestreams(DcmPixelData& pixels, std::int64_t frames);
  /// The whole frame, joined from however many fragments it lies in. Rejects with TRUNCATED_FILE or
  /// DECODE_FAILED.
  [[nodiscard]] Outcome<std::vector<std::uint8_t>> frame(std::int32_t number) const;

 private:
  [[nodiscard]] std::vector<std::size_t> starts(std::size_t frames) const;

  std::vector<std::span<const std::uint8_t>> fragments_;  ///< the offset table first
  std::vector<std::size_t> starts_;                       ///< of each frame, and the end
};

/// True where DCMTK's decoder (3.6.7) would look for the frame header of a JPEG
/// fragment for ever: it does not step over a stray TEM marker. False for all that is not JPEG.
bool has_endless_jpeg(DcmPixelData& pixels);

}  // namespace wsp::dicom

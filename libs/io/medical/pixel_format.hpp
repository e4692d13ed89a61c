#pragma once
#include <dcmtk/config/osconfig.h>
#include <dcmtk/dcmdata/dctk.h>

#include "io/core/outcome.hpp"
#include "io/medical/native_pixels.hpp"

namespace wsp::dicom {

/// The pixel format of a data set; BAD_HEADER where it is none that can be read.
Outcome<PixelFormat> read_format(DcmDataset& dataset);
/// PixelPaddingValue alone, or up to PixelPaddingRangeLimit (PS3.3 C.7.5.1.1.2), as stored values.
PaddingRange read_padding(DcmDataset& dataset, const PixelFormat& format);
/// Read a file of exactly this size; false where it is of another or cannot be read.
bool read_bytes(const std::filesystem::path& path, std::span<std::uint8_t> bytes);
/// The lowest bits of a word as a number.
std::int32_t read_bits(std::uint32_t word, int bits, bool is_signed);

}  // namespace wsp::dicom

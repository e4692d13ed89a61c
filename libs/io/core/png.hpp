#pragma once
#include <cstdint>
#include <span>
#include <string>

namespace wsp {

/// Whether this build writes PNG; without libpng the encoder below throws.
bool png_available();

/// Encode 8-bit grey pixels, [height][width], as PNG. Throws Error(failure) for sizes that do not
/// fit the pixels, or in a build without libpng.
std::string encode_grey_png(std::int64_t width, std::int64_t height,
                            std::span<const std::uint8_t> pixels);

}  // namespace wsp

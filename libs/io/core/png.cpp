#include "io/core/png.hpp"

#include <png.h>

#include "io/core/error.hpp"

namespace wsp {

bool png_available() { return true; }

std::string encode_grey_png(std::int64_t width, std::int64_t height,
                            std::span<const std::uint8_t> pixels) {
  constexpr std::int64_t kLargest = 1 << 15;
  if (width < 1 || height < 1 || width > kLargest || height > kLargest ||
      pixels.size() != static_cast<std::size_t>(width * height))
    throw Error(ErrorCode::failure, "an image of " + std::to_string(width) + " x " +
                                        std::to_string(height) + " cannot have " +
                                        std::to_string(pixels.size()) + " pixels");
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(width);
  image.height = static_cast<png_uint_32>(height);
  image.format = PNG_FORMAT_GRAY;
  png_alloc_size_t bytes = PNG_IMAGE_PNG_SIZE_MAX(image);
  std::string out(bytes, '\0');
  if (png_image_write_to_memory(&image, out.data(), &bytes, 0, pixels.data(), 0, nullptr) == 0)
    throw Error(ErrorCode::failure, std::string("cannot encode a PNG image: ") + image.message);
  out.resize(bytes);
  return out;
}

}  // namespace wsp

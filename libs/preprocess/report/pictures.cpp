#include "preprocess/report/pictures.hpp"

#include <png.h>

#include <algorithm>
#include <array>
#include <string>

#include "io/core/error.hpp"

namespace wsp::qa {
namespace {

constexpr int kGreys = 48;
constexpr std::uint8_t kOutline = kGreys, kFrame = kGreys + 1, kInk = kGreys + 2;
constexpr double kLow = -60, kHigh = 220;
constexpr std::size_t kShown = 6, kGap = 2;

struct Canvas {
  std::size_t width = 0, height = 0;
  std::vector<std::uint8_t> pixels;
  Canvas(std::size_t w, std::size_t h) : width(w), height(h), pixels(w * h, 0) {}
  std::uint8_t& at(std::size_t x, std::size_t y) { return pixels[y * width + x]; }
};

std::vector<std::uint8_t> encode(const Canvas& canvas) {
  std::array<std::array<std::uint8_t, 3>, kInk> palette{};
  for (std::size_t g = 0; g < kGreys; ++g)
    palette[g].fill(static_cast<std::uint8_t>(g * 255 / (kGreys - 1)));
  palette[kOutline] = {255, 106, 61};
  palette[kFrame] = {245, 208, 66};
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(canvas.width);
  image.height = static_cast<png_uint_32>(canvas.height);
  image.format = PNG_FORMAT_RGB_COLORMAP;
  image.colormap_entries = kInk;
  png_alloc_size_t bytes = PNG_IMAGE_PNG_SIZE_MAX(image);
  std::vector<std::uint8_t> png(bytes);
  if (png_image_write_to_memory(&image, png.data(), &bytes, 0, canvas.pixels.data(), 0,
                                palette.data()) == 0)
    throw Error(ErrorCode::failure, std::string("cannot encode a picture: ") + image.message);
  png.resize(bytes);
  return png;
}

void draw_slice(const ReducedCase& r, std::size_t k, std::size_t left, Canvas& canvas) {
  const auto image = r.image(k);
  const auto liver = r.liver(k);
  const auto w = static_cast<std::size_t>(r.width), h = static_cast<std::size_t>(r.height);
  const auto inside = [&](std::size_t x, std::size_t y) { return liver[y * w + x] > 127; };
  for (std::size_t y = 0; y < h; ++y)
    for (std::size_t x = 0; x < w; ++x) {
      const double unit = std::clamp((image[y * w + x] - kLow) / (kHigh - kLow), 0.0, 1.0);
      canvas.at(left + x, y) = static_cast<std::uint8_t>(unit * (kGreys - 1) + 0.5);
      if (inside(x, y) && (x == 0 || y == 0 || x + 1 == w || y + 1 == h || !inside(x - 1, y) ||
                           !inside(x + 1, y) || !inside(x, y - 1) || !inside(x, y + 1)))
        canvas.at(left + x, y) = kOutline;
    }
}

void frame(std::size_t left, std::size_t w, std::size_t h, Canvas& canvas) {
  for (std::size_t x = 0; x < w; ++x) canvas.at(left + x, 0) = canvas.at(left + x, h - 1) = kFrame;
  for (std::size_t y = 0; y < h; ++y) canvas.at(left, y) = canvas.at(left + w - 1, y) = kFrame;
}

}  // namespace

CasePictures draw_case(const ReducedCase& reduced) {
  CasePictures pictures;
  const std::size_t n = reduced.slices();
  if (n == 0) return pictures;
  const auto w = static_cast<std::size_t>(reduced.width),
             h = static_cast<std::size_t>(reduced.height);
  const std::size_t shown = std::min(kShown, n);
  Canvas strip(shown * w + (shown - 1) * kGap, h);
  for (std::size_t i = 0; i < shown; ++i) {
    const std::size_t k = shown == 1 ? 0 : i * (n - 1) / (shown - 1);
    draw_slice(reduced, k, i * (w + kGap), strip);
    if (i == 0 || i + 1 == shown) frame(i * (w + kGap), w, h, strip);
  }
  Canvas thumb(w, h);
  draw_slice(reduced, n / 2, 0, thumb);
  pictures.strip = encode(strip);
  pictures.thumb = encode(thumb);
  return pictures;
}

}  // namespace wsp::qa

#include "preprocess/pipeline/preview.hpp"

#include <png.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "io/core/error.hpp"
#include "io/core/vector_clones.hpp"

namespace wsp {
namespace {

constexpr std::int64_t kHeight = 256;  // pixels; the width follows from millimetres
constexpr std::int64_t kMaxWidth = 320;
using Rgb = std::array<std::uint8_t, 3>;

struct Picture {
  std::int64_t width = 0, height = 0;
  std::vector<Rgb> pixels;
  Rgb& at(std::int64_t x, std::int64_t y) {
    return pixels[static_cast<std::size_t>(y * width + x)];
  }
};

WSP_VECTOR_CLONES("avx2", "default")
void add_clipped(const std::int16_t* hu, std::int64_t n, WindowHu window, std::int32_t* sums) {
  for (std::int64_t i = 0; i < n; ++i)
    sums[i] += std::min(std::max(hu[i], window.low), window.high);
}

WSP_VECTOR_CLONES("avx2", "default")
std::int32_t sum_clipped(const std::int16_t* hu, std::int64_t n, WindowHu window) {
  std::int32_t sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += std::min(std::max(hu[i], window.low), window.high);
  return sum;
}

using Projection = Preview::Projection;

Projection project(const MaskRuns& mask, bool coronal, WindowHu window) {
  const auto [nx, ny, nz] = mask.geometry.size;
  Projection projection;
  const std::int64_t across = projection.across = coronal ? nx : ny;
  std::int64_t& first = projection.first = coronal ? ny : nx;
  projection.mean.assign(static_cast<std::size_t>(across * nz), static_cast<float>(window.low));
  projection.hit.assign(projection.mean.size(), 0);
  for (std::int64_t z = 0; z < nz; ++z) {
    std::uint8_t* const hits = projection.hit.data() + z * across;
    for (std::int64_t y = 0; y < ny; ++y) {
      const auto row = mask.row(y, z);
      if (row.empty()) continue;
      first = std::min<std::int64_t>(first, coronal ? y : row.front().begin);
      projection.last = std::max<std::int64_t>(projection.last, coronal ? y : row.back().end - 1);
      if (!coronal) hits[y] = 1;
      for (const Run& run : row)
        if (coronal) std::fill(hits + run.begin, hits + run.end, std::uint8_t{1});
    }
  }
  return projection;
}

// The slice nearest to the middle of each of `rows` rows of `pixel` mm, from `top` down.
std::vector<std::int64_t> slices_of_rows(const Volume& volume, double top, double pixel,
                                         std::int64_t rows) {
  std::vector<std::int64_t> slices;
  for (std::int64_t row = 0; row < rows; ++row) {
    const double z = top - (static_cast<double>(row) + 0.5) * pixel;
    const auto above = std::lower_bound(volume.z_mm.begin(), volume.z_mm.end(), z);
    auto k = above - volume.z_mm.begin();
    if (above == volume.z_mm.end() || (k > 0 && z - volume.z_mm[static_cast<std::size_t>(k - 1)] <
                                                    volume.z_mm[static_cast<std::size_t>(k)] - z))
      --k;
    slices.push_back(static_cast<std::int64_t>(k));
  }
  return slices;
}

// The picture of a projection: HU in grey, the liver's outline, and marks where the kept slices
// begin and end.
Picture draw(const Projection& projection, const Volume& volume, bool coronal,
             const SliceRange& kept, WindowHu window) {
  const std::int64_t across = projection.across, nz = volume.geometry.size[2];
  const std::vector<float>& mean = projection.mean;
  const std::vector<std::uint8_t>& hit = projection.hit;
  const double width_mm = static_cast<double>(across) * volume.geometry.spacing_mm[coronal ? 0 : 1];
  const double bottom = volume.z_mm.front() - volume.geometry.spacing_mm[2] / 2;
  const double top = volume.z_mm.back() + volume.geometry.spacing_mm[2] / 2;
  const double pixel = std::max((top - bottom) / kHeight, width_mm / kMaxWidth);
  Picture picture;
  picture.width = std::max<std::int64_t>(1, std::llround(width_mm / pixel));
  picture.height = std::max<std::int64_t>(1, std::llround((top - bottom) / pixel));
  picture.pixels.resize(static_cast<std::size_t>(picture.width * picture.height));
  const auto slice_of = slices_of_rows(volume, top, pixel, picture.height);
  const auto source = [&](std::int64_t x, std::int64_t row) {
    const std::int64_t a = std::min(across - 1, (2 * x + 1) * across / (2 * picture.width));
    return static_cast<std::size_t>(slice_of[static_cast<std::size_t>(row)] * across + a);
  };
  std::int64_t previous = nz;
  for (std::int64_t y = 0; y < picture.height; ++y) {
    const std::int64_t k = slice_of[static_cast<std::size_t>(y)];
    for (std::int64_t x = 0; x < picture.width; ++x) {
      const std::size_t at = source(x, y);
      const float unit = (mean[at] - window.low) / static_cast<float>(window.high - window.low);
      const auto grey = static_cast<std::uint8_t>(std::clamp(unit * 1.6F, 0.0F, 1.0F) * 255);
      Rgb& out = picture.at(x, y);
      out = {grey, grey, grey};
      const bool inside = hit[at] != 0;
      const bool edge =
          inside && (x == 0 || y == 0 || x + 1 == picture.width || y + 1 == picture.height ||
                     hit[source(x - 1, y)] == 0 || hit[source(x + 1, y)] == 0 ||
                     hit[source(x, y - 1)] == 0 || hit[source(x, y + 1)] == 0);
      if (edge) out = {230, 60, 40};
    }
    const bool marks =
        (k <= kept.last && previous > kept.last) || (k < kept.first && previous >= kept.first);
    if (marks)
      for (std::int64_t x = 0; x < picture.width; x += 3) picture.at(x, y) = {240, 210, 60};
    previous = k;
  }
  return picture;
}

}  // namespace

Preview::Preview(const MaskRuns& mask, WindowHu window)
    : nx_(mask.geometry.size[0]),
      ny_(mask.geometry.size[1]),
      window_(window),
      coronal_(project(mask, true, window)),
      sagittal_(project(mask, false, window)) {}

void Preview::add_slice(std::int64_t z, std::span<const std::int16_t> hu) {
  if (coronal_.last < coronal_.first) return;
  // The sums are of whole numbers.
  const auto put = [z](std::span<const std::int32_t> sums, Projection& projection) {
    float* const mean = projection.mean.data() + z * projection.across;
    const auto length = static_cast<float>(projection.last - projection.first + 1);
    for (std::size_t a = 0; a < sums.size(); ++a) mean[a] = static_cast<float>(sums[a]) / length;
  };
  std::vector<std::int32_t> sums(static_cast<std::size_t>(nx_));
  for (std::int64_t y = coronal_.first; y <= coronal_.last; ++y)
    add_clipped(hu.data() + y * nx_, nx_, window_, sums.data());
  put(sums, coronal_);
  sums.resize(static_cast<std::size_t>(ny_));
  for (std::int64_t y = 0; y < ny_; ++y)
    sums[static_cast<std::size_t>(y)] = sum_clipped(hu.data() + y * nx_ + sagittal_.first,
                                                    sagittal_.last - sagittal_.first + 1, window_);
  put(sums, sagittal_);
}

std::vector<std::uint8_t> Preview::png(const Volume& volume, const SliceRange& kept) const {
  Picture left = draw(coronal_, volume, true, kept, window_);
  Picture right = draw(sagittal_, volume, false, kept, window_);
  constexpr std::int64_t kMargin = 4;
  Picture both;
  both.width = left.width + kMargin + right.width;
  both.height = std::max(left.height, right.height);
  both.pixels.assign(static_cast<std::size_t>(both.width * both.height), Rgb{0, 0, 0});
  for (std::int64_t y = 0; y < left.height; ++y)
    for (std::int64_t x = 0; x < left.width; ++x) both.at(x, y) = left.at(x, y);
  for (std::int64_t y = 0; y < right.height; ++y)
    for (std::int64_t x = 0; x < right.width; ++x)
      both.at(left.width + kMargin + x, y) = right.at(x, y);

  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  image.width = static_cast<png_uint_32>(both.width);
  image.height = static_cast<png_uint_32>(both.height);
  image.format = PNG_FORMAT_RGB;
  // Asking for the size would encode it once more.
  png_alloc_size_t bytes = PNG_IMAGE_PNG_SIZE_MAX(image);
  std::vector<std::uint8_t> png(bytes);
  if (png_image_write_to_memory(&image, png.data(), &bytes, 0, both.pixels.data(), 0, nullptr) == 0)
    throw Error(ErrorCode::failure, std::string("cannot encode a preview: ") + image.message);
  png.resize(bytes);
  return png;
}

}  // namespace wsp

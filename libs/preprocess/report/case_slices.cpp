#include "preprocess/report/case_slices.hpp"

#include <zlib.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "io/core/error.hpp"
#include "preprocess/report/base64.hpp"
#include "preprocess/report/numbers.hpp"

namespace wsp::qa {
namespace {

// Runs and Huffman codes alone: of noise zlib's search for repeats finds none, in ten times the
// time.
std::string packed(std::span<const std::uint8_t> bytes, std::vector<std::uint8_t>& room) {
  z_stream stream{};
  if (deflateInit2(&stream, 1, Z_DEFLATED, MAX_WBITS, MAX_MEM_LEVEL, Z_RLE) != Z_OK)
    throw Error(ErrorCode::failure, "zlib cannot start");
  room.resize(deflateBound(&stream, static_cast<uLong>(bytes.size())));
  stream.next_in = const_cast<Bytef*>(bytes.data());
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = room.data();
  stream.avail_out = static_cast<uInt>(room.size());
  const int done = deflate(&stream, Z_FINISH);
  const std::size_t size = stream.total_out;
  deflateEnd(&stream);
  if (done != Z_STREAM_END) throw Error(ErrorCode::failure, "zlib cannot pack a slice");
  return base64({room.data(), size});
}

void take_differences(std::vector<std::uint8_t>& values, std::size_t columns) {
  for (std::size_t row = 0; row < values.size(); row += columns)
    for (std::size_t x = columns - 1; x > 0; --x)
      values[row + x] = static_cast<std::uint8_t>(values[row + x] - values[row + x - 1]);
}

}  // namespace

CaseSlices::CaseSlices(std::int64_t width, std::int64_t height, std::int64_t side,
                       const double pixel_mm[2], std::int16_t low, std::int16_t high)
    : width_(static_cast<std::size_t>(width)),
      factor_(static_cast<std::size_t>((std::max(width, height) + side - 1) / side)),
      columns_(static_cast<std::size_t>(width) / factor_),
      rows_(static_cast<std::size_t>(height) / factor_),
      low_(low),
      step_(std::max(1.0, (high - low) / 255.0)) {
  const auto factor = static_cast<double>(factor_);
  json_ = {{"width", columns_},
           {"height", rows_},
           {"pixel_mm", {rounded(pixel_mm[0] * factor, 4), rounded(pixel_mm[1] * factor, 4)}},
           {"low", low},
           {"high", high},
           {"step", step_},
           {"z_mm", nlohmann::json::array()},
           {"source", nlohmann::json::array()},
           {"image", nlohmann::json::array()},
           {"mask", nlohmann::json::array()}};
  image_.resize(columns_ * rows_);
  mask_.resize(image_.size());
}

template <class Grey>
void CaseSlices::average(std::span<const std::int16_t> hu, std::span<const std::uint8_t> mask,
                         Grey&& grey) {
  const std::size_t area = factor_ * factor_;
  for (std::size_t y = 0; y < rows_; ++y)
    for (std::size_t x = 0; x < columns_; ++x) {
      std::int64_t sum = 0;
      std::size_t inside = 0;
      for (std::size_t dy = 0; dy < factor_; ++dy)
        for (std::size_t dx = 0; dx < factor_; ++dx) {
          const std::size_t pixel = (y * factor_ + dy) * width_ + x * factor_ + dx;
          sum += hu[pixel];
          inside += mask[pixel] != 0 ? 1 : 0;
        }
      image_[y * columns_ + x] = grey(static_cast<double>(sum) / static_cast<double>(area));
      mask_[y * columns_ + x] = 2 * inside >= area ? 1 : 0;
    }
}

void CaseSlices::add(std::span<const std::int16_t> hu, std::span<const std::uint8_t> mask,
                     double z_mm, std::int32_t source_index) {
  const auto grey = [&](double value) {
    return static_cast<std::uint8_t>(std::clamp(std::lround((value - low_) / step_), 0L, 255L));
  };
  if (factor_ == 1) {
    if (greys_.empty())
      for (int value = -32768; value <= 32767; ++value) greys_.push_back(grey(value));
    std::transform(hu.begin(), hu.end(), image_.begin(), [&](std::int16_t value) {
      return greys_[static_cast<std::size_t>(value + 32768)];
    });
    std::copy(mask.begin(), mask.end(), mask_.begin());
  } else {
    average(hu, mask, grey);
  }
  for (auto* plane : {&image_, &mask_}) take_differences(*plane, columns_);
  json_["image"].push_back(packed(image_, packed_));
  json_["mask"].push_back(packed(mask_, packed_));
  json_["z_mm"].push_back(rounded(z_mm, 3));
  json_["source"].push_back(source_index);
}

}  // namespace wsp::qa

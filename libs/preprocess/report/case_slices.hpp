#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <vector>

namespace wsp::qa {

/// The kept slices of one case as the page's case view takes them: grey values of 8 bits that span
/// the dataset's window, and the mask, each slice and mask a zlib stream of its rows, in base64. A
/// row is its first value and then the differences (modulo 256) to the value on the left, which
/// leaves noisy pixels as small as PNG does.
class CaseSlices {
 public:
  /// For slices of width x height pixels of pixel_mm, averaged over squares so that no side is
  /// above `side`; `low` and `high` are the ends of the window in HU.
  CaseSlices(std::int64_t width, std::int64_t height, std::int64_t side, const double pixel_mm[2],
             std::int16_t low, std::int16_t high);

  /// Add the next slice [height][width], from feet to head, and its mask (0 or 1).
  void add(std::span<const std::int16_t> hu, std::span<const std::uint8_t> mask, double z_mm,
           std::int32_t source_index);

  [[nodiscard]] std::size_t slices() const { return json_.at("z_mm").size(); }

  /// {"width", "height", "pixel_mm": [x, y], "low", "high", "step": HU = low + step * value,
  /// "z_mm": [...], "source": [...], "image": [base64...], "mask": [base64...]}.
  [[nodiscard]] const nlohmann::json& json() const { return json_; }

 private:
  template <class Grey>
  void average(std::span<const std::int16_t> hu, std::span<const std::uint8_t> mask, Grey&& grey);

  std::size_t width_, factor_, columns_, rows_;
  double low_, step_;
  nlohmann::json json_;
  std::vector<std::uint8_t> image_, mask_, packed_;
  std::vector<std::uint8_t> greys_;  ///< [HU + 32768]
};

}  // namespace wsp::qa

#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace wsp::train {

/// Resize stored slices to a square, each axis on its own: area averaging where it gets smaller,
/// linear between pixel centres (edges repeated) where it gets larger, untouched where it is equal.
/// The result is the exact rational value rounded half to even, so it is the same on any machine.
class Resizer {
 public:
  /// From [height][width] to [size][size]. Throws Error(usage) for a side below 1 or above 8192.
  Resizer(std::int64_t height, std::int64_t width, std::int64_t size);
  /// Whether the stored size is the size wanted already.
  [[nodiscard]] bool is_identity() const { return identity_; }
  /// in: [height][width] HU; out: [size][size]. Thread-safe; one `scratch` per thread.
  void image(std::span<const std::int16_t> in, std::span<std::int16_t> out,
             std::vector<std::int32_t>& scratch) const;
  /// The nearest pixel of a mask, the later one where two are equally near.
  void mask(std::span<const std::uint8_t> in, std::span<std::uint8_t> out) const;

  /// How the pixels of one axis are weighted; the weights are integers with one common sum.
  struct Axis {
    std::int64_t from = 0, to = 0;
    std::int32_t total = 1;             ///< sum of the weights of any output pixel
    std::int32_t taps = 1;              ///< the most input pixels that one output pixel has
    std::vector<std::int32_t> first;    ///< [to]: first input pixel
    std::vector<std::int32_t> weights;  ///< [taps][to], 0 where an output pixel has fewer
    std::vector<std::int32_t> nearest;  ///< [to]
  };
  [[nodiscard]] const Axis& rows() const { return rows_; }
  [[nodiscard]] const Axis& columns() const { return columns_; }

 private:
  Axis rows_, columns_;
  bool identity_ = false;
};

}  // namespace wsp::train

#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "io/core/volume.hpp"

/// Binary images as runs: what is asked of a liver or a body touches few voxels then.
namespace wsp {

/// Set pixels [begin, end) of one row.
struct Run {
  std::int32_t begin = 0, end = 0;
};

/// Binary rows of one width, top to bottom, as runs in ascending order that do not touch.
class RunRows {
 public:
  explicit RunRows(std::int64_t width = 0) : width_(width) {}
  [[nodiscard]] std::int64_t width() const { return width_; }
  [[nodiscard]] std::size_t rows() const { return row_.size() - 1; }
  [[nodiscard]] std::span<const Run> runs() const { return runs_; }
  /// The index of the first run of a row; of rows(): how many runs there are.
  [[nodiscard]] std::size_t first(std::size_t row) const { return row_[row]; }
  [[nodiscard]] std::span<const Run> row(std::size_t r) const {
    return std::span(runs_).subspan(row_[r], row_[r + 1] - row_[r]);
  }
  /// Set pixels of `count` rows from `row` on.
  [[nodiscard]] std::int64_t pixels(std::size_t row, std::size_t count) const;

  void clear();
  /// Append a row of `width` pixels: those that are not 0.
  void add_row(const std::uint8_t* pixels);
  /// Append a row of `width` pixels: those of at least `least`.
  void add_row(const std::int16_t* pixels, std::int16_t least);
  /// Append what is not set in the row of another image of this width.
  void add_complement(std::span<const Run> row);
  void add_row(std::span<const Run> row);

 private:
  void add_words();
  std::int64_t width_;
  std::vector<Run> runs_;
  std::vector<std::size_t> row_{0};
  std::vector<std::uint8_t> bytes_;   // of the row at hand, 0 or 1
  std::vector<std::uint64_t> words_;  // its bits
};

/// A mask's rows: row z * ny + y.
struct MaskRuns {
  Geometry geometry;
  RunRows rows;

  explicit MaskRuns(const LiverMask& mask);
  [[nodiscard]] std::span<const Run> row(std::int64_t y, std::int64_t z) const {
    return rows.row(static_cast<std::size_t>(z * geometry.size[1] + y));
  }
  [[nodiscard]] std::int64_t pixels(std::int64_t z) const {
    const auto ny = static_cast<std::size_t>(geometry.size[1]);
    return rows.pixels(static_cast<std::size_t>(z) * ny, ny);
  }
  [[nodiscard]] bool empty() const { return rows.runs().empty(); }
};

/// Connected parts of a binary image, counted from 0 in the order of their first pixels.
struct Parts {
  std::vector<std::int32_t> of_run;  ///< [run]
  std::vector<std::int64_t> size;    ///< [part], in pixels
};
/// 4-connected parts of one image.
Parts parts_of_slice(const RunRows& rows);
/// 26-connected parts of a volume; 8-connected ones of a single slice.
Parts parts_of_volume(const MaskRuns& mask);

}  // namespace wsp

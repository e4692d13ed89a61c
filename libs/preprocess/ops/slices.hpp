#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "io/core/value_counts.hpp"
#include "io/core/volume.hpp"
#include "preprocess/ops/runs.hpp"

/// Pure functions over slices: HU window, in-plane resampling, per-slice statistics.
namespace wsp {

struct WindowHu {
  std::int16_t low = -100, high = 400;
};

/// Clip to the window, in place.
void clip_to_window(std::span<std::int16_t> hu, WindowHu window);

/// Where a source slice lands in a square of `size` pixels (DESIGN §2): isotropic in mm, the longer
/// side fills the square, centred, the rest padded.
struct InPlaneFit {
  std::int64_t source_x = 0, source_y = 0;
  std::int64_t size = 512;
  std::int64_t width = 512, height = 512;  ///< resampled part
  std::int64_t left = 0, top = 0;          ///< its offset in the square
  double pixel_mm[2]{1, 1};                ///< x, y of the result
  bool identity = true;                    ///< the source already is size x size: untouched
};
InPlaneFit fit_in_plane(const Geometry& geometry, std::int64_t size);

/// Resample HU [y][x] by area averaging where it shrinks and linearly where it grows (per axis),
/// round half to even, then clip; the padding becomes window.low. Returns size·size values.
std::vector<std::int16_t> resample_slice(std::span<const std::int16_t> hu, const InPlaneFit& fit,
                                         WindowHu window);
/// Nearest neighbour for masks; the padding becomes 0.
std::vector<std::uint8_t> resample_slice(std::span<const std::uint8_t> mask, const InPlaneFit& fit);

/// What QA needs of every acquired slice and the window throws away.
struct SliceProfile {
  double body_mm2 = 0, lung_mm2 = 0, bone_mm2 = 0, liver_mm2 = 0;
  double liver_mean_hu = 0;  ///< 0 where there is no liver
};

/// HU histograms before the window: bins of 10 HU from -1100 to 2000; the outer bins take what lies
/// beyond.
struct HuHistogram {
  static constexpr int kLow = -1100, kHigh = 2000, kWidth = 10, kBins = (kHigh - kLow) / kWidth;
  std::vector<std::int64_t> body = std::vector<std::int64_t>(kBins);
  std::vector<std::int64_t> liver = std::vector<std::int64_t>(kBins);
  std::vector<std::int64_t> air = std::vector<std::int64_t>(kBins);
  static std::size_t bin(std::int16_t hu);
  /// Voxels by value: of the whole image, of its body and of its liver; what is not body is air.
  void add(const ValueCounts& all, const ValueCounts& of_body, const ValueCounts& of_liver);
};

/// Body = the largest 4-connected part of HU ≥ −300 with its holes filled; within it lung is
/// [−1000, −500] and bone ≥ 250 HU. The liver is slice `z` of a mask, or null. Adds the values of
/// body and liver to the counts.
SliceProfile profile_slice(std::span<const std::int16_t> hu, const MaskRuns* liver, std::int64_t z,
                           const Geometry& geometry, ValueCounts& of_body, ValueCounts& of_liver);

/// The share of liver voxels at or above −300 HU: a mask that misses the body has little.
double share_in_tissue(const Volume& volume, const MaskRuns& mask);

}  // namespace wsp

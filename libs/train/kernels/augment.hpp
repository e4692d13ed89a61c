#pragma once
#include <array>
#include <cstdint>

/// Plain C++ and CUDA: no Torch, no TBB type stands here.
namespace wsp::train {

/// What was drawn for one view of one slice; enough to draw the view again.
struct ViewParameters {
  bool flip_x = false, flip_y = false;
  float angle_rad = 0;             ///< rotation about the centre, counter-clockwise in the image
  float shift_x = 0, shift_y = 0;  ///< translation as a part of the image's width and height
  float crop_x = 0, crop_y = 0;    ///< left and top edge of the crop as a part of the image
  float crop_w = 1, crop_h = 1;    ///< its width and height
};

/// Ranges of the random draws; each augmentation is applied with its own probability. The defaults
/// are those of the published code (kornia's RandomResizedCrop with scale 0.7 and its own aspects,
/// RandomAffine, RandomRotation).
struct AugmentOptions {
  double probability = 0.5;
  bool flip_x = true, flip_y = true;
  double max_angle_deg = 30;
  double max_shift = 0.2;
  double min_crop_area = 0.7;  ///< a crop keeps between this part of the area
  double max_crop_area = 0.7;  ///< and this one, uniformly; 1 and 1: no crop
  /// Width : height of the crop lies between 1 / this and this, uniform in the logarithm and within
  /// what fits into the image; 1: the crop keeps the image's proportions.
  double max_crop_aspect = 4.0 / 3;
};

/// Draw a view: a function of (seed, epoch, sample, view) alone, where `sample` counts draws within
/// the epoch (step * batch + place in the global batch). A range of another augmentation does not
/// change what is drawn for this one. Throws Error (usage) where an option is out of its range.
ViewParameters draw_view(const AugmentOptions& options, std::uint64_t seed, std::uint64_t epoch,
                         std::uint64_t sample, int view);

/// Row-major 2x3: source pixel (x, y) = A * (output pixel x, y, 1), pixel centres at integers.
using Affine = std::array<float, 6>;
/// Compose crop (resized to the whole image), translation, rotation and flips, applied to the image
/// in this order, into one map from output to source pixels of a size x size image. One resampling
/// means that what a crop or shift in between would have cut off, and a later one brings back,
/// is still there.
Affine compose_affine(const ViewParameters& view, std::int64_t size);

/// Draw the views of a batch in one pass: one bilinear read and one write per output pixel, outside
/// the source -100 HU. hu: [n][size][size] int16; affine: [views][n]; out: [views][n][size][size]
/// float32 = (hu + 100) / 500. Parallel over images, views and bands of rows. Positions are fixed
/// point (see augment_pixel.hpp): the result depends neither on threads nor on the machine, and an
/// affine of integers gives the source exactly. Throws Error (failure) where an affine is not
/// finite or beyond its bounds, or size is not in [1, 32768].
void augment_cpu(const std::int16_t* hu, const Affine* affine, std::int64_t n, std::int64_t views,
                 std::int64_t size, float* out);

}  // namespace wsp::train

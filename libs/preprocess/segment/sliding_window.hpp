#pragma once
#include <array>
#include <cstdint>
#include <vector>

namespace wsp {

/// Where windows of `patch` samples begin on an axis of `size` >= patch samples: evenly spread from
/// 0 to size - patch, neighbours sharing at least `overlap` of a window.
std::vector<std::int64_t> window_starts(std::int64_t size, std::int64_t patch, double overlap);

/// Weights of a window's voxels [z][y][x]: a Gaussian about its middle with a standard deviation of
/// an eighth of its length along each axis (Isensee et al. 2021, nnU-Net), 1 at the middle, and
/// nowhere below the smallest that float32 sums carry well.
std::vector<float> gaussian_weights(const std::array<std::int64_t, 3>& patch);

/// The same two as nnU-Net 2 has them (compute_steps_for_sliding_window, compute_gaussian): steps
/// of half a window at most, rounded to even; an axis of single slices has all of them. The
/// Gaussian's middle is sample patch / 2, and what float16 would round to 0 has its smallest value.
std::vector<std::int64_t> nnunet_window_starts(std::int64_t size, std::int64_t patch);
std::vector<float> nnunet_gaussian_weights(const std::array<std::int64_t, 3>& patch);

}  // namespace wsp

#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "io/core/geometry.hpp"

namespace wsp::phantom {

class RichAnatomy;

enum class Contrast { unenhanced, arterial, portal, delayed };

/// One synthetic patient; lengths in mm. LPS with the origin in the middle of the liver.
struct Anatomy {
  int stage = 0;  ///< METAVIR F0–F4
  double body_x = 175, body_y = 120;
  double liver_scale = 1, spleen_scale = 1, caudate_scale = 1, nodule_mm = 0;
  double fat_mm = 20;
  double liver_shift_hu = 0;
  std::array<double, 6> phase{};  ///< of the surface's undulation
  std::uint64_t seed = 0;
  std::shared_ptr<const RichAnatomy> rich;  ///< drawn instead, where it is set
};
/// Draw a patient; nodularity, caudate and spleen grow with the stage.
Anatomy draw_anatomy(std::uint64_t seed, std::uint64_t subject, int stage);

/// True inside the liver.
bool in_liver(const Anatomy& anatomy, const Vec3& p);
/// Noise-free HU at a point.
double tissue_hu(const Anatomy& anatomy, const Vec3& p, Contrast contrast);

/// A stack of planes to render: axes of rows and columns, the first pixel of each plane.
struct Stack {
  std::int64_t columns = 512, rows = 512;
  double pixel_mm = 0.8, thickness_mm = 3;
  Vec3 row_axis{1, 0, 0}, column_axis{0, 1, 0};
  std::vector<Vec3> origins;
  Contrast contrast = Contrast::portal;
  double noise_hu = 12;
  bool sharp = false;
  std::uint64_t noise_key = 0;
  double blur_mm = 0;  ///< standard deviation of the kernel; rich anatomy only
};
/// HU of one plane, [row][column], with noise correlated by the kernel; deterministic.
std::vector<std::int16_t> render_plane(const Anatomy& anatomy, const Stack& stack,
                                       std::size_t plane);
/// The liver of one plane, 0 or 1.
std::vector<std::uint8_t> render_liver(const Anatomy& anatomy, const Stack& stack,
                                       std::size_t plane);

}  // namespace wsp::phantom

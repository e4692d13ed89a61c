#include "preprocess/phantom/anatomy.hpp"

#include <algorithm>
#include <cmath>

#include "preprocess/phantom/rich_anatomy.hpp"
#include "preprocess/phantom/rng.hpp"

namespace wsp::phantom {
namespace {

double ellipsoid(const Vec3& p, const Vec3& c, const Vec3& r) {
  const double x = (p[0] - c[0]) / r[0], y = (p[1] - c[1]) / r[1], z = (p[2] - c[2]) / r[2];
  return x * x + y * y + z * z;
}

double distance_to_segment(const Vec3& p, const Vec3& a, const Vec3& b) {
  const Vec3 ab = b - a;
  const double t = std::clamp(dot(p - a, ab) / dot(ab, ab), 0.0, 1.0);
  return norm(p - (a + t * ab));
}

struct Enhancement {
  double liver, spleen, aorta, portal, kidney;
};
Enhancement enhancement(Contrast c) {
  switch (c) {
    case Contrast::unenhanced:
      return {55, 48, 42, 42, 35};
    case Contrast::arterial:
      return {68, 130, 310, 90, 170};
    case Contrast::portal:
      return {108, 122, 155, 175, 190};
    case Contrast::delayed:
      return {92, 98, 115, 120, 160};
  }
  return {};
}

}  // namespace

Anatomy draw_anatomy(std::uint64_t seed, std::uint64_t subject, int stage) {
  Random random{seed, subject, 1};
  Anatomy a;
  a.stage = stage;
  a.seed = seed * 1000003 + subject;
  a.body_x = random.uniform(160, 190);
  a.body_y = random.uniform(105, 128);
  a.fat_mm = random.uniform(10, 26);
  a.liver_scale = random.uniform(0.84, 0.95) * (1 - 0.015 * stage);
  a.spleen_scale = random.uniform(0.92, 1.06) * (1 + 0.09 * stage);
  a.caudate_scale = random.uniform(0.92, 1.06) * (1 + 0.12 * stage);
  a.nodule_mm = 0.1 + 0.85 * stage * random.uniform(0.85, 1.15);
  a.liver_shift_hu = random.uniform(-8, 8);
  for (double& p : a.phase) p = random.uniform(0, 6.283);
  return a;
}

bool in_liver(const Anatomy& a, const Vec3& p) {
  if (p[2] < -100 || p[2] > 105 || p[0] > 90) return false;
  // Never in the abdominal wall, measured as tissue_hu() measures it.
  const double wall = 1 - (a.fat_mm + 14) / a.body_y, u = p[0] / a.body_x, v = p[1] / a.body_y;
  if (u * u + v * v >= wall * wall) return false;
  const double s = a.liver_scale;
  // Nodules of some 14 mm on the surface: an undulation of the distance, in mm.
  const double bump =
      a.nodule_mm * (std::sin(p[0] / 2.3 + a.phase[0]) * std::sin(p[1] / 2.1 + a.phase[1]) +
                     std::sin(p[2] / 2.5 + a.phase[2]) * std::sin(p[0] / 1.9 + a.phase[3]));
  const auto inside = [&](const Vec3& c, const Vec3& r) {
    const double radius = std::min({r[0], r[1], r[2]});
    return (std::sqrt(ellipsoid(p, c, r)) - 1) * radius < bump;
  };
  const double shrink = 1 - 0.02 * a.stage;  // the right lobe shrinks as the caudate grows
  return inside({-72, -2, 0}, {80 * s * shrink, 82 * s, 92 * s}) ||
         inside({8, -42, 28}, {68 * s, 36 * s, 44 * s}) ||
         inside({-14, 14, 22}, {20 * a.caudate_scale, 16 * a.caudate_scale, 26 * a.caudate_scale});
}

double tissue_hu(const Anatomy& a, const Vec3& p, Contrast contrast) {
  const Enhancement e = enhancement(contrast);
  const double radius =
      std::sqrt(p[0] * p[0] / (a.body_x * a.body_x) + p[1] * p[1] / (a.body_y * a.body_y));
  if (radius > 1) {  // the table under the patient
    const double table = p[1] - a.body_y - 8;
    return table > 0 && table < 12 && std::abs(p[0]) < 210 ? (table > 2 && table < 10 ? -900 : 60)
                                                           : -1000;
  }
  const double depth = (1 - radius) * a.body_y;
  if (depth < 2) return 10;           // skin
  if (depth < a.fat_mm) return -102;  // subcutaneous fat
  const double spine = std::hypot(p[0] / 1.15, p[1] - (a.body_y - 52));
  if (spine < 21) return spine > 18 ? 480 : std::fmod(std::abs(p[2]) + 200, 32) < 4 ? 95 : 210;
  if (std::hypot(p[0], p[1] - (a.body_y - 26)) < 8) return 30;
  if (depth < a.fat_mm + 14) {  // ribs: oblique rings in the muscle of the wall
    const double angle = std::atan2(std::abs(p[0]), -p[1]);
    const double ring = std::fmod(p[2] + 28 * angle + 400, 26);
    if (depth > a.fat_mm + 3 && depth < a.fat_mm + 11 && ring < 9 && p[2] > -70 && angle > 0.5)
      return ring < 1.5 || ring > 7.5 ? 550 : 260;
    return 58;
  }
  const bool liver = in_liver(a, p);
  if (distance_to_segment(p, {2, 2, -35}, {-18, -6, 2}) < 7 ||
      (liver && (distance_to_segment(p, {-18, -6, 2}, {-62, 4, 14}) < 5.5 ||
                 distance_to_segment(p, {-62, 4, 14}, {-104, 28, 34}) < 3.6 ||
                 distance_to_segment(p, {-62, 4, 14}, {-96, -32, -18}) < 3.4 ||
                 distance_to_segment(p, {-18, -6, 2}, {14, -44, 30}) < 3.6)))
    return e.portal;
  if (liver) {
    if (distance_to_segment(p, {-20, 28, 78}, {-82, -14, 40}) < 4)
      return e.portal - 10;  // hepatic vein
    return e.liver + a.liver_shift_hu;
  }
  if (std::hypot(p[0] - 12, p[1] - (a.body_y - 84)) < 11) return e.aorta;
  if (std::hypot(p[0] + 22, p[1] - (a.body_y - 86)) < 12) return 0.7 * e.aorta + 20;  // vena cava
  // Lung bases above the diaphragm's domes, the heart between them.
  const double dome = 62 - 0.004 * ((std::abs(p[0]) - 75) * (std::abs(p[0]) - 75) + p[1] * p[1]);
  if (std::abs(p[0]) > 26 && p[2] > dome + 28)
    return -860 + 25 * std::sin(p[0] / 5) * std::sin(p[1] / 6) * std::sin(p[2] / 7);
  if (p[2] > dome + 26 && std::abs(p[0]) <= 46 && p[1] < 30) return 0.8 * e.aorta + 10;
  const double ss = a.spleen_scale;
  if (ellipsoid(p, {104, 34, 34}, {27 * ss, 42 * ss, 50 * ss}) < 1) return e.spleen;
  for (const double side : {-1.0, 1.0}) {
    const double kidney = ellipsoid(p, {side * 62, 48, side < 0 ? -66.0 : -56.0}, {29, 25, 54});
    if (kidney < 1) return kidney < 0.28 ? -40 : kidney < 0.6 ? e.kidney - 50 : e.kidney;
  }
  const double stomach = ellipsoid(p, {66, -38, 30}, {38, 34, 46});
  if (stomach < 1) return stomach > 0.86 ? 60 : p[1] < -46 ? -950 : 15;
  if (p[2] < -45) {  // bowel: loops with gas in their upper part
    const double loop = std::sin(p[0] / 13 + a.phase[4]) * std::sin((p[1] + 20) / 12) *
                        std::sin(p[2] / 15 + a.phase[5]);
    if (loop > 0.45) return loop > 0.85 && p[1] < -20 ? -850 : 28;
  }
  return -104;  // visceral fat
}

std::vector<std::int16_t> render_plane(const Anatomy& a, const Stack& s, std::size_t plane) {
  if (a.rich) return a.rich->render(s, plane);
  const auto nx = static_cast<std::size_t>(s.columns), ny = static_cast<std::size_t>(s.rows);
  std::vector<float> noise(nx * ny);
  Random random{a.seed, s.noise_key, plane, 7};
  // Sums of four uniform bytes: near normal, variance 1, and fast.
  const auto sum = [](std::uint64_t b) {
    return static_cast<float>((b & 0xFF) + (b >> 8 & 0xFF) + (b >> 16 & 0xFF) + (b >> 24 & 0xFF)) /
               147.8F -
           3.45F;
  };
  for (float& n : noise) n = sum(random.bits());
  std::vector<std::int16_t> hu(nx * ny);
  const Vec3 dx = s.pixel_mm * s.row_axis, dy = s.pixel_mm * s.column_axis;
  for (std::size_t y = 0; y < ny; ++y)
    for (std::size_t x = 0; x < nx; ++x) {
      const Vec3 p = s.origins[plane] + static_cast<double>(x) * dx + static_cast<double>(y) * dy;
      const std::size_t at = y * nx + x;
      float n = noise[at];
      if (!s.sharp) {  // a soft kernel correlates neighbours
        const std::size_t left = x > 0 ? 1 : 0, up = y > 0 ? nx : 0;
        n = (noise[at] + noise[at - left] + noise[at - up] + noise[at - left - up]) / 2;
      }
      const double value = tissue_hu(a, p, s.contrast) +
                           (s.sharp ? 1.35 : 1.0) * s.noise_hu * static_cast<double>(n);
      hu[at] = static_cast<std::int16_t>(std::lrint(std::clamp(value, -1024.0, 3000.0)));
    }
  return hu;
}

std::vector<std::uint8_t> render_liver(const Anatomy& a, const Stack& s, std::size_t plane) {
  if (a.rich) return a.rich->liver(s, plane);
  std::vector<std::uint8_t> mask(static_cast<std::size_t>(s.columns * s.rows));
  const Vec3 dx = s.pixel_mm * s.row_axis, dy = s.pixel_mm * s.column_axis;
  for (std::int64_t y = 0; y < s.rows; ++y)
    for (std::int64_t x = 0; x < s.columns; ++x)
      mask[static_cast<std::size_t>(y * s.columns + x)] =
          in_liver(a, s.origins[plane] + static_cast<double>(x) * dx + static_cast<double>(y) * dy)
              ? 1
              : 0;
  return mask;
}

}  // namespace wsp::phantom

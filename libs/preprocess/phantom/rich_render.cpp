#include <algorithm>
#include <cmath>

#include "preprocess/phantom/rich_anatomy.hpp"
#include "preprocess/phantom/rich_tissue.hpp"
#include "preprocess/phantom/rng.hpp"

namespace wsp::phantom {

double smoothstep(double t) {
  t = std::clamp(t, 0.0, 1.0);
  return t * t * (3 - 2 * t);
}

double value_noise(const Vec3& p, double cell, std::uint64_t key) {
  double f[3];
  std::int64_t i[3];
  for (int k = 0; k < 3; ++k) {
    const double t = p[static_cast<std::size_t>(k)] / cell;
    i[k] = static_cast<std::int64_t>(std::floor(t));
    f[k] = smoothstep(t - static_cast<double>(i[k]));
  }
  const auto lattice = [&](int dx, int dy, int dz) {
    std::uint64_t h = key ^ (static_cast<std::uint64_t>(i[0] + dx) * 0x9E3779B97F4A7C15ULL) ^
                      (static_cast<std::uint64_t>(i[1] + dy) * 0xC2B2AE3D27D4EB4FULL) ^
                      (static_cast<std::uint64_t>(i[2] + dz) * 0x165667B19E3779F9ULL);
    h = (h ^ (h >> 31)) * 0xBF58476D1CE4E5B9ULL;
    return static_cast<double>(h >> 40) / static_cast<double>(1 << 23) - 1;
  };
  double value = 0;
  for (int c = 0; c < 8; ++c)
    value += ((c & 1) != 0 ? f[0] : 1 - f[0]) * ((c & 2) != 0 ? f[1] : 1 - f[1]) *
             ((c & 4) != 0 ? f[2] : 1 - f[2]) * lattice(c & 1, c >> 1 & 1, c >> 2 & 1);
  return value;
}

double RichAnatomy::hu(Tissue coded, const Vec3& q, Contrast contrast) const {
  const int fill = coded / kFill;
  const auto organ = static_cast<Organ>(coded % kFill);
  if (organ == Organ::outside) return -1000;
  const auto& mean = mean_[static_cast<std::size_t>(contrast)];
  const auto i = static_cast<std::size_t>(organ);
  if (organ == Organ::table) return std::fmod(q[1] - body_y_ + 1000, 13) < 2 ? 40 : -880;
  if (fill >= kFirstLesion && fill < kGas) {
    const double value = lesion_hu_[fill - kFirstLesion],
                 grain = lesion_texture_ * value_noise(q, 9, key_ + 12) +
                         0.5 * lesion_texture_ * value_noise(q, 28, key_ + 13);
    const double liver = mean[static_cast<std::size_t>(Organ::liver)];
    if (fill - kFirstLesion == 3)  // calcified, or filled with oil in grains
      return value_noise(q, 5, key_ + 14) + 0.7 * value_noise(q, 14, key_ + 15) > 0.05
                 ? value + 1000
                 : liver - 15 + grain;
    return (value < -60 ? value + 1000 : liver + value) + grain;
  }
  if (fill == kGas) return -960;
  if (organ == Organ::bone && fill == 0) return 1.7 * mean[i] + 60;  // cortex
  if (organ == Organ::airway && fill != 0) return -980;
  double value = fill >= kFirstContent && fill < kFirstLesion
                     ? contents_[static_cast<std::size_t>(fill - 1)]
                     : mean[i];
  if (organ == Organ::colon && fill != 0) value += 90 * value_noise(q, 7, key_ + 5);  // stool
  if (organ == Organ::lung)
    value += 70 * value_noise(q, 6, key_ + 6) + 40 * value_noise(q, 40, key_ + 7);
  if (organ == Organ::visceral_fat || organ == Organ::subcutaneous_fat)
    return value + 9 * value_noise(q, 12, key_ + 8) + 6 * value_noise(q, 3, key_ + 9);
  if (texture_[i] > 0.5)
    value += texture_[i] * (value_noise(q, 9, key_ + i) + 0.8 * value_noise(q, 45, key_ + 40 + i));
  return value;
}

std::vector<std::uint8_t> RichAnatomy::labels(const Stack& s, std::size_t plane) const {
  const auto organ = tissues(s.origins[plane], s.pixel_mm * s.row_axis, s.pixel_mm * s.column_axis,
                             s.columns, s.rows);
  std::vector<std::uint8_t> out(organ.size());
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<std::uint8_t>(organ[i] % kFill);
  return out;
}

std::vector<std::uint8_t> RichAnatomy::liver(const Stack& s, std::size_t plane) const {
  std::vector<std::uint8_t> out = labels(s, plane);
  for (std::uint8_t& v : out) v = v >= 1 && v <= 3 ? 1 : 0;
  return out;
}

namespace {

/// Gaussian blur of an image in place, separable; borders are held.
void blur(std::vector<float>& image, std::int64_t nx, std::int64_t ny, double sigma) {
  const auto radius = static_cast<std::int64_t>(std::ceil(2.5 * sigma));
  if (sigma < 0.2 || radius < 1) return;
  std::vector<float> weight(static_cast<std::size_t>(2 * radius + 1));
  float total = 0;
  for (std::int64_t k = -radius; k <= radius; ++k) {
    const auto w =
        static_cast<float>(std::exp(-0.5 * static_cast<double>(k * k) / (sigma * sigma)));
    weight[static_cast<std::size_t>(k + radius)] = w;
    total += w;
  }
  for (float& w : weight) w /= total;
  std::vector<float> half(image.size());
  const auto pass = [&](const std::vector<float>& in, std::vector<float>& out, std::int64_t step,
                        std::int64_t n, std::int64_t other, std::int64_t lines) {
    for (std::int64_t line = 0; line < lines; ++line)
      for (std::int64_t i = 0; i < n; ++i) {
        float sum = 0;
        for (std::int64_t k = -radius; k <= radius; ++k)
          sum += weight[static_cast<std::size_t>(k + radius)] *
                 in[static_cast<std::size_t>(line * other +
                                             std::clamp<std::int64_t>(i + k, 0, n - 1) * step)];
        out[static_cast<std::size_t>(line * other + i * step)] = sum;
      }
  };
  pass(image, half, 1, nx, nx, ny);
  pass(half, image, nx, ny, 1, nx);
}

}  // namespace

std::vector<std::int16_t> RichAnatomy::render(const Stack& s, std::size_t plane) const {
  const std::int64_t nx = s.columns, ny = s.rows;
  const Vec3 dx = s.pixel_mm * s.row_axis, dy = s.pixel_mm * s.column_axis;
  const Vec3 normal = cross(s.row_axis, s.column_axis);
  // The slice's thickness is averaged over planes some 2.5 mm apart.
  const int parts = std::clamp(static_cast<int>(std::lround(s.thickness_mm / 2.5)), 1, 4);
  std::vector<float> sum(static_cast<std::size_t>(nx * ny), 0.0F);
  for (int k = 0; k < parts; ++k) {
    const Vec3 origin = s.origins[plane] + (((k + 0.5) / parts - 0.5) * s.thickness_mm) * normal;
    const auto organ = tissues(origin, dx, dy, nx, ny);
    for (std::int64_t y = 0; y < ny; ++y)
      for (std::int64_t x = 0; x < nx; ++x) {
        const auto at = static_cast<std::size_t>(y * nx + x);
        const Vec3 p = origin + static_cast<double>(x) * dx + static_cast<double>(y) * dy;
        sum[at] += static_cast<float>(hu(organ[at], p, s.contrast) / parts);
      }
  }
  blur(sum, nx, ny, s.blur_mm / s.pixel_mm);
  Random random{key_, s.noise_key, plane, 23};
  std::vector<float> noise(sum.size());
  for (float& n : noise) {
    const std::uint64_t b = random.bits();
    n = static_cast<float>((b & 0xFF) + (b >> 8 & 0xFF) + (b >> 16 & 0xFF) + (b >> 24 & 0xFF)) /
            147.8F -
        3.45F;
  }
  blur(noise, nx, ny, s.sharp ? 0.0 : std::max(0.5, 0.8 * s.blur_mm / s.pixel_mm));
  double square = 0;
  for (const float n : noise) square += static_cast<double>(n) * static_cast<double>(n);
  const auto gain = static_cast<float>(
      s.noise_hu / std::sqrt(std::max(1e-9, square / static_cast<double>(noise.size()))));
  std::vector<std::int16_t> out(sum.size());
  for (std::int64_t y = 0; y < ny; ++y)
    for (std::int64_t x = 0; x < nx; ++x) {
      const auto at = static_cast<std::size_t>(y * nx + x);
      double value = static_cast<double>(sum[at]) + static_cast<double>(gain * noise[at]);
      for (const Vec3& m : metal_) {
        const Vec3 p = s.origins[plane] + static_cast<double>(x) * dx + static_cast<double>(y) * dy;
        if (std::abs(p[2] - m[2]) > 6) continue;
        const double angle = std::atan2(p[1] - m[1], p[0] - m[0]),
                     d = std::hypot(p[1] - m[1], p[0] - m[0]);
        value += 260 * std::sin(9 * angle + m[0]) * std::sin(4 * angle) * std::exp(-d / 55);
      }
      out[at] = static_cast<std::int16_t>(std::lrint(std::clamp(value, -1024.0, 3071.0)));
    }
  return out;
}

Stack RichAnatomy::draw_stack(std::int64_t matrix, int min_slices, int max_slices) const {
  Random r{key_, 22};
  Stack s;
  s.columns = s.rows = matrix;
  const double fit = 2 * std::max(body_x_, body_y_ + 15);
  const double field = r.uniform() < 0.12 ? r.uniform(250, fit)
                                          : std::clamp(fit * r.uniform(1.02, 1.5), 250.0, 700.0);
  s.pixel_mm = std::round(field / static_cast<double>(matrix) * 1000) / 1000;
  const double kind = r.uniform();
  double low = liver_low_ - r.uniform(5, 60), high = liver_high_ + r.uniform(5, 60);
  if (kind < 0.3) low = r.uniform(-420, -180);
  if (kind > 0.2 && kind < 0.42) high = r.uniform(140, 330);
  if (kind > 0.92) {  // no liver in it
    if (r.uniform() < 0.5) {
      low = liver_high_ + r.uniform(15, 50);
      high = low + r.uniform(100, 200);
    } else {
      high = liver_low_ - r.uniform(45, 80);
      low = high - r.uniform(120, 260);
    }
  } else if (kind > 0.87) {  // cut off
    (r.uniform() < 0.5 ? low : high) = r.uniform(liver_low_ + 30, liver_high_ - 30);
    if (high - low < 40) high = low + 40;
  }
  const double thick = r.uniform() < 0.25   ? r.uniform(0.6, 2)
                       : r.uniform() < 0.75 ? r.uniform(2, 5.5)
                                            : r.uniform(5.5, 10);
  auto n = static_cast<std::int64_t>(std::lround((high - low) / thick));
  n = std::max<std::int64_t>(n, min_slices);
  s.thickness_mm = std::round((high - low) / static_cast<double>(n) * 100) / 100;
  double step = s.thickness_mm;
  if (n > max_slices) {  // not thicker slices, but gaps between them, or a part of the range
    if (r.uniform() < 0.75)
      step = std::clamp((high - low) / static_cast<double>(max_slices), step, std::max(step, 10.0));
    const double length = step * static_cast<double>(max_slices);
    double first = low, last = std::max(low, high - length);
    if (kind <= 0.92) {  // with some of the liver
      first = std::max(first, liver_low_ + 20 - length);
      last = std::max(first, std::min(last, liver_high_ - 25));
    }
    low = r.uniform(first, last);
    n = max_slices;
  }
  s.noise_hu = r.uniform() < 0.15 ? r.uniform(20, 45) : r.uniform(4, 20);
  s.sharp = r.uniform() < 0.12;
  s.blur_mm = r.uniform(0.3, 1.4);
  s.noise_key = 2;
  const double u = r.uniform();
  s.contrast = u < 0.5    ? Contrast::portal
               : u < 0.64 ? Contrast::arterial
               : u < 0.76 ? Contrast::delayed
                          : Contrast::unenhanced;
  const double half = static_cast<double>(matrix) * s.pixel_mm / 2;
  const double slack = std::max(0.0, field / 2 - fit / 2 + 10);
  const double cx = r.uniform(-1, 1) * slack * 0.8, cy = r.uniform(-1, 1) * slack * 0.8;
  for (std::int64_t k = 0; k < n; ++k)
    s.origins.push_back({std::round((cx - half) * 1e3) / 1e3, std::round((cy - half) * 1e3) / 1e3,
                         std::round((low + static_cast<double>(k) * step) * 1e4) / 1e4});
  return s;
}

}  // namespace wsp::phantom

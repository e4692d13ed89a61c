#include "preprocess/phantom/rich_build.hpp"

#include <algorithm>
#include <cmath>

namespace wsp::phantom {

double RichAnatomy::Build::normal() {
  return r.uniform() + r.uniform() + r.uniform() + r.uniform() + r.uniform() + r.uniform() +
         r.uniform() + r.uniform() + r.uniform() + r.uniform() + r.uniform() + r.uniform() - 6;
}

RichShape& RichAnatomy::Build::ellipsoid(Organ organ, const Vec3& c, const Vec3& radius,
                                         double tilt) {
  RichShape s;
  s.organ = organ;
  s.centre = c;
  s.radius = radius;
  if (tilt > 0) {  // a random rotation about each axis in turn
    for (std::size_t k = 0; k < 3; ++k) {
      const double angle = u(-tilt, tilt), cs = std::cos(angle), sn = std::sin(angle);
      const std::size_t i = (k + 1) % 3, j = (k + 2) % 3;
      for (Vec3& axis : s.axis) {
        const double x = axis[i], y = axis[j];
        axis[i] = cs * x - sn * y;
        axis[j] = sn * x + cs * y;
      }
    }
  }
  const double reach = std::max({radius[0], radius[1], radius[2]}) * 1.25;
  for (std::size_t k = 0; k < 3; ++k) {
    const double extent = tilt > 0 ? reach : radius[k] * 1.25;
    s.low[k] = c[k] - extent;
    s.high[k] = c[k] + extent;
  }
  a.shapes_.push_back(s);
  return a.shapes_.back();
}

RichShape& RichAnatomy::Build::tube(Organ organ, const Vec3& from, const Vec3& to, double r0,
                                    double r1) {
  RichShape s;
  s.organ = organ;
  s.tube = true;
  s.centre = from;
  s.end = to;
  s.radius = {r0, r0, r0};
  s.radius_end = r1;
  const double reach = std::max(r0, r1) * 1.25;
  for (std::size_t k = 0; k < 3; ++k) {
    s.low[k] = std::min(from[k], to[k]) - reach;
    s.high[k] = std::max(from[k], to[k]) + reach;
  }
  a.shapes_.push_back(s);
  return a.shapes_.back();
}

void RichAnatomy::Build::winding(Organ organ, const std::vector<Vec3>& points, double low,
                                 double high, double wall, std::uint8_t content) {
  double before = u(low, high);
  for (std::size_t i = 0; i + 1 < points.size(); ++i) {
    const double now = u(low, high);
    RichShape& s = tube(organ, points[i], points[i + 1], before, now);
    s.wall = wall;
    s.content = content;
    s.bump = u(0, 0.12);
    before = now;
  }
}

std::uint8_t RichAnatomy::Build::content(double low, double high, double gas_share,
                                         double gas_level_low, double gas_level_high) {
  const auto i = static_cast<std::uint8_t>(r.below(kContents));
  a.contents_[i] = u(low, high);
  a.level_[i] = chance(gas_share) ? u(gas_level_low, gas_level_high) : -1e9;
  return i;
}

void RichAnatomy::Build::values() {
  const auto set = [&](Organ o, double un, double art, double por, double del) {
    const auto i = static_cast<std::size_t>(o);
    const double gain = u(0.6, 1.35), shift = 6 * normal();
    const double phases[4] = {un, art, por, del};
    for (std::size_t c = 0; c < 4; ++c) a.mean_[c][i] = un + shift + gain * (phases[c] - un);
    a.texture_[i] = u(0, 7);
  };
  const double kind = r.uniform();
  const double native = kind < 0.68 ? u(42, 70) : kind < 0.9 ? u(-10, 42) : u(70, 115);
  set(Organ::liver, native, native + u(3, 28), native + u(24, 75), native + u(15, 55));
  set(Organ::liver_vessel, 40, u(45, 150), u(120, 210), u(95, 150));
  set(Organ::gallbladder, 30, 45, 70, 65);
  set(Organ::spleen, 47, u(70, 150), u(95, 150), u(80, 120));
  set(Organ::pancreas, 35, u(60, 125), u(65, 115), u(55, 90));
  set(Organ::stomach, 40, 70, 90, 85);
  set(Organ::duodenum, 40, 75, 95, 85);
  set(Organ::small_bowel, 40, 80, 100, 85);
  set(Organ::colon, 40, 65, 90, 80);
  set(Organ::kidney, 32, u(100, 190), u(140, 220), u(130, 210));
  set(Organ::adrenal, 30, 70, 75, 60);
  set(Organ::aorta, 42, u(180, 420), u(115, 200), u(95, 145));
  set(Organ::vena_cava, 42, u(50, 160), u(90, 190), u(90, 145));
  set(Organ::vessel, 42, u(60, 250), u(110, 200), u(95, 145));
  set(Organ::heart, 45, u(70, 130), u(90, 140), u(80, 115));
  set(Organ::lung, u(-920, -700), 0, 0, 0);
  for (auto& c : a.mean_)
    c[static_cast<std::size_t>(Organ::lung)] = a.mean_[0][static_cast<std::size_t>(Organ::lung)];
  set(Organ::bone, u(140, 320), u(140, 320), u(140, 320), u(140, 320));
  set(Organ::muscle, u(42, 62), 58, 64, 64);
  const double fat = u(-118, -88);
  set(Organ::subcutaneous_fat, fat, fat, fat, fat);
  set(Organ::visceral_fat, fat, fat, fat, fat);
  for (auto& c : a.mean_) {
    c[static_cast<std::size_t>(Organ::subcutaneous_fat)] = fat;
    c[static_cast<std::size_t>(Organ::visceral_fat)] = fat + (chance(0.25) ? u(0, 40) : u(-3, 8));
  }
  set(Organ::skin, 10, 15, 20, 20);
  set(Organ::ascites, 8, 9, 12, 15);
  set(Organ::pleural_fluid, 8, 9, 10, 12);
  set(Organ::bladder, 35, 45, 60, 60);
  set(Organ::oesophagus, 40, 55, 65, 65);
  set(Organ::breast, -70, -65, -60, -60);
  set(Organ::airway, 20, 20, 20, 20);
  set(Organ::arm, 45, 48, 50, 50);
  set(Organ::thyroid, 90, 150, 150, 140);
  for (auto& c : a.mean_) c[static_cast<std::size_t>(Organ::metal)] = 2900;
  // tumour darker, tumour brighter in an early phase, cyst, calcified or treated
  a.lesion_hu_[0] = u(-55, -8);
  a.lesion_hu_[1] = u(5, 70);
  a.lesion_hu_[2] = -1000 + u(-5, 20);  // below -900: absolute, + 1000
  a.lesion_hu_[3] = -1000 + u(150, 900);
}

void RichAnatomy::Build::all() {
  body();
  skeleton();
  liver();  // its vessels, lesions and gallbladder come before the organs around
  vessels();
  organs();
  thorax();
  values();
}

}  // namespace wsp::phantom

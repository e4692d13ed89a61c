#include "preprocess/phantom/rich_anatomy.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "preprocess/phantom/rng.hpp"

namespace wsp::phantom {
namespace {

constexpr double kPi = std::numbers::pi;
constexpr double kSkinMm = 2, kDiaphragmMm = 3;

double smoothstep(double t) {
  t = std::clamp(t, 0.0, 1.0);
  return t * t * (3 - 2 * t);
}

/// Smooth noise in [-1, 1] with cells of `cell` mm: trilinear between hashed lattice values.
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

/// What lies where, so that a shape counts only in its own room.
enum class Room { anywhere, abdomen, thorax, outside };
Room room_of(Organ organ) {
  switch (organ) {
    case Organ::liver_lesion:
    case Organ::liver_vessel:
    case Organ::gallbladder:
    case Organ::spleen:
    case Organ::pancreas:
    case Organ::stomach:
    case Organ::duodenum:
    case Organ::small_bowel:
    case Organ::colon:
    case Organ::kidney:
    case Organ::adrenal:
    case Organ::bladder:
    case Organ::visceral_fat:
      return Room::abdomen;
    case Organ::heart:
    case Organ::lung:
    case Organ::pleural_fluid:
      return Room::thorax;
    case Organ::breast:
    case Organ::arm:
      return Room::outside;
    default:
      return Room::anywhere;
  }
}

constexpr int kContents = 16;
// Codes of a tissue above the organ's number: 0 solid, or the wall of something hollow.
constexpr int kFill = 64, kFirstContent = 1, kFirstLesion = 17, kGas = 21, kMarrow = 22;

std::uint16_t tissue(Organ organ, int fill = 0) {
  return static_cast<std::uint16_t>(static_cast<int>(organ) + kFill * fill);
}

}  // namespace

std::string_view to_string(Organ organ) {
  static constexpr std::array<std::string_view, kOrgans> kNames{
      "outside",      "liver",      "liver_lesion", "liver_vessel",  "gallbladder",
      "spleen",       "pancreas",   "stomach",      "duodenum",      "small_bowel",
      "colon",        "kidney",     "adrenal",      "aorta",         "vena_cava",
      "heart",        "lung",       "bone",         "muscle",        "subcutaneous_fat",
      "visceral_fat", "skin",       "ascites",      "pleural_fluid", "bladder",
      "vessel",       "oesophagus", "breast",       "airway",        "metal",
      "arm",          "table",      "thyroid"};
  return kNames[static_cast<std::size_t>(organ)];
}

/// Draws one patient.
struct RichAnatomy::Build {
  RichAnatomy& a;
  Random r;
  double spine_y = 60, zc = -10;  // zc: the liver's hilum

  bool chance(double p) { return r.uniform() < p; }
  double u(double low, double high) { return r.uniform(low, high); }
  double normal() {
    return r.uniform() + r.uniform() + r.uniform() + r.uniform() + r.uniform() + r.uniform() +
           r.uniform() + r.uniform() + r.uniform() + r.uniform() + r.uniform() + r.uniform() - 6;
  }

  RichShape& ellipsoid(Organ organ, const Vec3& c, const Vec3& radius, double tilt = 0) {
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

  RichShape& tube(Organ organ, const Vec3& from, const Vec3& to, double r0, double r1) {
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

  /// A winding tube through points, its radius varying.
  void winding(Organ organ, const std::vector<Vec3>& points, double low, double high, double wall,
               std::uint8_t content) {
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

  /// An index into contents_: fluid, food, stool, contrast, or gas above a level.
  std::uint8_t content(double low, double high, double gas_share, double gas_level_low,
                       double gas_level_high) {
    const auto i = static_cast<std::uint8_t>(r.below(kContents));
    a.contents_[i] = u(low, high);
    a.level_[i] = chance(gas_share) ? u(gas_level_low, gas_level_high) : -1e9;
    return i;
  }

  void body() {
    const double size = u(0.75, 1.3);
    a.body_x_ = std::clamp(165 * size * u(0.9, 1.12), 118.0, 235.0);
    a.body_y_ = std::clamp(115 * size * u(0.85, 1.2), 78.0, 180.0);
    a.body_power_ = u(0, 1.1);
    a.chest_ = u(0.92, 1.08);
    a.hip_ = u(0.9, 1.15);
    const double fat = std::pow(u(0, 1), 1.6) * 55 * size;
    a.fat_front_ = 3 + fat * u(0.5, 1.3);
    a.fat_back_ = 3 + fat * u(0.3, 0.9);
    a.fat_side_ = 3 + fat * u(0.3, 1.0);
    a.muscle_ = u(7, 20);
    a.rib_pitch_ = u(20, 32);
    a.rib_tilt_ = u(10, 45);
    a.rib_low_ = u(-140, 40);
    a.table_y_ = u(2, 30);
    a.has_table_ = chance(0.85);
    a.gap_ = u(0.5, 4);
    for (double& p : a.phases_) p = u(0, 2 * kPi);
    for (int i = 0; i < 12; ++i) {  // the deformation: long waves move much, short ones little
      const double wavelength = i < 4 ? u(140, 300) : i < 9 ? u(60, 130) : u(30, 60);
      const double size_mm = i < 4 ? u(0, 9) : i < 9 ? u(0, 4.5) : u(0, 1.2);
      Vec3 k{u(-1, 1), u(-1, 1), u(-1, 1)}, d{u(-1, 1), u(-1, 1), u(-1, 1)};
      k = (2 * kPi / wavelength / std::max(0.2, norm(k))) * k;
      d = (size_mm / std::max(0.2, norm(d))) * d;
      a.waves_.push_back({k, d, u(0, 2 * kPi)});
      a.reach_ += norm(d);
    }
    spine_y = a.body_y_ - a.fat_back_ - u(32, 46);
  }

  void skeleton() {
    const double ys = spine_y;
    for (const double side : {-1.0, 1.0}) {
      // muscles of the back, psoas, buttocks
      tube(Organ::muscle, {side * u(28, 36), ys + 26, 250}, {side * u(28, 36), ys + 24, -230},
           u(12, 22), u(16, 28));
      tube(Organ::muscle, {side * 24, ys - 2, -30}, {side * u(45, 60), ys - 22, -250}, u(4, 9),
           u(12, 26));
      tube(Organ::muscle, {side * 60, ys + 10, -60}, {side * 75, ys + 6, -190}, u(8, 14),
           u(12, 24));
      tube(Organ::muscle, {side * 60, ys + 8, -240}, {side * 80, ys, -420}, u(30, 46), u(36, 55));
      ellipsoid(Organ::muscle, {side * u(62, 84), ys + u(16, 30), -318}, {u(40, 60), u(28, 46), u(62, 90)},
                0.3);  // the buttock's great muscle, the two beside the hip, that before its wing
      ellipsoid(Organ::muscle, {side * u(106, 122), ys - u(10, 30), -288}, {u(16, 30), u(34, 52), u(46, 70)},
                0.3);
      ellipsoid(Organ::muscle, {side * u(56, 74), ys - u(24, 40), -258}, {u(18, 36), u(10, 24), u(36, 66)},
                0.3);
      tube(Organ::muscle, {side * u(60, 90), ys - 92, -395}, {side * u(80, 105), ys - 80, -620}, u(26, 44),
           u(34, 56));  // thigh
    }
    const double rb = u(16, 27);
    tube(Organ::bone, {0, ys, 420}, {0, ys, -255}, rb * 0.7, rb * 1.1).wall = 0.1;
    tube(Organ::muscle, {0, ys + rb + 9, 420}, {0, ys + rb + 10, -300}, u(6, 9),
         u(6, 9));  // spinal canal
    for (double z = -250; z < 400; z += 30) {
      tube(Organ::bone, {0, ys + rb + 16, z}, {0, ys + rb + u(28, 42), z - u(0, 12)}, u(3, 5), 3);
      for (const double side : {-1.0, 1.0}) {
        tube(Organ::bone, {side * 10, ys + rb + 6, z},
             {side * u(28, 40), ys + rb + 6, z + u(-4, 4)}, 4.5, 3);
        tube(Organ::bone, {side * 11, ys + rb * 0.7, z}, {side * 13, ys + rb + 18, z}, 4, 4);
      }
    }
    for (const double side : {-1.0, 1.0}) {  // pelvis and thighs
      ellipsoid(Organ::bone, {side * 88, ys - 14, -258}, {u(4, 10), u(44, 60), u(52, 68)}, 0.5);
      ellipsoid(Organ::bone, {side * 92, ys - 50, -370}, {26, 26, 26});
      tube(Organ::bone, {side * 95, ys - 50, -380}, {side * 100, ys - 50, -640}, 17, 15);
      tube(Organ::bone, {side * 70, ys - 40, -360}, {side * 10, ys - 110, -390}, 11, 9);
    }
    ellipsoid(Organ::bone, {0, ys + 12, -285}, {48, 18, 50}, 0.2);
    if (chance(0.7)) {  // sternum and shoulder girdle for scans that go on
      tube(Organ::bone, {0, -a.body_y_ + a.fat_front_ + 12, 110},
           {0, -a.body_y_ * 0.85 + a.fat_front_ + 8, 260}, 7, 9);
      for (const double side : {-1.0, 1.0}) {
        tube(Organ::bone, {side * 20, -a.body_y_ * 0.6, 285}, {side * 140, -10, 310}, 6, 7);
        ellipsoid(Organ::bone, {side * 95, ys + 20, 240}, {45, 6, 60}, 0.3);
      }
    }
  }

  void vessels() {
    const double ys = spine_y, ra = u(7, 14);
    const double ax = u(2, 16);
    tube(Organ::aorta, {ax + 4, ys - 26 - ra * 0.3, 190}, {ax, ys - 24 - ra, -60}, ra,
         ra * u(0.8, 1.0));
    tube(Organ::aorta, {ax, ys - 24 - ra, -60}, {4, ys - 24 - ra, -175}, ra * u(0.7, 1.9),
         ra * 0.8);
    for (const double side : {-1.0, 1.0})
      tube(Organ::aorta, {4, ys - 32, -172}, {side * 48, ys - 45, -290}, 7, 5);
    const double ri = u(5, 13);
    tube(Organ::vena_cava, {-18, ys - 28, -190}, {-24, ys - 34, 0}, ri * 0.8, ri);
    tube(Organ::vena_cava, {-24, ys - 34, 0}, {-20, ys - 46, a.dome_right_ + 20}, ri, ri * 1.1);
    // coeliac, superior mesenteric artery and vein, splenic vessels, renal vessels
    tube(Organ::vessel, {ax, ys - 36, -20}, {ax + u(-5, 5), ys - 58, -110}, 4, 3.5);
    tube(Organ::vessel, {-6, ys - 60, -170}, {-2, ys - 58, -50}, u(4, 8), u(5, 9));
    tube(Organ::vessel, {-2, ys - 56, -45}, {60, ys - 32, 0}, u(3.5, 7), u(3, 6));
    tube(Organ::vessel, {60, ys - 32, 0}, {95, ys - 30, 20}, u(3, 6), 3);
    for (const double side : {-1.0, 1.0}) {
      tube(Organ::vessel, {side * 10, ys - 30, -62}, {side * 48, ys - 14, -66}, 4.5, 4);
      if (chance(0.04)) a.metal_.push_back({side * u(10, 60), u(-40, 40), u(-100, 60)});
    }
  }

  void liver() {
    a.dome_right_ = u(60, 100);
    a.dome_left_ = a.dome_right_ - u(-5, 30);
    a.dome_curve_ = u(0.8, 1.35);
    a.cupola_ = {u(72, 105), u(95, 190), u(85, 170), u(72, 115)};
    zc = u(-45, 15);
    a.hilum_z_ = zc;
    a.tip_ = zc - u(25, 120);
    a.left_end_ = chance(0.12) ? u(-25, 15) : u(25, 150);
    a.visceral_[0] = u(-0.5, 0.65);  // rise to the left, or fall
    a.visceral_[1] = u(-30, 35);    // y behind which the left lobe ends
    a.visceral_[2] = u(0.6, 2.6);   // how steeply
    a.visceral_[3] = u(5, 55);      // depth of the kidney's impression
    a.visceral_[4] = u(-130, -85);  // x of the tip
    a.visceral_[5] = u(-12, 22);    // x of the fissure
    a.visceral_[6] = u(-0.5, 1.1);  // how the medial face turns to the back
    a.visceral_[7] = u(-0.3, 0.5);  // how it bends
    a.visceral_[8] = u(0, 16);      // and undulates
    a.fissure_[0] = chance(0.3) ? u(4, 13) : u(0.5, 4);  // half its width, and its depth
    a.fissure_[1] = u(8, 70);
    a.nodules_ = chance(0.35) ? u(0.4, 3.5) : u(0, 0.4);
    if (chance(0.08)) a.resected_x_ = u(-70, -25);   // the right part is gone
    if (chance(0.06)) a.resected_low_ = u(-40, 10);  // the lower segments are gone
    if (chance(0.18)) {
      a.ascites_ = u(3, 28);
      a.gap_ += chance(0.5) ? u(2, 14) : 0;
    }
    if (chance(0.18)) a.pleura_right_ = u(10, 80);
    if (chance(0.14)) a.pleura_left_ = u(10, 80);
    a.liver_low_ = std::min(a.tip_, zc) - 8;
    a.liver_high_ = a.dome_right_;
    // portal tree and hepatic veins
    const Vec3 hilum{-16 + u(-8, 8), u(-8, 10), zc + 6};
    tube(Organ::vessel, {-2, spine_y - 58, -45}, hilum, u(5, 9), u(5, 8));
    const auto branch = [&](const Vec3& from, const Vec3& to, double r0, double r1) {
      tube(Organ::liver_vessel, from, to, r0, r1).in_liver_only = true;
    };
    const Vec3 right{-62 + u(-12, 12), u(-8, 14), zc + u(8, 26)},
        left{-2 + u(-8, 10), -32 + u(-10, 10), zc + u(14, 34)};
    const double pv = u(2.5, 6.5);
    branch(hilum, right, pv, pv * 0.8);
    branch(hilum, left, pv * 0.9, pv * 0.7);
    for (int i = 0; i < 6; ++i) {
      branch(right, {right[0] + u(-50, 5), right[1] + u(-55, 50), right[2] + u(-55, 45)}, pv * 0.6,
             1.2);
      branch(left, {left[0] + u(-25, 60), left[1] + u(-25, 10), left[2] + u(-20, 30)}, pv * 0.5, 1);
    }
    const Vec3 cava{-22, spine_y - 48, a.dome_right_ - 28};
    const double hv = u(1.8, 5.5);
    branch(cava, {-95 + u(-15, 15), u(-20, 30), zc + u(10, 40)}, hv, 1.2);
    branch(cava, {-45 + u(-12, 12), -50 + u(-15, 15), zc + u(10, 40)}, hv, 1.2);
    branch(cava, {25 + u(-15, 20), -45 + u(-15, 15), zc + u(20, 45)}, hv, 1.2);
    lesions();
    if (chance(0.8)) {
      const Vec3 c{-38 + u(-18, 22), -20 + u(-28, 18), zc - u(4, 34)};
      RichShape& g = ellipsoid(Organ::gallbladder, c, {u(7, 19), u(12, 24), u(14, 40)}, 0.6);
      g.wall = chance(0.2) ? u(0.1, 0.3) : 0.06;
      g.content = content(chance(0.1) ? 60 : -5, chance(0.1) ? 250 : 25, 0, 0, 0);
      if (chance(0.15))
        ellipsoid(Organ::bone, c + Vec3{u(-4, 4), u(2, 8), u(-8, 8)}, {u(2, 7), u(2, 7), u(2, 7)});
    }
    ellipsoid(Organ::visceral_fat, hilum + Vec3{6, -4, -8}, {u(3, 12), u(3, 9), u(4, 10)}, 0.5);
    if (chance(0.06)) {  // a stent in the portal vein or the bile duct
      const Vec3 to{-10, 0, zc - u(25, 45)};
      tube(Organ::metal, hilum, to, 2.5, 2.5);
      a.metal_.push_back(hilum);
    }
    if (chance(0.08)) {  // clips
      const Vec3 c{-30 + u(-20, 20), -15 + u(-20, 20), zc + u(-20, 10)};
      for (int i = 0; i < 4; ++i)
        ellipsoid(Organ::metal, c + Vec3{u(-12, 12), u(-12, 12), u(-12, 12)}, {2, 1.2, 3}, 1);
      a.metal_.push_back(c);
    }
  }

  void lesions() {
    const int n = chance(0.6) ? static_cast<int>(1 + r.below(chance(0.3) ? 14 : 4)) : 0;
    a.lesion_texture_ = chance(0.5) ? u(5, 45) : u(0, 8);
    if (chance(0.16)) giant_lesion();
    for (int i = 0; i < n; ++i) {
      const double size = chance(0.2) ? u(25, 75) : u(3, 24);
      const Vec3 c{u(-125, 60), u(-60, 60), u(a.tip_, a.dome_right_)};
      RichShape& s = ellipsoid(Organ::liver_lesion, c,
                               {size * u(0.7, 1.2), size * u(0.7, 1.2), size * u(0.7, 1.2)}, 0.8);
      s.in_liver_only = true;
      s.bump = u(0, 0.2);
      s.content = static_cast<std::uint8_t>(r.below(4));
      if (size > 15 && chance(0.5)) {  // a core of its own
        RichShape& core =
            ellipsoid(Organ::liver_lesion, c, {size * 0.5, size * 0.5, size * 0.5}, 0.8);
        core.in_liver_only = true;
        core.content = static_cast<std::uint8_t>(r.below(4));
      }
    }
  }

  /// A tumour that fills a part of the liver, dead or liquid within, at its surface as often as not.
  void giant_lesion() {
    const bool high = chance(0.5);
    const double size = u(32, 85);
    const Vec3 c{u(-115, 50), u(-55, 55), high ? a.dome_right_ - u(0, 45) : u(a.tip_ + 20, a.dome_right_)};
    const Vec3 radius{size * u(0.7, 1.2), size * u(0.7, 1.2), size * u(0.6, 1.1)};
    RichShape& rim = ellipsoid(Organ::liver_lesion, c, radius, 0.8);
    rim.in_liver_only = true;
    rim.bump = u(0, 0.25);
    rim.content = static_cast<std::uint8_t>(r.below(2));
    for (std::int64_t k = 1 + r.below(4); k > 0; --k) {
      RichShape& core = ellipsoid(Organ::liver_lesion,
                                  c + Vec3{radius[0] * u(-0.4, 0.4), radius[1] * u(-0.4, 0.4),
                                           radius[2] * u(-0.4, 0.4)},
                                  u(0.35, 0.85) * radius, 0.8);
      core.in_liver_only = true;
      core.bump = u(0, 0.25);
      core.content = static_cast<std::uint8_t>(r.below(3));
    }
  }

  void organs() {
    const double ys = spine_y;
    // visceral organs; later ones win
    if (!chance(0.03)) {
      const double s = u(0.55, 1.2) * (chance(0.2) ? u(1.1, 1.6) : 1);
      const Vec3 c{a.body_x_ * 0.58 + u(-14, 10), ys - 22 + u(-14, 14),
                   a.dome_left_ - 42 * s + u(-20, 14)};
      ellipsoid(Organ::spleen, c, {26 * s, 40 * s, 46 * s}, 0.45).bump = u(0, 0.12);
      if (chance(0.4))
        ellipsoid(Organ::spleen, c + Vec3{-8, u(-20, 20), -30 * s}, {20 * s, 26 * s, 26 * s}, 0.5);
      if (chance(0.15))
        ellipsoid(Organ::spleen, c + Vec3{-30, -25, u(-30, 10)}, {u(5, 10), u(5, 10), u(5, 10)});
    }
    strands();
    small_bowel();
    colon();
    stomach();
    // duodenum and pancreas
    const std::uint8_t duo = content(0, chance(0.2) ? 300 : 40, 0.3, -60, 20);
    winding(Organ::duodenum,
            {{-12 + u(-8, 8), ys - 78, -32},
             {-34 + u(-8, 8), ys - 62, -44},
             {-36 + u(-8, 8), ys - 52, -84},
             {0, ys - 44, -96},
             {28, ys - 55, -70}},
            9, 17, 0.25, duo);
    const double p = u(0.6, 1.35);
    tube(Organ::pancreas, {-20, ys - 58, -66}, {-14, ys - 66, -42}, 13 * p, 11 * p).bump = 0.15;
    tube(Organ::pancreas, {-14, ys - 66, -42}, {14, ys - 74, -28}, 10 * p, 8 * p).bump = 0.15;
    tube(Organ::pancreas, {14, ys - 74, -28}, {52, ys - 48, -12}, 8 * p, 8 * p).bump = 0.15;
    tube(Organ::pancreas, {52, ys - 48, -12}, {82, ys - 32, 8}, 8 * p, 7 * p).bump = 0.15;
    for (const double side : {-1.0, 1.0}) {
      const Vec3 adrenal{side * 32, ys - 34, -8 + u(-14, 18)};
      const double thick = chance(0.1) ? u(6, 14) : u(2.2, 4);
      tube(Organ::adrenal, adrenal, adrenal + Vec3{side * 10, 16, -8}, thick, thick * 0.8);
      tube(Organ::adrenal, adrenal, adrenal + Vec3{side * -2, 18, -10}, thick, thick * 0.8);
      if (chance(0.05)) continue;  // a kidney that is not there
      const double s = chance(0.08) ? u(0.4, 0.7) : u(0.8, 1.25);
      const Vec3 c{side * u(54, 74), ys - 16 + u(-10, 10), (side < 0 ? -72 : -60) + u(-32, 32)};
      ellipsoid(Organ::kidney, c, {27 * s, 24 * s, 52 * s}, 0.35);
      ellipsoid(Organ::visceral_fat, c + Vec3{-side * 10 * s, -4, 0}, {12 * s, 10 * s, 24 * s},
                0.3);
      if (chance(0.3)) {
        RichShape& pelvis =
            ellipsoid(Organ::kidney, c + Vec3{-side * 10 * s, -3, -4}, {9 * s, 8 * s, 17 * s}, 0.3);
        pelvis.wall = 0.05;
        pelvis.content = content(0, chance(0.4) ? 600 : 20, 0, 0, 0);
      }
      for (std::int64_t k = chance(0.35) ? r.below(5) : 0; k > 0; --k) {
        const double size = u(4, 30);
        RichShape& cyst = ellipsoid(
            Organ::kidney, c + Vec3{side * u(-10, 22), u(-22, 22), u(-46, 46)}, {size, size, size});
        cyst.wall = 0.04;
        cyst.content = content(-5, 25, 0, 0, 0);
      }
    }
    // things that no atlas has: a network must not learn that all else is known
    for (std::int64_t k = r.below(chance(0.5) ? 9 : 24); k > 0; --k) {
      RichShape& thing = ellipsoid(Organ::small_bowel, {u(-90, 110), u(-80, 60), u(-260, 60)},
                                   {u(4, 34), u(4, 34), u(4, 34)}, 1);
      thing.wall = chance(0.5) ? u(0.03, 0.4) : 0.02;
      thing.content = content(-60, 260, 0.1, -60, 40);
      thing.bump = u(0, 0.2);
    }
    ellipsoid(Organ::bladder, {u(-8, 8), -20 + u(-15, 15), -372}, {u(20, 62), u(20, 52), u(14, 50)})
        .wall = u(0.04, 0.14);
    a.shapes_.back().content = content(0, chance(0.3) ? 400 : 20, 0, 0, 0);
    ellipsoid(Organ::muscle, {u(-8, 8), 18, -368}, {u(18, 40), u(15, 35), u(18, 42)}, 0.5);
  }

  void small_bowel() {
    const std::uint8_t kinds[3] = {content(0, 40, 0.4, -70, -10),
                                   content(10, chance(0.4) ? 350 : 80, 0.5, -80, 0),
                                   content(5, 60, 0.2, -60, 10)};
    const std::int64_t high = r.below(16);  // loops on the left, up to the diaphragm
    for (std::int64_t k = 18 + r.below(30) + high; k > 0; --k) {
      Vec3 at{u(-105, 105), u(-75, 25), u(-330, -45)};
      if (k <= high) at = {u(5, 110), u(-85, 40), u(-60, 45)};
      const double radius = u(8, 21);
      std::vector<Vec3> points{at};
      for (int i = 0; i < 3; ++i)
        points.push_back(points.back() + Vec3{u(-38, 38), u(-20, 20), u(-24, 24)});
      winding(Organ::small_bowel, points, radius * 0.8, radius * 1.2, u(0.12, 0.4),
              kinds[r.below(3)]);
    }
  }

  void strands() {  // vessels and folds of the mesentery and the omentum
    for (std::int64_t k = r.below(40); k > 0; --k) {
      const Vec3 from{u(-110, 110), u(-90, 30), u(-300, 20)};
      tube(Organ::vessel, from, from + Vec3{u(-45, 45), u(-25, 25), u(-45, 45)}, u(0.7, 3),
           u(0.7, 2.5));
    }
  }

  void colon() {
    const double big = u(0.75, 1.5);
    const std::uint8_t right = content(-60, chance(0.3) ? 320 : 120, 0.6, -60, 30),
                       middle = content(-100, 120, 0.75, -90, 0),
                       left = content(-80, 120, 0.5, -40, 50);
    const double flex = zc - u(15, 75);
    winding(Organ::colon,
            {{-100, 25, -235},
             {-104 + u(-10, 10), 22, -160},
             {-100 + u(-12, 12), 10, std::min(-90.0, flex - 10)},
             {-92 + u(-12, 12), -15, flex}},
            17 * big, 27 * big, 0.13, right);
    const double sag = u(0, 110);
    winding(Organ::colon,
            {{-90, -18, flex},
             {-45, -a.body_y_ * 0.55, flex - sag * 0.8},
             {0, -a.body_y_ * 0.6, flex - sag},
             {50, -a.body_y_ * 0.52, flex - sag * 0.5 + 20},
             {92 + u(-8, 8), 0, u(-20, 45)}},
            14 * big, 25 * big, 0.13, middle);
    winding(Organ::colon,
            {{94, 2, u(-20, 40)},
             {106 + u(-8, 8), 30, -70},
             {104, 30, -150},
             {95, 15, -240},
             {40, 0, -300},
             {10, 40, -330},
             {2, 55, -400}},
            11 * big, 20 * big, 0.17, left);
    if (chance(0.12))  // between liver and wall
      winding(Organ::colon,
              {{-70, -a.body_y_ * 0.6, flex},
               {-90, -a.body_y_ * 0.45, flex + u(30, 90)},
               {-60, -a.body_y_ * 0.6, flex + 20}},
              14, 20, 0.13, middle);
  }

  void stomach() {
    if (chance(0.04)) return;
    const double s = chance(0.25) ? u(1.15, 1.7) : u(0.5, 1.1);
    // Food and fluid of the liver's own HU are what a network takes for it.
    const std::uint8_t meal = chance(0.3) ? content(30, 80, 0.3, -a.body_y_ * 0.55, -20)
                                          : content(-10,
                                                    chance(0.25)  ? 400
                                                    : chance(0.4) ? 110
                                                                  : 40,
                                                    0.8, -a.body_y_ * 0.55, 10);
    const Vec3 fundus{58 + u(-14, 14), 12 + u(-18, 18), a.dome_left_ - 34 * s},
        middle{62 + u(-18, 18), -22 + u(-18, 18), 10 + u(-25, 20)},
        low{22 + u(-20, 20), -46 + u(-15, 15), -28 + u(-45, 15)},
        pylorus{-10 + u(-8, 8), spine_y - 82 + u(-8, 8), -30 + u(-8, 8)};
    const double wall = u(0.08, 0.3);
    const auto part = [&](const Vec3& from, const Vec3& to, double r0, double r1) {
      RichShape& t = tube(Organ::stomach, from, to, r0, r1);
      t.wall = wall;
      t.content = meal;
      t.bump = u(0, 0.14);
    };
    part(fundus, middle, 36 * s, 30 * s);
    part(middle, low, 30 * s, 22 * s);
    part(low, pylorus, 22 * s, 11);
    RichShape& e = ellipsoid(Organ::stomach, fundus, {38 * s, 38 * s, 34 * s}, 0.4);
    e.wall = wall;
    e.content = meal;
  }

  void thorax() {
    const double top = a.dome_left_;
    const double s = u(0.8, 1.45);
    const Vec3 c{18 + u(-10, 18), -28 + u(-16, 14), top + 30 * s + u(-14, 10)};
    ellipsoid(Organ::heart, c, {u(50, 62) * s, 44 * s, 44 * s}, 0.35);
    if (chance(0.5))  // the right ventricle, broad on the diaphragm
      ellipsoid(Organ::heart, c + Vec3{u(-20, 10), u(-26, -4), -24 * s},
                {u(40, 62) * s, u(26, 42) * s, u(18, 30) * s}, 0.3);
    for (int i = 0; i < 4; ++i) {
      const double ring = i < 2 ? 1 : -1;
      ellipsoid(i % 2 == 0 ? Organ::vessel : Organ::aorta,
                c + Vec3{(i % 2 == 0 ? -18 : 20) * s, ring * -10 * s, ring * -8 * s},
                {17 * s, 15 * s, 20 * s}, 0.5);
    }
    tube(Organ::aorta, c + Vec3{2, 8, 40}, {8, 0, c[2] + 105}, 15, 14);
    tube(Organ::aorta, {8, 0, c[2] + 105}, {14, spine_y - 34, c[2] + 95}, 13, 12);
    tube(Organ::vessel, c + Vec3{10, 0, 30}, {26, 4, c[2] + 78}, 13, 12);
    tube(Organ::vessel, {-22, 0, c[2] + 20}, {-24, -8, c[2] + 170}, 9, 8);
    RichShape& gullet = tube(Organ::oesophagus, {2, spine_y - 46, 330},
                             {20, spine_y - 56, a.dome_left_ - 30}, 6, u(6, 11));
    gullet.wall = 0.6;
    gullet.content = content(0, 40, 0.5, -100, 100);
    RichShape& trachea =
        tube(Organ::airway, {0, spine_y - 62, 380}, {0, spine_y - 58, c[2] + 82}, 9, 8);
    trachea.wall = 0.18;
    for (const double side : {-1.0, 1.0}) {
      tube(Organ::airway, {0, spine_y - 58, c[2] + 84}, {side * 42, spine_y - 50, c[2] + 48}, 6, 4)
          .wall = 0.25;
      for (int i = 0; i < 10; ++i)
        tube(Organ::vessel, {side * 34, spine_y - 55, c[2] + 50},
             {side * u(45, 120), u(-70, 60), c[2] + u(-60, 120)}, u(2, 5), 1);
      if (chance(0.35))
        ellipsoid(Organ::breast, {side * u(60, 95), -a.body_y_ - u(-14, 12), u(95, 170)},
                  {u(35, 70), u(14, 60), u(35, 70)});
    }
    ellipsoid(Organ::thyroid, {0, spine_y - 66, 372}, {24, 8, 16});
    a.arms_ = chance(0.18);
    if (a.arms_)
      for (const double side : {-1.0, 1.0}) {
        if (chance(0.15)) continue;
        const double x = side * (a.body_x_ + u(28, 58)), y = u(-30, 40), rr = u(26, 48);
        tube(Organ::arm, {x, y, 300}, {x + side * u(-10, 20), y + u(-20, 20), -300}, rr, rr * 0.8);
        tube(Organ::bone, {x, y, 300}, {x + side * u(-6, 12), y + u(-10, 10), -300}, 10, 9);
      }
  }

  void values() {
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

  void all() {
    body();
    skeleton();
    liver();  // its vessels, lesions and gallbladder come before the organs around
    vessels();
    organs();
    thorax();
    values();
  }
};

RichAnatomy::RichAnatomy(std::uint64_t seed, std::uint64_t subject)
    : key_(seed * 1000003 + subject) {
  contents_.fill(15);
  level_.fill(-1e9);
  Build build{*this, Random{seed, subject, 21}};
  build.all();
}

Vec3 RichAnatomy::moved(const Vec3& p) const {
  Vec3 q = p;
  for (const Wave& w : waves_) q = q + std::sin(dot(w.k, p) + w.phase) * w.amplitude;
  return q;
}

double RichAnatomy::dome(const Vec3& q) const {
  const auto cupola = [&](double height, double x) {
    // Steep at the side and in the back, flat towards the middle, where the heart lies on it.
    const bool outer = (q[0] - x) * x > 0;
    const double dx = (q[0] - x) / cupola_[outer ? 0 : 1],
                 dy = (q[1] - 2) / cupola_[q[1] < 2 ? 2 : 3], d2 = dx * dx + 0.85 * dy * dy;
    return height - dome_curve_ * (22 * d2 + 17 * d2 * d2);
  };
  const double right = cupola(dome_right_, -0.42 * body_x_),
               left = cupola(dome_left_, 0.42 * body_x_);
  const double h = std::clamp(0.5 + (right - left) / 30, 0.0, 1.0);  // a smooth maximum
  return left + h * (right - left) + 15 * h * (1 - h);
}

bool RichAnatomy::in_liver(const Vec3& q, double depth) const {
  if (depth < gap_ || q[2] > dome_right_ || q[2] < liver_low_ - 25 || q[0] > left_end_ + 25)
    return false;
  const double x = q[0], y = q[1], z = q[2];
  if (x < resected_x_ || z < resected_low_) return false;
  const double rough =
      nodules_ > 0.05
          ? nodules_ * (std::sin(x / 2.6 + phases_[0]) * std::sin(y / 2.3 + phases_[1]) +
                        std::sin(z / 2.8 + phases_[2]) * std::sin(x / 2.1 + phases_[3]))
          : 0;
  const double wave = 5 * std::sin(x / 23 + phases_[4]) * std::sin(y / 27 + phases_[5]) + rough;
  if (z > dome(q) - kDiaphragmMm - 0.4 * std::abs(rough)) return false;
  const double bend = visceral_[8] * value_noise(q, 48, key_ + 11);
  const double face = x + visceral_[6] * y + visceral_[7] * (y * y / 60 - 30) + bend;
  const double t = smoothstep((face - visceral_[4]) / 85);
  double low = tip_ + t * (hilum_z_ - tip_) + (1 - t) * 0.25 * std::max(0.0, visceral_[4] + 12 - x);
  if (x > -25) low += (x + 25) * visceral_[0];
  if (x > -30) low += std::max(0.0, y - visceral_[1]) * visceral_[2] * smoothstep((x + 30) / 40);
  low += visceral_[3] * std::exp(-((x + 60) * (x + 60) / 1700 + (y - 62) * (y - 62) / 1500));
  low += 0.12 * std::max(0.0, y + 20) * t;
  if (z < low + wave + 0.6 * bend) return false;
  const double end = left_end_ + bend - 0.012 * (z - 20) * (z - 20) / 1.6 + 0.25 * (-y - 20) + wave;
  if (x > end) return false;
  if (x > 0 && y > visceral_[1] + 25 - 0.2 * x + wave + bend) return false;
  if (std::abs(x - visceral_[5] + 0.3 * bend) < fissure_[0] && z < low + fissure_[1] && y < 5)
    return false;  // the fissure
  return true;
}

Organ RichAnatomy::wall(const Vec3& q, double depth, double angle) const {
  // Ribs: oblique rings in the muscle of the chest's wall, cartilage in front.
  const double thick = muscle_;
  if (q[2] > rib_low_ - 25 * (angle - 1.2) && q[2] < 320 && angle > 0.35 && depth > 0.18 * thick &&
      depth < 0.86 * thick) {
    const double ring = std::fmod(q[2] + rib_tilt_ * angle + 4000, rib_pitch_);
    if (ring < 0.36 * rib_pitch_) return Organ::bone;
  }
  if (depth > 0.44 * thick && depth < 0.52 * thick && q[2] < rib_low_)
    return Organ::subcutaneous_fat;  // between muscles
  return Organ::muscle;
}

/// The shapes that one row can meet, and whether a point is in one.
class RichAnatomy::Culled {
 public:
  Culled(const std::vector<RichShape>& shapes, double low, double high) {
    for (const RichShape& s : shapes)
      if (s.low[2] <= high && s.high[2] >= low) plane_.push_back(&s);
  }
  void row(double low, double high) {
    row_.clear();
    for (auto it = plane_.rbegin(); it != plane_.rend(); ++it)
      if ((*it)->low[1] <= high && (*it)->high[1] >= low) row_.push_back(*it);
  }
  [[nodiscard]] const std::vector<const RichShape*>& shapes() const { return row_; }

  /// Relative distance from a shape's core: below 1 inside.
  static double reach(const RichShape& s, const Vec3& q) {
    const Vec3 d = q - s.centre;
    double r = 0;
    if (s.tube) {
      const Vec3 along = s.end - s.centre;
      const double t = std::clamp(dot(d, along) / std::max(1e-9, dot(along, along)), 0.0, 1.0);
      r = norm(d - t * along) / (s.radius[0] + t * (s.radius_end - s.radius[0]));
    } else {
      const double x = dot(d, s.axis[0]) / s.radius[0], y = dot(d, s.axis[1]) / s.radius[1],
                   z = dot(d, s.axis[2]) / s.radius[2];
      r = std::sqrt(x * x + y * y + z * z);
    }
    if (s.bump > 0 && r > 0.7 && r < 1.35)
      r += s.bump * std::sin(q[0] / 5 + s.centre[1]) * std::sin(q[1] / 6 + s.centre[2]) *
           std::sin(q[2] / 5.5);
    return r;
  }

 private:
  std::vector<const RichShape*> plane_, row_;
};

RichAnatomy::Tissue RichAnatomy::at(const Vec3& q, const Culled& culled) const {
  const double z = q[2];
  const double chest = smoothstep((z - 20) / 120), hip = smoothstep((-z - 120) / 160),
               neck = smoothstep((z - 300) / 110), thigh = smoothstep((-z - 400) / 80);
  double sx = 1 + (chest_ - 1) * chest + (hip_ - 1) * hip, sy = sx;
  sx *= 1 - 0.62 * neck - 0.1 * thigh;
  sy *= 1 - 0.38 * neck;
  const double bx = body_x_ * sx, by = body_y_ * sy;
  const double u2 = q[0] * q[0] / (bx * bx), v2 = q[1] * q[1] / (by * by);
  const double sum = u2 + v2;
  const double r = std::sqrt(sum > 0 ? sum - 0.5 * body_power_ * u2 * v2 / sum : 0);
  const auto holds = [&](const RichShape& s) {
    return q[0] >= s.low[0] && q[0] <= s.high[0] && q[1] >= s.low[1] && q[1] <= s.high[1] &&
           z >= s.low[2] && z <= s.high[2] && Culled::reach(s, q) < 1;
  };
  if (r > 1) {
    for (const RichShape* s : culled.shapes())
      if (room_of(s->organ) == Room::outside ||
          (arms_ && s->organ == Organ::bone && std::abs(s->centre[0]) > body_x_))
        if (holds(*s)) return tissue(s->organ);
    if (has_table_) {
      const double below = q[1] - body_y_ - table_y_ + 0.0009 * q[0] * q[0];
      if (below > 0 && below < 26 && std::abs(q[0]) < 235) return tissue(Organ::table);
    }
    return tissue(Organ::outside);
  }
  double depth = (1 - r) * std::min(bx, by);
  if (depth < kSkinMm) return tissue(Organ::skin);
  const double c = -q[1] / std::max(1e-6, std::hypot(q[0], q[1]));
  const double fat =
      fat_side_ + (c > 0 ? c * c * (fat_front_ - fat_side_) : c * c * (fat_back_ - fat_side_));
  const double muscle = muscle_ * (c < 0 ? 1 + 0.8 * c * c : 1 - 0.25 * c * c);
  const bool deep = depth > fat + muscle;
  const double inner = depth - fat - muscle;
  const double top = dome(q);
  const bool thorax = z > top && z < 345, abdomen = z < top - kDiaphragmMm;
  int liver = -1;
  const auto here = [&] {
    if (liver < 0) liver = deep && abdomen && in_liver(q, inner) ? 1 : 0;
    return liver == 1;
  };
  for (const RichShape* s : culled.shapes()) {
    const Room room = room_of(s->organ);
    if (room == Room::outside ||
        (depth < fat && s->organ != Organ::muscle && s->organ != Organ::bone))
      continue;
    if (depth < fat && (room != Room::anywhere || depth < 0.6 * fat)) continue;
    if (room == Room::abdomen && (!deep || !abdomen)) continue;
    if (room == Room::thorax && (!deep || z < top)) continue;
    if (!holds(*s)) continue;
    if (s->in_liver_only) {
      if (!here()) continue;
      return tissue(s->organ, s->organ == Organ::liver_lesion ? kFirstLesion + s->content : 0);
    }
    // The liver gives way to none of the soft ones beside it but the gallbladder and what is
    // harder.
    if ((s->organ == Organ::small_bowel || s->organ == Organ::colon || s->organ == Organ::stomach ||
         s->organ == Organ::duodenum || s->organ == Organ::pancreas) &&
        here())
      continue;
    if (s->wall > 0) {
      const double level = level_[s->content];
      const double reach = Culled::reach(*s, q);
      if (reach < 1 - s->wall) {
        if (s->organ == Organ::bone) return tissue(s->organ, kMarrow);
        return tissue(s->organ, q[1] < level ? kGas : kFirstContent + s->content);
      }
    }
    return tissue(s->organ);
  }
  if (depth < fat) return tissue(Organ::subcutaneous_fat);
  if (!deep) return tissue(wall(q, depth - fat, std::atan2(std::abs(q[0]), -q[1])));
  if (thorax) {
    const double middle =
        24 + 0.06 * std::max(0.0, 90 - std::abs(q[1])) + 14 * smoothstep((q[1] + 40) / 60);
    if (std::abs(q[0] - 4) < middle || z > 300) return tissue(Organ::visceral_fat);
    if (q[0] < 0 && q[1] > body_y_ - fat_back_ - pleura_right_) return tissue(Organ::pleural_fluid);
    if (q[0] > 0 && q[1] > body_y_ - fat_back_ - pleura_left_) return tissue(Organ::pleural_fluid);
    return tissue(Organ::lung);
  }
  if (!abdomen) return tissue(Organ::muscle);  // the diaphragm, the neck
  if (here()) return tissue(Organ::liver);
  if (ascites_ > 0 && (inner < ascites_ || (z < top && z > top - ascites_)))
    return tissue(Organ::ascites);
  return tissue(Organ::visceral_fat);
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

std::vector<RichAnatomy::Tissue> RichAnatomy::tissues(const Vec3& origin, const Vec3& dx,
                                                      const Vec3& dy, std::int64_t columns,
                                                      std::int64_t rows) const {
  std::vector<Tissue> out(static_cast<std::size_t>(columns * rows));
  const Vec3 corners[3] = {
      origin + static_cast<double>(columns - 1) * dx, origin + static_cast<double>(rows - 1) * dy,
      origin + static_cast<double>(columns - 1) * dx + static_cast<double>(rows - 1) * dy};
  double low = origin[2], high = origin[2];
  for (const Vec3& c : corners) {
    low = std::min(low, c[2]);
    high = std::max(high, c[2]);
  }
  Culled culled(shapes_, low - reach_, high + reach_);
  for (std::int64_t y = 0; y < rows; ++y) {
    const Vec3 start = origin + static_cast<double>(y) * dy;
    const double y0 = start[1], y1 = start[1] + static_cast<double>(columns - 1) * dx[1];
    culled.row(std::min(y0, y1) - reach_, std::max(y0, y1) + reach_);
    // The displacement is smooth: exact at every fourth pixel, linear between.
    constexpr std::int64_t kStep = 4;
    Vec3 left = moved(start);
    for (std::int64_t x = 0; x < columns; x += kStep) {
      const Vec3 right = moved(start + static_cast<double>(x + kStep) * dx);
      for (std::int64_t k = 0; k < kStep && x + k < columns; ++k) {
        const double t = static_cast<double>(k) / kStep;
        out[static_cast<std::size_t>(y * columns + x + k)] = at((1 - t) * left + t * right, culled);
      }
      left = right;
    }
  }
  return out;
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

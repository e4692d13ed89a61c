#include <algorithm>
#include <cmath>

#include "preprocess/phantom/rich_build.hpp"

namespace wsp::phantom {

void RichAnatomy::Build::body() {
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

void RichAnatomy::Build::skeleton() {
  const double ys = spine_y;
  for (const double side : {-1.0, 1.0}) {
    // muscles of the back, psoas, buttocks
    tube(Organ::muscle, {side * u(28, 36), ys + 26, 250}, {side * u(28, 36), ys + 24, -230},
         u(12, 22), u(16, 28));
    tube(Organ::muscle, {side * 24, ys - 2, -30}, {side * u(45, 60), ys - 22, -250}, u(4, 9),
         u(12, 26));
    tube(Organ::muscle, {side * 60, ys + 10, -60}, {side * 75, ys + 6, -190}, u(8, 14), u(12, 24));
    tube(Organ::muscle, {side * 60, ys + 8, -240}, {side * 80, ys, -420}, u(30, 46), u(36, 55));
    ellipsoid(Organ::muscle, {side * u(62, 84), ys + u(16, 30), -318},
              {u(40, 60), u(28, 46), u(62, 90)},
              0.3);  // the buttock's great muscle, the two beside the hip, that before its wing
    ellipsoid(Organ::muscle, {side * u(106, 122), ys - u(10, 30), -288},
              {u(16, 30), u(34, 52), u(46, 70)}, 0.3);
    ellipsoid(Organ::muscle, {side * u(56, 74), ys - u(24, 40), -258},
              {u(18, 36), u(10, 24), u(36, 66)}, 0.3);
    tube(Organ::muscle, {side * u(60, 90), ys - 92, -395}, {side * u(80, 105), ys - 80, -620},
         u(26, 44), u(34, 56));  // thigh
  }
  const double rb = u(16, 27);
  tube(Organ::bone, {0, ys, 420}, {0, ys, -255}, rb * 0.7, rb * 1.1).wall = 0.1;
  tube(Organ::muscle, {0, ys + rb + 9, 420}, {0, ys + rb + 10, -300}, u(6, 9),
       u(6, 9));  // spinal canal
  for (double z = -250; z < 400; z += 30) {
    tube(Organ::bone, {0, ys + rb + 16, z}, {0, ys + rb + u(28, 42), z - u(0, 12)}, u(3, 5), 3);
    for (const double side : {-1.0, 1.0}) {
      tube(Organ::bone, {side * 10, ys + rb + 6, z}, {side * u(28, 40), ys + rb + 6, z + u(-4, 4)},
           4.5, 3);
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

void RichAnatomy::Build::vessels() {
  const double ys = spine_y, ra = u(7, 14);
  const double ax = u(2, 16);
  tube(Organ::aorta, {ax + 4, ys - 26 - ra * 0.3, 190}, {ax, ys - 24 - ra, -60}, ra,
       ra * u(0.8, 1.0));
  tube(Organ::aorta, {ax, ys - 24 - ra, -60}, {4, ys - 24 - ra, -175}, ra * u(0.7, 1.9), ra * 0.8);
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

void RichAnatomy::Build::thorax() {
  const double top = a.dome_left_;
  const double s = u(0.8, 1.45);
  const Vec3 c{18 + u(-10, 18), -28 + u(-16, 14), top + 30 * s + u(-14, 10) - a.saddle_[0]};
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

}  // namespace wsp::phantom

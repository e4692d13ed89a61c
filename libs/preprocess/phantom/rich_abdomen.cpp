#include <algorithm>
#include <cmath>

#include "preprocess/phantom/rich_build.hpp"

namespace wsp::phantom {

void RichAnatomy::Build::liver() {
  a.dome_right_ = u(60, 100);
  a.dome_left_ = a.dome_right_ - u(-5, 45);
  a.dome_curve_ = u(0.8, 1.7);
  a.saddle_ = {u(0, 40), 18 + u(-15, 20), -28 + u(-20, 15), u(45, 80), u(45, 75)};
  a.cupola_ = {u(72, 105), u(95, 190), u(85, 170), u(72, 115)};
  zc = u(-45, 15);
  a.hilum_z_ = zc;
  a.tip_ = zc - u(25, 120);
  a.left_end_ = chance(0.12) ? u(-25, 15) : u(25, 150);
  a.visceral_[0] = u(-0.5, 0.65);                      // rise to the left, or fall
  a.visceral_[1] = u(-30, 35);                         // y behind which the left lobe ends
  a.visceral_[2] = u(0.6, 2.6);                        // how steeply
  a.visceral_[3] = u(5, 55);                           // depth of the kidney's impression
  a.visceral_[4] = u(-130, -85);                       // x of the tip
  a.visceral_[5] = u(-12, 22);                         // x of the fissure
  a.visceral_[6] = u(-0.5, 1.1);                       // how the medial face turns to the back
  a.visceral_[7] = u(-0.3, 0.5);                       // how it bends
  a.visceral_[8] = u(0, 16);                           // and undulates
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

void RichAnatomy::Build::lesions() {
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

void RichAnatomy::Build::giant_lesion() {
  const bool high = chance(0.5);
  const double size = u(32, 85);
  const Vec3 c{u(-115, 50), u(-55, 55),
               high ? a.dome_right_ - u(0, 45) : u(a.tip_ + 20, a.dome_right_)};
  const Vec3 radius{size * u(0.7, 1.2), size * u(0.7, 1.2), size * u(0.6, 1.1)};
  RichShape& rim = ellipsoid(Organ::liver_lesion, c, radius, 0.8);
  rim.in_liver_only = true;
  rim.bump = u(0, 0.25);
  rim.content = static_cast<std::uint8_t>(r.below(2));
  for (std::int64_t k = 1 + r.below(4); k > 0; --k) {
    RichShape& core = ellipsoid(
        Organ::liver_lesion,
        c + Vec3{radius[0] * u(-0.4, 0.4), radius[1] * u(-0.4, 0.4), radius[2] * u(-0.4, 0.4)},
        u(0.35, 0.85) * radius, 0.8);
    core.in_liver_only = true;
    core.bump = u(0, 0.25);
    core.content = static_cast<std::uint8_t>(r.below(3));
  }
}

void RichAnatomy::Build::organs() {
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
    ellipsoid(Organ::visceral_fat, c + Vec3{-side * 10 * s, -4, 0}, {12 * s, 10 * s, 24 * s}, 0.3);
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

void RichAnatomy::Build::small_bowel() {
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

void RichAnatomy::Build::strands() {  // vessels and folds of the mesentery and the omentum
  for (std::int64_t k = r.below(40); k > 0; --k) {
    const Vec3 from{u(-110, 110), u(-90, 30), u(-300, 20)};
    tube(Organ::vessel, from, from + Vec3{u(-45, 45), u(-25, 25), u(-45, 45)}, u(0.7, 3),
         u(0.7, 2.5));
  }
}

void RichAnatomy::Build::colon() {
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

void RichAnatomy::Build::stomach() {
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

}  // namespace wsp::phantom

#include "preprocess/phantom/rich_anatomy.hpp"

#include <algorithm>
#include <cmath>

#include "preprocess/phantom/rich_build.hpp"
#include "preprocess/phantom/rich_tissue.hpp"

namespace wsp::phantom {
namespace {

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
  const double sx = (q[0] - saddle_[1]) / saddle_[3], sy = (q[1] - saddle_[2]) / saddle_[4];
  return left + h * (right - left) + 15 * h * (1 - h) - saddle_[0] * std::exp(-sx * sx - sy * sy);
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
  static bool holds(const RichShape& s, const Vec3& q) {
    return q[0] >= s.low[0] && q[0] <= s.high[0] && q[1] >= s.low[1] && q[1] <= s.high[1] &&
           q[2] >= s.low[2] && q[2] <= s.high[2] && reach(s, q) < 1;
  }

 private:
  std::vector<const RichShape*> plane_, row_;
};

RichAnatomy::Tissue RichAnatomy::beside_body(const Vec3& q, const Culled& culled) const {
  for (const RichShape* s : culled.shapes())
    if (room_of(s->organ) == Room::outside ||
        (arms_ && s->organ == Organ::bone && std::abs(s->centre[0]) > body_x_))
      if (Culled::holds(*s, q)) return tissue(s->organ);
  if (has_table_) {
    const double below = q[1] - body_y_ - table_y_ + 0.0009 * q[0] * q[0];
    if (below > 0 && below < 26 && std::abs(q[0]) < 235) return tissue(Organ::table);
  }
  return tissue(Organ::outside);
}

RichAnatomy::Tissue RichAnatomy::in_thorax(const Vec3& q) const {
  const double middle =
      24 + 0.06 * std::max(0.0, 90 - std::abs(q[1])) + 14 * smoothstep((q[1] + 40) / 60);
  if (std::abs(q[0] - 4) < middle || q[2] > 300) return tissue(Organ::visceral_fat);
  if (q[0] < 0 && q[1] > body_y_ - fat_back_ - pleura_right_) return tissue(Organ::pleural_fluid);
  if (q[0] > 0 && q[1] > body_y_ - fat_back_ - pleura_left_) return tissue(Organ::pleural_fluid);
  return tissue(Organ::lung);
}

RichAnatomy::Tissue RichAnatomy::in_shape(const Vec3& q, const RichShape& s) const {
  if (s.wall > 0) {
    const double level = level_[s.content];
    const double reach = Culled::reach(s, q);
    if (reach < 1 - s.wall) {
      if (s.organ == Organ::bone) return tissue(s.organ, kMarrow);
      return tissue(s.organ, q[1] < level ? kGas : kFirstContent + s.content);
    }
  }
  return tissue(s.organ);
}

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
  if (r > 1) return beside_body(q, culled);
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
    if (!Culled::holds(*s, q)) continue;
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
    return in_shape(q, *s);
  }
  if (depth < fat) return tissue(Organ::subcutaneous_fat);
  if (!deep) return tissue(wall(q, depth - fat, std::atan2(std::abs(q[0]), -q[1])));
  if (thorax) return in_thorax(q);
  if (!abdomen) return tissue(Organ::muscle);  // the diaphragm, the neck
  if (here()) return tissue(Organ::liver);
  if (ascites_ > 0 && (inner < ascites_ || (z < top && z > top - ascites_)))
    return tissue(Organ::ascites);
  return tissue(Organ::visceral_fat);
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

}  // namespace wsp::phantom

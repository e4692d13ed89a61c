#pragma once
#include <array>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "preprocess/phantom/anatomy.hpp"

namespace wsp::phantom {

/// What a point of a rich phantom is; the numbers stand in the label maps that --organs writes.
enum class Organ : std::uint8_t {
  outside = 0,
  liver = 1,
  liver_lesion = 2,
  liver_vessel = 3,
  gallbladder = 4,
  spleen = 5,
  pancreas = 6,
  stomach = 7,
  duodenum = 8,
  small_bowel = 9,
  colon = 10,
  kidney = 11,
  adrenal = 12,
  aorta = 13,
  vena_cava = 14,
  heart = 15,
  lung = 16,
  bone = 17,
  muscle = 18,
  subcutaneous_fat = 19,
  visceral_fat = 20,
  skin = 21,
  ascites = 22,
  pleural_fluid = 23,
  bladder = 24,
  vessel = 25,
  oesophagus = 26,
  breast = 27,
  airway = 28,
  metal = 29,
  arm = 30,
  table = 31,
  thyroid = 32
};
inline constexpr std::size_t kOrgans = 33;
std::string_view to_string(Organ organ);

/// One implicit shape: an ellipsoid in a frame of its own, or a tube whose radius changes along it.
struct RichShape {
  Organ organ = Organ::outside;
  bool tube = false;
  bool in_liver_only = false;  ///< a vessel or lesion: counts only where the liver is
  Vec3 centre{}, radius{};     ///< of the ellipsoid; a tube runs from centre to `end`
  std::array<Vec3, 3> axis{{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}};
  Vec3 end{};
  double radius_end = 0;
  double wall = 0;           ///< hollow organs: part of the radius that is wall
  double bump = 0;           ///< undulation of the surface, part of the radius
  std::uint8_t content = 0;  ///< of a hollow organ: index into Patient::contents
  Vec3 low{}, high{};        ///< bounding box
};

/// One synthetic patient of wide anatomy, sampled wider than nature so that a network trained on it
/// meets nothing new (domain randomisation: Billot et al., Medical Image Analysis 2023). Lengths in
/// mm, LPS, the origin in the middle of the liver.
class RichAnatomy {
 public:
  /// Draw a patient: a function of the two numbers alone.
  RichAnatomy(std::uint64_t seed, std::uint64_t subject);

  /// HU of one plane, [row][column]: averaged over its thickness, blurred by the kernel, with noise
  /// and, where there is metal, streaks. Deterministic.
  [[nodiscard]] std::vector<std::int16_t> render(const Stack& stack, std::size_t plane) const;
  /// The liver with what lies in it (lesions, vessels), 0 or 1: as experts draw it.
  [[nodiscard]] std::vector<std::uint8_t> liver(const Stack& stack, std::size_t plane) const;
  /// The label map of one plane.
  [[nodiscard]] std::vector<std::uint8_t> labels(const Stack& stack, std::size_t plane) const;

  /// Lowest and highest z of the liver before deformation.
  [[nodiscard]] double liver_low() const { return liver_low_; }
  [[nodiscard]] double liver_high() const { return liver_high_; }
  /// A scan of this patient: range, thickness, field of view, kernel and noise, sampled wide;
  /// `matrix` pixels a side. One scan in twelve holds no liver.
  [[nodiscard]] Stack draw_stack(std::int64_t matrix, int min_slices, int max_slices) const;

 private:
  struct Wave {
    Vec3 k, amplitude;
    double phase;
  };
  struct Build;  // draws the organs
  class Culled;  // the shapes that a row can meet
  [[nodiscard]] Vec3 moved(const Vec3& p) const;
  /// An organ, and in the higher bits what fills it or which kind of lesion it is.
  using Tissue = std::uint16_t;
  [[nodiscard]] std::vector<Tissue> tissues(const Vec3& origin, const Vec3& dx, const Vec3& dy,
                                            std::int64_t columns, std::int64_t rows) const;
  [[nodiscard]] Tissue at(const Vec3& q, const Culled& shapes) const;
  [[nodiscard]] Tissue beside_body(const Vec3& q, const Culled& shapes) const;
  [[nodiscard]] Tissue in_thorax(const Vec3& q) const;
  [[nodiscard]] Tissue in_shape(const Vec3& q, const RichShape& shape) const;
  [[nodiscard]] bool in_liver(const Vec3& q, double depth) const;
  [[nodiscard]] Organ wall(const Vec3& q, double depth, double angle) const;
  [[nodiscard]] double dome(const Vec3& q) const;
  [[nodiscard]] double hu(Tissue tissue, const Vec3& q, Contrast contrast) const;

  std::uint64_t key_ = 0;
  std::vector<Wave> waves_;
  double reach_ = 0;               // greatest displacement
  std::vector<RichShape> shapes_;  // the last one that holds a point wins
  // body
  double body_x_ = 170, body_y_ = 115, body_power_ = 2.3, chest_ = 1, hip_ = 1, fat_front_ = 15,
         fat_back_ = 15, fat_side_ = 15, muscle_ = 14;
  double table_y_ = 0;
  bool has_table_ = true, arms_ = false;
  double rib_pitch_ = 26, rib_tilt_ = 28, rib_low_ = -80;
  // diaphragm and liver
  double dome_right_ = 80, dome_left_ = 70, dome_curve_ = 0.004, liver_low_ = -100,
         liver_high_ = 80;
  double visceral_[9]{}, left_end_ = 60, tip_ = -90, hilum_z_ = -10, nodules_ = 0,
                         resected_x_ = -1e9, resected_low_ = -1e9;
  std::array<double, 5> saddle_{};  // where the heart weighs it down: depth, x, y, widths
  std::array<double, 4> cupola_{};  // its reach: outward, inward, to the front, to the back
  double fissure_[2]{}, lesion_texture_ = 0;
  std::array<double, 8> phases_{};
  double gap_ = 2, ascites_ = -1e9, pleura_right_ = -1e9, pleura_left_ = -1e9;
  // values
  std::array<std::array<double, kOrgans>, 4> mean_{};  // [contrast][organ]
  std::array<double, kOrgans> texture_{};
  std::array<double, 16> contents_{};  // HU of what hollow organs hold
  std::array<double, 16> level_{};     // y above which they hold gas
  double lesion_hu_[4]{};
  std::vector<Vec3> metal_;
};

}  // namespace wsp::phantom

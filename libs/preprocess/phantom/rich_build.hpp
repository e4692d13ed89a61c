#pragma once
#include <vector>

#include "preprocess/phantom/rich_anatomy.hpp"
#include "preprocess/phantom/rich_tissue.hpp"
#include "preprocess/phantom/rng.hpp"

/// How a rich phantom's patient is drawn. Internal to the phantom.
namespace wsp::phantom {

/// Draws one patient.
struct RichAnatomy::Build {
  RichAnatomy& a;
  Random r;
  double spine_y = 60, zc = -10;  // zc: the liver's hilum

  bool chance(double p) { return r.uniform() < p; }
  double u(double low, double high) { return r.uniform(low, high); }
  double normal();
  RichShape& ellipsoid(Organ organ, const Vec3& c, const Vec3& radius, double tilt = 0);
  RichShape& tube(Organ organ, const Vec3& from, const Vec3& to, double r0, double r1);

  /// A winding tube through points, its radius varying.
  void winding(Organ organ, const std::vector<Vec3>& points, double low, double high, double wall,
               std::uint8_t content);

  /// An index into contents_: fluid, food, stool, contrast, or gas above a level.
  std::uint8_t content(double low, double high, double gas_share, double gas_level_low,
                       double gas_level_high);
  void body();
  void skeleton();
  void vessels();
  void liver();
  void lesions();

  /// A tumour that fills a part of the liver, dead or liquid within, at its surface as often as
  /// not.
  void giant_lesion();
  void organs();
  void small_bowel();
  void strands();
  void colon();
  void stomach();
  void thorax();
  void values();
  void all();
};

}  // namespace wsp::phantom

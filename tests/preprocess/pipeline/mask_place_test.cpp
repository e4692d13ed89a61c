// Which series a SEG or RTSTRUCT belongs to; no files on disk.
#include "preprocess/pipeline/mask_place.hpp"

#include <gtest/gtest.h>

#include <functional>

#include "preprocess/pipeline/liver_source.hpp"

namespace wsp {
namespace {

using Masks = std::vector<std::size_t>;
using PerSeries = std::vector<Masks>;

// Series of 10 planes of 4 x 3 pixels; masks on some of their planes.
class MaskPlace : public testing::Test {
 protected:
  static constexpr double kStep = 5;

  Series& add(const std::string& uid, double first_mm, const std::string& key = "") {
    Series series;
    series.series_uid = uid;
    series.key = key.empty() ? uid : key;
    series.patient_id = "P1";
    series.study_uid = "1.2";
    series.frame_of_reference_uid = "1.9";
    series.columns = 4;
    series.rows = 3;
    series.pixel_x_mm = 2;
    series.pixel_y_mm = 3;
    for (int k = 0; k < 10; ++k) {
      Plane plane;
      plane.position_mm = {-10, 20, first_mm + kStep * k};
      plane.z_mm = plane.position_mm[2];
      plane.sop_instance_uid = series.key + "." + std::to_string(k);
      series.planes.push_back(plane);
    }
    scan_.series.push_back(series);
    return scan_.series.back();
  }
  /// A SEG that refers to nothing.
  static MaskObject seg(double first_mm, double x = -10) {
    MaskObject mask;
    mask.patient_id = "P1";
    mask.study_uid = "1.2";
    mask.frame_of_reference_uid = "1.9";
    for (int k = 2; k < 6; ++k) {
      const double z = first_mm + kStep * k;
      mask.frame_corners_mm.push_back({{{x, 20, z}, {x + 6, 20, z}, {x, 26, z}, {x + 6, 26, z}}});
    }
    return mask;
  }
  [[nodiscard]] MaskPlaces place(const MaskObject& mask) const {
    Scan scan = scan_;
    scan.masks = {mask};
    return place_masks(scan);
  }
  void expect(const MaskObject& mask, const PerSeries& of_series, bool ambiguous = false) const {
    const MaskPlaces places = place(mask);
    EXPECT_EQ(places.of_series, of_series);
    EXPECT_EQ(places.ambiguous, ambiguous ? Masks{0} : Masks{});
  }

  Scan scan_;
};

TEST_F(MaskPlace, ByInstanceAndBySeries) {
  add("1.2.1", 0);
  add("1.2.2", 2);
  MaskObject mask = seg(900);
  mask.series_uids = {"1.2.2"};
  expect(mask, {{}, {0}});
  mask.series_uids = {};
  mask.sop_instance_uids = {"1.2.1.3"};
  expect(mask, {{0}, {}});
  mask.series_uids = {"1.2.2"};
  expect(mask, {{0}, {0}});
  // What it names is not here: no other series takes its place, be it on the same grid.
  mask = seg(0);
  mask.series_uids = {"9.9"};
  expect(mask, {{}, {}});
}

TEST_F(MaskPlace, WithoutReferencesByGrid) {
  add("1.2.1", 0);
  add("1.2.2", 2);
  expect(seg(0), {{0}, {}});
  expect(seg(2), {{}, {0}});
  expect(seg(1), {{}, {}});
  expect(seg(0, -9), {{}, {}});  // beside it
  MaskObject turned = seg(0);    // its rows run the other way
  for (auto& c : turned.frame_corners_mm) c = {c[3], c[2], c[1], c[0]};
  expect(turned, {{0}, {}});
  MaskObject beyond = seg(0);
  beyond.frame_corners_mm.push_back(seg(40).frame_corners_mm.back());
  expect(beyond, {{}, {}});
  MaskObject contours = seg(0);
  contours.is_rtstruct = true;
  contours.frame_corners_mm.clear();
  contours.contour_points_mm = {{-7, 22, 10}, {-6, 22, 15.01}};
  expect(contours, {{0}, {}});
  contours.contour_points_mm.push_back({-6, 22, 17.5});
  expect(contours, {{}, {}});
  contours.contour_points_mm.clear();
  expect(contours, {{}, {}});
}

TEST_F(MaskPlace, WithoutReferencesOnlyInItsPatientStudyAndFrame) {
  add("1.2.1", 0);
  const std::vector<std::function<void(MaskObject&)>> foreign{
      [](MaskObject& m) { m.patient_id = "P2"; }, [](MaskObject& m) { m.study_uid = "1.3"; },
      [](MaskObject& m) { m.study_uid = ""; },
      [](MaskObject& m) { m.frame_of_reference_uid = "1.8"; },
      [](MaskObject& m) { m.frame_of_reference_uid = ""; }};
  for (const auto& change : foreign) {
    MaskObject mask = seg(0);
    change(mask);
    expect(mask, {{}});
  }
  scan_.series[0].frame_of_reference_uid = "";
  MaskObject mask = seg(0);
  mask.frame_of_reference_uid = "";
  expect(mask, {{}});  // two blanks are no frame of reference
}

TEST_F(MaskPlace, PhasesOnOneGridProveNothing) {
  add("1.2.1", 0);
  add("1.2.2", 0);
  expect(seg(0), {{}, {}}, true);
  scan_.series[1].frame_of_reference_uid = "1.8";
  expect(seg(0), {{0}, {}});
}

TEST_F(MaskPlace, PartsOfASeriesThatWasSplit) {
  add("1.2.1", 0, "1.2.1#1");
  add("1.2.1", 2, "1.2.1#2");
  MaskObject mask = seg(2);
  mask.series_uids = {"1.2.1"};
  expect(mask, {{}, {0}});  // by its planes
  mask.sop_instance_uids = {"1.2.1#1.4"};
  expect(mask, {{0}, {}});  // the instance says more
  mask = seg(3.1);
  mask.series_uids = {"1.2.1"};
  expect(mask, {{}, {}}, true);
  scan_.series[1].code = Code::LOCALIZER;  // a part that is no volume takes none
  expect(mask, {{0}, {}});
}

TEST_F(MaskPlace, PartsAtTheSamePositions) {
  add("1.2.1", 0, "1.2.1#1");
  add("1.2.1", 0, "1.2.1#2");
  MaskObject mask = seg(0);
  mask.series_uids = {"1.2.1"};
  expect(mask, {{}, {}}, true);
}

TEST_F(MaskPlace, AnObjectOfAnotherPatientIsNoMask) {
  add("1.2.1", 0);
  MaskObject mask = seg(0);
  mask.series_uids = {"1.2.1"};
  scan_.files.resize(1);
  scan_.files[0].relative_path = "nowhere";
  scan_.masks = {mask};
  CasePlan plan;
  plan.mask_objects = {0};
  const auto code = [&](const std::string& of_mask, const std::string& of_series) {
    scan_.masks[0].patient_id = of_mask;
    scan_.series[0].patient_id = of_series;
    const auto found = find_given_mask(scan_, plan, LoadedVolume{}, {});
    EXPECT_FALSE(found);
    return found.rejection().code;
  };
  EXPECT_EQ(code("P2", "P1"), Code::MASK_BAD_REFERENCE);
  // Else the file is opened.
  EXPECT_EQ(code("P1", "P1"), Code::MASK_UNREADABLE);
  EXPECT_EQ(code("", "P1"), Code::MASK_UNREADABLE);
  EXPECT_EQ(code("ANONYMOUS", "P1"), Code::MASK_UNREADABLE);
  EXPECT_EQ(code("P1", "anonymous"), Code::MASK_UNREADABLE);
}

}  // namespace
}  // namespace wsp

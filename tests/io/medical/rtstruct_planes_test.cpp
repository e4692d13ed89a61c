// RTSTRUCT: contours on planes that are fewer than the slices, or others.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "io/medical/image_file.hpp"
#include "mask_writer.hpp"
#include "support/test_data.hpp"

namespace wsp {
namespace {

using test::counts;

// Contours on fewer planes than the CT: 21 slices of 2 mm, voxels of 1 x 1.25 mm.
class RtstructPlanes : public testing::Test {
 protected:
  static constexpr int kColumns = 48, kRows = 40, kSlices = 21;
  static constexpr double kDx = 1, kDy = 1.25, kDz = 2;
  using Counts = std::vector<int>;

  /// A contour of 200 points round the section of an ellipsoid at z.
  static test::RtContour section(double z) {
    const double share = (z - 20.3) / 19.1, scale = std::sqrt(1 - share * share);
    std::vector<std::pair<double, double>> xy;
    for (int i = 0; i < 200; ++i) {
      const double angle = i * 3.14159265358979 / 100;
      xy.emplace_back(23.7 + 20.2 * scale * std::cos(angle), 24.1 + 18.4 * scale * std::sin(angle));
    }
    test::RtContour made;
    made.data = test::points(xy, z);
    return made;
  }
  static bool inside(double x, double y, double z) {
    const double a = (x - 23.7) / 20.2, b = (y - 24.1) / 18.4, c = (z - 20.3) / 19.1;
    return a * a + b * b + c * c < 1;
  }
  /// An explicit loop over the ellipsoid.
  static Counts truth() {
    Counts n(kSlices, 0);
    for (int k = 0; k < kSlices; ++k)
      for (int y = 0; y < kRows; ++y)
        for (int x = 0; x < kColumns; ++x)
          n[static_cast<std::size_t>(k)] += inside(kDx * x, kDy * y, kDz * k);
    return n;
  }
  Outcome<LiverMask> read(const std::vector<test::RtContour>& contours) const {
    test::RtFile file;
    file.contours = contours;
    write_rtstruct(here_.path() / "rt.dcm", file);
    return read_rtstruct_mask(here_.path() / "rt.dcm", ct_, {});
  }
  Outcome<LiverMask> sections(const std::vector<double>& z) const {
    std::vector<test::RtContour> contours;
    for (const double at : z) contours.push_back(section(at));
    return read(contours);
  }
  static LoadedVolume volume() {
    LoadedVolume ct;
    Volume& v = ct.volume;
    v.geometry.size = {kColumns, kRows, kSlices};
    v.geometry.spacing_mm = {kDx, kDy, kDz};
    for (int k = 0; k < kSlices; ++k) {
      v.z_mm.push_back(kDz * k);
      v.slice_origin_mm.push_back({0, 0, kDz * k});
    }
    v.hu.assign(static_cast<std::size_t>(v.geometry.voxels()), 50);
    return ct;
  }
  static std::vector<double> every(double from, double to, double step) {
    std::vector<double> z;
    for (int i = 0; from + step * i <= to; ++i) z.push_back(from + step * i);
    return z;
  }

  test::TemporaryDirectory here_;
  LoadedVolume ct_ = volume();
};

using Flags = std::vector<Code>;

TEST_F(RtstructPlanes, EverySliceIsAsDrawn) {
  const auto mask = sections(every(2, 38, 2));
  ASSERT_TRUE(mask) << mask.rejection().detail;
  EXPECT_EQ(mask.value().flags, Flags{});
  const Counts n = counts(mask.value()), expected = truth();
  for (std::size_t k = 1; k < 20; ++k) EXPECT_NEAR(n[k], expected[k], 2) << k;
}

TEST_F(RtstructPlanes, FewerPlanesAreInterpolatedToTheEllipsoid) {
  const Counts expected = truth();
  for (const double step : {4.0, 6.0, 5.0, 3.0}) {
    const auto mask = sections(every(4, 37, step));
    ASSERT_TRUE(mask) << mask.rejection().detail;
    EXPECT_EQ(mask.value().flags, Flags{Code::MASK_INTERPOLATED}) << step;
    const Counts n = counts(mask.value());
    const double last = every(4, 37, step).back();
    int both = 0, sum = 0;
    for (int k = 2; kDz * k <= last; ++k) {
      const auto slice = mask.value().slice(k);
      for (int y = 0; y < kRows; ++y)
        for (int x = 0; x < kColumns; ++x) {
          const int drawn = slice[static_cast<std::size_t>(y * kColumns + x)];
          const int real = inside(kDx * x, kDy * y, kDz * k);
          both += drawn & real;
          sum += drawn + real;
        }
    }
    EXPECT_GT(2.0 * both / sum, step < 5 ? 0.985 : 0.97) << step;
    EXPECT_NEAR(sum - 2 * both, 0, 0.06 * sum) << step;
    for (int k = 0; k < kSlices; ++k) {
      // Half a distance beyond the ends, on the border the upper plane's.
      const double z = kDz * k;
      if (z < 4 - step / 2 || z >= last + step / 2)
        EXPECT_EQ(n[static_cast<std::size_t>(k)], 0) << step << ' ' << k;
      else
        EXPECT_GT(n[static_cast<std::size_t>(k)], 0) << step << ' ' << k;
    }
  }
}

TEST_F(RtstructPlanes, WhatIsDrawnStaysAsDrawn) {
  const auto all = sections(every(2, 38, 2)), second = sections(every(4, 36, 4));
  ASSERT_TRUE(all && second);
  const Counts drawn = counts(all.value()), made = counts(second.value());
  for (std::size_t k = 2; k <= 18; k += 2) EXPECT_EQ(made[k], drawn[k]) << k;
  EXPECT_EQ(made[1], drawn[2]);  // the lower end's slab
}

TEST_F(RtstructPlanes, MissingPlanesAreNotInvented) {
  // One of every slice's absent; two of every second's.
  const auto one = sections({8, 10, 12, 14, 18, 20, 22, 24, 26, 28});
  ASSERT_TRUE(one) << one.rejection().detail;
  EXPECT_EQ(one.value().flags, Flags{});
  EXPECT_EQ(counts(one.value())[8], 0);
  const auto two = sections({4, 8, 12, 24, 28, 32, 36});
  ASSERT_TRUE(two) << two.rejection().detail;
  EXPECT_EQ(two.value().flags, Flags{Code::MASK_INTERPOLATED});
  const Counts n = counts(two.value());
  for (std::size_t k = 0; k < n.size(); ++k)  // a slab at each side of the gap
    EXPECT_EQ(n[k] > 0, k >= 1 && k <= 18 && !(k >= 7 && k <= 10)) << k;
  // No distance that would be regular; two planes alone; planes too far apart.
  for (const std::vector<double>& z :
       {std::vector<double>{4, 8, 10, 16, 18, 24, 32}, {12, 16}, {2, 20, 38}}) {
    const auto mask = sections(z);
    ASSERT_TRUE(mask) << mask.rejection().detail;
    EXPECT_EQ(mask.value().flags, Flags{});
    const Counts stripes = counts(mask.value());
    EXPECT_EQ(static_cast<std::size_t>(
                  std::count_if(stripes.begin(), stripes.end(), [](int c) { return c > 0; })),
              z.size());
  }
}

TEST_F(RtstructPlanes, UnevenSlicesThatAreAllDrawnHaveNothingBetween) {
  // Slices of 2 mm, then of 4: contours on all of them, mostly 4 mm apart.
  for (std::size_t k = 11; k < kSlices; ++k) {
    ct_.volume.z_mm[k] = 20 + 4 * (static_cast<double>(k) - 10);
    ct_.volume.slice_origin_mm[k][2] = ct_.volume.z_mm[k];
  }
  const auto mask = sections({18, 20, 24, 28, 32, 36});
  ASSERT_TRUE(mask) << mask.rejection().detail;
  EXPECT_EQ(mask.value().flags, Flags{});
  const Counts n = counts(mask.value());
  for (std::size_t k = 0; k < n.size(); ++k) EXPECT_EQ(n[k] > 0, k >= 9 && k <= 14) << k;
}

TEST_F(RtstructPlanes, HolesKeyholesAndIslandsBetweenPlanes) {
  const auto boxes = [](double z, const std::vector<std::array<double, 4>>& corners) {
    std::vector<test::RtContour> made;
    for (const auto& [x0, y0, x1, y1] : corners) {
      test::RtContour one;
      one.data = test::points({{x0, y0}, {x1, y0}, {x1, y1}, {x0, y1}}, z);
      made.push_back(one);
    }
    return made;
  };
  std::vector<test::RtContour> contours;
  for (const double z : {8.0, 12.0, 16.0})
    for (const auto& one : boxes(z, {{5.5, 5, 40.5, 35}, {15.5, 15, 30.5, 25}}))
      contours.push_back(one);
  const auto ring = read(contours);
  ASSERT_TRUE(ring) << ring.rejection().detail;
  const Counts n = counts(ring.value());
  EXPECT_EQ(n[5], n[4]);  // hole and all
  EXPECT_EQ(n[4], 35 * 24 - 15 * 8);
  // A keyhole whose channel lies elsewhere on every plane: the same ring.
  contours.clear();
  for (const double z : {8.0, 12.0, 16.0}) {
    const double at = z + 8;
    test::RtContour one;
    one.data = test::points({{5.5, 5},
                             {40.5, 5},
                             {40.5, 35},
                             {5.5, 35},
                             {5.5, at},
                             {15.5, at},
                             {15.5, 25},
                             {30.5, 25},
                             {30.5, 15},
                             {15.5, 15},
                             {15.5, at},
                             {5.5, at}},
                            z);
    contours.push_back(one);
  }
  const auto keyhole = read(contours);
  ASSERT_TRUE(keyhole) << keyhole.rejection().detail;
  EXPECT_EQ(keyhole.value().voxels, ring.value().voxels);
  // A box that grows by 6 mm to each side in x grows by 3 on the way; its corners are rounded.
  contours = boxes(8, {{15.2, 5, 30.2, 35}});
  for (const double z : {12.0, 16.0})
    for (const auto& one : boxes(z, {{9.2, 5, 36.2, 35}})) contours.push_back(one);
  const auto grown = read(contours);
  ASSERT_TRUE(grown) << grown.rejection().detail;
  const auto row = grown.value().slice(5).subspan(16 * kColumns, kColumns);
  EXPECT_EQ(std::accumulate(row.begin(), row.end(), 0), 21);
  EXPECT_EQ(row[12], 0);
  EXPECT_EQ(row[13], 1);
  EXPECT_NEAR(counts(grown.value())[5], 21 * 24, 16);
}

}  // namespace
}  // namespace wsp

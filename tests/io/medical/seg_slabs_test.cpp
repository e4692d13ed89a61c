// SEG frames on another grid than the slices.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "mask_writer.hpp"
#include "seg_support.hpp"

namespace wsp {
namespace {

using test::code_of;
using test::Seg;
using test::SmallCt;

// Frames on a grid of another distance. The truth is an explicit loop over the slabs.
class SegSlabs : public Seg {
 protected:
  /// Frames at `first` + i * `distance` mm from the first slice, of shape(i % 5).
  static test::SegFile grid(const std::vector<int>& frames, double first, double distance,
                            const std::string& spacing, const std::string& thickness) {
    test::SegFile seg;
    for (const int i : frames) {
      Vec3 at = SmallCt::origin(0);
      at[2] += first + distance * i;
      seg.frames.push_back({at, 1, shape(i % 5), {}});
    }
    seg.edit = [=](DcmDataset& d) {
      DcmItem& measures = test::sequence_item(
          test::sequence_item(d, DCM_SharedFunctionalGroupsSequence), DCM_PixelMeasuresSequence);
      if (!spacing.empty()) test::put_text(measures, DCM_SpacingBetweenSlices, spacing);
      if (!thickness.empty()) test::put_text(measures, DCM_SliceThickness, thickness);
    };
    return seg;
  }
  /// Each slice's frame: the one with centre - slab / 2 <= z < centre + slab / 2.
  static std::vector<std::uint8_t> slabs(const std::vector<int>& frames, double first,
                                         double distance, double slab) {
    std::vector<std::uint8_t> voxels(kPixels * SmallCt::kSlices, 0);
    for (std::size_t k = 0; k < SmallCt::kSlices; ++k)
      for (const int i : frames) {
        const double from = SmallCt::kDz * static_cast<double>(k) - (first + distance * i);
        if (from < -slab / 2 || from >= slab / 2) continue;
        const auto pixels = shape(i % 5);
        std::copy(pixels.begin(), pixels.end(),
                  voxels.begin() + static_cast<std::ptrdiff_t>(k * kPixels));
      }
    return voxels;
  }
  void expect_slabs(const test::SegFile& seg, const std::vector<std::uint8_t>& voxels,
                    bool resampled = true) const {
    const auto mask = read(seg);
    ASSERT_TRUE(mask) << mask.rejection().detail;
    EXPECT_EQ(mask.value().voxels, voxels);
    EXPECT_EQ(mask.value().flags,
              resampled ? std::vector<Code>{Code::MASK_RESAMPLED} : std::vector<Code>{});
  }
};

TEST_F(SegSlabs, ThickFramesFillTheirOwn) {
  expect_slabs(grid({0, 1, 2}, 0, 5, "5", "5"), slabs({0, 1, 2}, 0, 5, 5));
  expect_slabs(grid({0, 1, 2}, 0, 5, "-5", ""), slabs({0, 1, 2}, 0, 5, 5));  // a negative distance
  expect_slabs(grid({2, 0, 1}, 0, 5, "", ""), slabs({0, 1, 2}, 0, 5, 5));    // theirs is regular
  expect_slabs(grid({0, 1}, 1.25, 5, "5", ""), slabs({0, 1}, 1.25, 5, 5));   // between the slices
  expect_slabs(grid({0}, 5, 5, "5", ""), slabs({0}, 5, 5, 5));
  expect_slabs(grid({0, 1, 2}, 0, 4, "4", ""), slabs({0, 1, 2}, 0, 4, 4));
}

TEST_F(SegSlabs, AbsentFramesAreEmptyWhateverTheirNeighboursDistance) {
  // A grid of the slices' own distance of which every second frame is there: stripes, not slabs.
  const auto stripes = [](const std::vector<std::int64_t>& slices) { return truth(slices); };
  auto seg = grid({0, 2, 4}, 0, 2.5, "2.5", "2.5");
  expect_slabs(seg, stripes({0, 2, 4}), false);
  seg = grid({0, 2, 4}, 0, 2.5, "", "2.5");  // thinner than their distance
  expect_slabs(seg, stripes({0, 2, 4}), false);
  seg = grid({0, 1, 4}, 0, 2.5, "", "");  // a gap is a multiple of the distance
  expect_slabs(seg, stripes({0, 1, 4}), false);
  seg = grid({0, 4}, 0, 2.5, "", "");  // two frames prove no distance
  expect_slabs(seg, stripes({0, 4}), false);
  // Thick ones, the middle one absent.
  expect_slabs(grid({0, 2}, 0, 5, "5", "5"), slabs({0, 2}, 0, 5, 5));
  // A distance that the frames deny is not theirs.
  seg = grid({0, 1, 2, 3, 4}, 0, 2.5, "5", "5");
  expect_slabs(seg, stripes({0, 1, 2, 3, 4}), false);
  // Other segments' frames show the grid.
  seg = grid({0, 2, 4}, 0, 2.5, "", "");
  auto other = grid({1}, 0, 2.5, "", "").frames[0];
  other.segment = 2;
  seg.frames.push_back(other);
  seg.segments.push_back({2, "Spleen", "SCT", "78961009", ""});
  expect_slabs(seg, stripes({0, 2, 4}), false);
}

TEST_F(SegSlabs, ThinFramesAreTakenWhereTheSlicesCentreIs) {
  const std::vector<int> all{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
  expect_slabs(grid(all, 0, 1, "1", "1"), slabs(all, 0, 1, 1));
  expect_slabs(grid(all, 0, 1, "", ""), slabs(all, 0, 1, 1));
  expect_slabs(grid(all, 0.3, 0.9, "0.9", ""), slabs(all, 0.3, 0.9, 0.9));
  // Positions with two decimals.
  auto rounded = grid(all, 0, 0.8333, "0.8333", "");
  for (auto& frame : rounded.frames) frame.position[2] = std::round(frame.position[2] * 100) / 100;
  expect_slabs(rounded, slabs(all, 0, 0.8333, 0.8333));
}

TEST_F(SegSlabs, AGridBetweenTheSlicesIsResampledUnlessInstancesDenyIt) {
  auto seg = grid({0, 1, 2, 3}, 0.4, 2.5, "2.5", "2.5");
  expect_slabs(seg, slabs({0, 1, 2, 3}, 0.4, 2.5, 2.5));
  for (std::size_t i = 0; i < 4; ++i)
    seg.frames[i].sources = {SmallCt::sop(static_cast<std::int64_t>(i) + 1)};
  EXPECT_EQ(code_of(read(seg)), "MASK_BAD_REFERENCE");
  EXPECT_EQ(code_of(read(grid({0, 1, 2, 3}, 5.4, 2.5, "2.5", ""))), "MASK_BAD_REFERENCE");
  EXPECT_EQ(code_of(read(grid({0, 1, 2, 3}, 0, 5, "5", ""))), "MASK_BAD_REFERENCE");  // beyond
}

TEST_F(SegSlabs, ThinFramesOfAnEllipsoid) {
  // Analytic: semi-axes 7, 8, 4.5 mm round the middle; frames of 1 mm, pixels of 0.25 mm.
  const Vec3 centre{SmallCt::kX + 9.1, SmallCt::kY + 9.2, SmallCt::kZ + 5.05};
  test::SegFile seg;
  seg.columns = 80;
  seg.rows = 84;
  seg.dx = seg.dy = 0.25;
  const Vec3 corner{SmallCt::kX - 0.875, SmallCt::kY - 1.375, 0};
  for (int i = 0; i < 11; ++i) {
    test::SegFrame frame;
    frame.position = {corner[0], corner[1], SmallCt::kZ + 0.5 + i};
    for (int y = 0; y < 84; ++y)
      for (int x = 0; x < 80; ++x) {
        const double a = (corner[0] + 0.25 * x - centre[0]) / 7;
        const double b = (corner[1] + 0.25 * y - centre[1]) / 8;
        const double c = (frame.position[2] - centre[2]) / 4.5;
        frame.pixels.push_back(a * a + b * b + c * c < 1 ? 1 : 0);
      }
    seg.frames.push_back(frame);
  }
  const auto mask = read(seg);
  ASSERT_TRUE(mask) << mask.rejection().detail;
  double expected = 0;
  for (int k = 0; k < 5; ++k)
    for (int y = 0; y < 7; ++y)
      for (int x = 0; x < 10; ++x) {
        const double a = (SmallCt::kX + 2 * x - centre[0]) / 7;
        const double b = (SmallCt::kY + 3 * y - centre[1]) / 8;
        // The slice at 2.5 k takes the frame at i + 0.5 whose slab it is in, on a border the upper.
        const double z = std::floor(2.5 * k) + 0.5;
        const double c = (SmallCt::kZ + z - centre[2]) / 4.5;
        expected += a * a + b * b + c * c < 1 ? 1 : 0;
      }
  const auto& v = mask.value().voxels;
  EXPECT_NEAR(std::accumulate(v.begin(), v.end(), 0), expected, 3);
  EXPECT_GT(expected, 50);
}

TEST_F(SegSlabs, APixelBetweenTheVoxelsCentresIsNotLost) {
  auto seg = file({1, 2, 3});
  seg.columns = seg.rows = 40;
  seg.dx = seg.dy = 0.5;
  for (auto& frame : seg.frames) {
    frame.pixels.assign(1600, 0);
    for (int y = 4; y < 30; ++y)
      for (int x = 4; x < 30; ++x) frame.pixels[static_cast<std::size_t>(40 * y + x)] = 1;
  }
  seg.frames[2].pixels.assign(1600, 0);
  seg.frames[2].pixels[40 * 3 + 2] = 1;  // 1 mm, 1.5 mm: between the centres
  const auto mask = read(seg);
  ASSERT_TRUE(mask) << mask.rejection().detail;
  const auto n = test::counts(mask.value());
  EXPECT_GT(n[1], 0);
  EXPECT_EQ(n[3], 0);
}

}  // namespace
}  // namespace wsp

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <set>
#include <vector>

#include "preprocess/phantom/anatomy.hpp"
#include "preprocess/phantom/cohort.hpp"
#include "preprocess/phantom/mask_write.hpp"
#include "preprocess/phantom/subject.hpp"

namespace wsp::phantom {
namespace {

constexpr double kPixel = 2.0, kThickness = 4.0;

Stack grid(double pixel_mm, double thickness_mm) {
  Stack s;
  s.columns = s.rows = static_cast<std::int64_t>(400 / pixel_mm);
  s.pixel_mm = pixel_mm;
  s.thickness_mm = thickness_mm;
  for (double z = -140; z <= 140; z += thickness_mm) s.origins.push_back({-200, -200, z});
  return s;
}

double liver_ml(const Anatomy& a) {
  const Stack s = grid(kPixel, kThickness);
  std::int64_t voxels = 0;
  for (std::size_t k = 0; k < s.origins.size(); ++k)
    for (const auto v : render_liver(a, s, k)) voxels += v;
  return static_cast<double>(voxels) * kPixel * kPixel * kThickness / 1000;
}

// The same patient at another stage: the draws are the same, so only the stage differs.
Anatomy at_stage(std::uint64_t subject, int stage) { return draw_anatomy(5, subject, stage); }

// Length of the liver's border in the middle planes, in pixel sides per square root of its area.
double roughness(const Anatomy& a) {
  Stack s = grid(0.8, 3);
  s.origins = {{-200, -200, -20}, {-200, -200, 0}, {-200, -200, 20}};
  double sum = 0;
  for (std::size_t k = 0; k < 3; ++k) {
    const auto mask = render_liver(a, s, k);
    std::int64_t border = 0, area = 0;
    for (std::int64_t y = 1; y < s.rows; ++y)
      for (std::int64_t x = 1; x < s.columns; ++x) {
        const auto at = static_cast<std::size_t>(y * s.columns + x);
        area += mask[at];
        border += (mask[at] != mask[at - 1]) +
                  (mask[at] != mask[at - static_cast<std::size_t>(s.columns)]);
      }
    sum += static_cast<double>(border) / std::sqrt(static_cast<double>(area));
  }
  return sum / 3;
}

double spleen_ml(const Anatomy& a) {
  // The arterial spleen alone lies between 125 and 135 HU on this side.
  double voxels = 0;
  const Stack s = grid(4, 4);
  for (const Vec3& o : s.origins)
    for (double y = -200; y < 200; y += 4)
      for (double x = 40; x < 200; x += 4) {
        const double hu = tissue_hu(a, {x, y, o[2]}, Contrast::arterial);
        voxels += hu > 125 && hu < 135 ? 1 : 0;
      }
  return voxels * 64 / 1000;
}

TEST(Phantom, BytesDependOnTheKeysAlone) {
  Stack s = grid(kPixel, kThickness);
  const Anatomy a = draw_anatomy(1, 2, 3);
  EXPECT_EQ(render_plane(a, s, 30), render_plane(draw_anatomy(1, 2, 3), s, 30));
  EXPECT_NE(render_plane(a, s, 30), render_plane(draw_anatomy(2, 2, 3), s, 30));
  const auto before = render_plane(a, s, 30);
  s.noise_key = 9;
  EXPECT_NE(render_plane(a, s, 30), before);
}

TEST(Phantom, TheMaskIsTheLiver) {
  const Stack s = grid(kPixel, kThickness);
  const Anatomy a = draw_anatomy(1, 2, 4);
  const std::size_t plane = s.origins.size() / 2;
  const auto mask = render_liver(a, s, plane);
  std::int64_t inside = 0;
  for (std::int64_t y = 0; y < s.rows; ++y)
    for (std::int64_t x = 0; x < s.columns; ++x) {
      const Vec3 p{-200 + kPixel * static_cast<double>(x), -200 + kPixel * static_cast<double>(y),
                   s.origins[plane][2]};
      const bool liver = in_liver(a, p);
      ASSERT_EQ(mask[static_cast<std::size_t>(y * s.columns + x)], liver ? 1 : 0);
      if (!liver) continue;
      ++inside;
      ASSERT_GT(tissue_hu(a, p, Contrast::portal), 80) << p[0] << " " << p[1] << " " << p[2];
      ASSERT_LT(tissue_hu(a, p, Contrast::portal), 200);
    }
  EXPECT_GT(inside, 1000);
}

TEST(Phantom, VolumesAndSignsGrowWithTheStage) {
  for (std::uint64_t subject = 0; subject < 4; ++subject) {
    SCOPED_TRACE(subject);
    for (int stage = 0; stage <= 4; ++stage) {
      const double ml = liver_ml(at_stage(subject, stage));
      if (stage % 4 == 0)
        std::printf("subject %d F%d: liver %.0f ml, spleen %.0f ml\n", static_cast<int>(subject),
                    stage, ml, spleen_ml(at_stage(subject, stage)));
      EXPECT_GT(ml, 900) << stage;
      EXPECT_LT(ml, 2200) << stage;
      if (stage == 0) continue;
      EXPECT_GT(at_stage(subject, stage).caudate_scale, at_stage(subject, stage - 1).caudate_scale);
      EXPECT_GT(spleen_ml(at_stage(subject, stage)), 1.1 * spleen_ml(at_stage(subject, stage - 1)))
          << stage;
    }
    EXPECT_GT(roughness(at_stage(subject, 2)), roughness(at_stage(subject, 0)));
    EXPECT_GT(roughness(at_stage(subject, 4)), roughness(at_stage(subject, 2)));
  }
}

struct Noise {
  double sd, neighbour;
};
// Noise in air-free fat under the skin is hard to find; the difference of two renderings is 2
// independent draws.
Noise measure(bool sharp) {
  Stack s = grid(0.8, 3);
  s.sharp = sharp;
  const Anatomy a = draw_anatomy(1, 2, 0);
  s.noise_key = 1;
  const auto one = render_plane(a, s, 40);
  s.noise_key = 2;
  const auto two = render_plane(a, s, 40);
  double square = 0, product = 0, n = 0;
  for (std::int64_t y = 200; y < 300; ++y)
    for (std::int64_t x = 150; x < 330; ++x) {
      const auto at = static_cast<std::size_t>(y * s.columns + x);
      const double d = one[at] - two[at], right = one[at + 1] - two[at + 1];
      square += d * d;
      product += d * right;
      n += 1;
    }
  return {std::sqrt(square / n / 2), product / square};
}

TEST(Phantom, NoiseIsCorrelatedAndASharpKernelIsNoisier) {
  const Noise soft = measure(false), sharp = measure(true);
  EXPECT_GT(soft.sd, 8);
  EXPECT_LT(soft.sd, 25);
  EXPECT_GT(soft.neighbour, 0.3);
  EXPECT_GT(sharp.sd, 1.2 * soft.sd);
  EXPECT_LT(sharp.sd, 25);
  EXPECT_LT(sharp.neighbour, soft.neighbour);
}

TEST(Phantom, ClassesFollowTheCohorts) {
  CohortOptions options;
  options.seed = 3;
  constexpr int kDraws = 60000;
  std::array<int, 4> classes{};
  int histology = 0, advanced = 0, ishak = 0, cirrhosis = 0, agree = 0;
  for (int i = 0; i < kDraws; ++i) {
    const SubjectTruth t = draw_subject(options, i);
    ++classes.at(static_cast<std::size_t>(t.radiological));
    histology += t.histology;
    advanced += t.histology && t.stage >= 3;
    ishak += t.ishak >= 0;
    cirrhosis += t.ishak >= 5;
    if (t.ishak >= 0) {
      EXPECT_EQ(t.ishak >= 5, t.stage == 4);
    }
    agree += (t.reader == 1) == (t.stage >= 3);
  }
  constexpr std::array<double, 4> kPaper{1880, 385, 415, 119};
  for (std::size_t c = 0; c < 4; ++c)
    EXPECT_NEAR(classes[c] / double{kDraws}, kPaper[c] / 2799, 0.007) << c;
  ASSERT_GT(histology, 3000);
  EXPECT_NEAR(double(advanced) / histology, 78.0 / 106, 0.03);
  ASSERT_GT(ishak, 1000);
  EXPECT_NEAR(double(cirrhosis) / ishak, 15.0 / 49, 0.04);
  EXPECT_NEAR(agree / double{kDraws}, 0.85, 0.01);
  options.balance = true;
  classes = {};
  for (int i = 0; i < 4000; ++i)
    ++classes.at(static_cast<std::size_t>(draw_subject(options, i).radiological));
  for (const int count : classes) EXPECT_EQ(count, 1000);
}

TEST(Phantom, StiffnessGrowsWithTheStageAndIsNotAlwaysKnown) {
  CohortOptions options;
  options.seed = 3;
  std::array<std::vector<double>, 5> of_stage;
  constexpr int kDraws = 12000;
  int unknown = 0;
  for (int i = 0; i < kDraws; ++i) {
    const SubjectTruth t = draw_subject(options, i);
    if (t.stiffness_kpa == 0)
      ++unknown;
    else
      of_stage.at(static_cast<std::size_t>(t.stage)).push_back(t.stiffness_kpa);
  }
  EXPECT_NEAR(unknown / double{kDraws}, 1.0 / 6, 0.01);
  double before = 0;
  for (auto& values : of_stage) {
    ASSERT_GT(values.size(), 100U);
    std::sort(values.begin(), values.end());
    EXPECT_GT(values[values.size() / 2], 1.15 * before);
    before = values[values.size() / 2];
    EXPECT_GT(values.front(), 2);  // what elastography measures
    EXPECT_LT(values.back(), 75);
    for (const double v : values) ASSERT_NEAR(10 * v, std::round(10 * v), 1e-9);
  }
  EXPECT_GT(of_stage[0].back(), of_stage[1].front());  // neighbours overlap
}

TEST(Phantom, SixSubjectsShowEveryValueOfEveryTrait) {
  CohortOptions options;
  options.seed = 9;
  for (const Trait which :
       {Trait::oddity, Trait::matrix, Trait::kernel, Trait::extras, Trait::masks}) {
    std::set<std::array<int, kSubjectsForAll>> orders;
    std::array<std::array<int, 4>, kSubjectsForAll> with_class{};
    constexpr int kBlocks = 200;
    for (int block = 0; block < kBlocks; ++block) {
      std::array<int, kSubjectsForAll> values{};
      for (int i = 0; i < kSubjectsForAll; ++i) {
        const int subject = block * kSubjectsForAll + i;
        const int value = trait(options, subject, which);
        values.at(static_cast<std::size_t>(i)) = value;
        // With --balance the class is the number modulo 4.
        ++with_class.at(static_cast<std::size_t>(value)).at(static_cast<std::size_t>(subject % 4));
      }
      EXPECT_EQ(std::set<int>(values.begin(), values.end()).size(), std::size_t{kSubjectsForAll});
      orders.insert(values);
    }
    EXPECT_GT(orders.size(), 100U);
    // No trait tells the class: 50 expected in each cell.
    for (const auto& row : with_class)
      for (const int n : row) EXPECT_NEAR(n, kBlocks / 4, 25);
  }
}

TEST(Phantom, OutlinesHoldExactlyTheirPixels) {
  // Random pixels have holes, islands in holes and pixels that touch at corners.
  Random random{77};
  for (int round = 0; round < 50; ++round) {
    SCOPED_TRACE(round);
    constexpr std::int64_t kColumns = 13, kRows = 9;
    std::vector<std::uint8_t> mask(kColumns * kRows);
    for (auto& m : mask) m = random.uniform() < 0.1 * (round % 11) ? 1 : 0;
    const auto outlines = trace_outlines(mask, kColumns, kRows);
    for (std::int64_t y = 0; y < kRows; ++y)
      for (std::int64_t x = 0; x < kColumns; ++x) {
        bool inside = false;  // a ray to the left crosses an odd number of borders
        for (const auto& outline : outlines)
          for (std::size_t i = 0; i < outline.size(); ++i) {
            const auto& [x0, y0] = outline[i];
            const auto& [x1, y1] = outline[(i + 1) % outline.size()];
            const auto px = static_cast<double>(x), py = static_cast<double>(y);
            if (x0 == x1 && x0 < px && (y0 < py) != (y1 < py)) inside = !inside;
          }
        ASSERT_EQ(inside, mask[static_cast<std::size_t>(y * kColumns + x)] == 1) << x << " " << y;
      }
    for (const auto& outline : outlines) {
      EXPECT_GE(outline.size(), 4U);
      EXPECT_EQ(outline.size() % 2, 0U);  // no corner on a straight line
    }
  }
  EXPECT_TRUE(trace_outlines(std::vector<std::uint8_t>(12), 4, 3).empty());
}

}  // namespace
}  // namespace wsp::phantom

#include "preprocess/phantom/rich_anatomy.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <vector>

#include "io/medical/image_file.hpp"
#include "preprocess/phantom/cohort.hpp"
#include "support/test_data.hpp"

namespace wsp::phantom {
namespace {

constexpr std::int64_t kMatrix = 64;

double volume_ml(const Stack& stack, std::int64_t voxels) {
  return static_cast<double>(voxels) * stack.pixel_mm * stack.pixel_mm * stack.thickness_mm / 1000;
}

/// Every plane of the whole liver, whatever the scan that is drawn for the patient.
Stack whole(const RichAnatomy& anatomy) {
  Stack stack = anatomy.draw_stack(kMatrix, 3, 200);
  stack.pixel_mm = 500.0 / kMatrix;
  stack.thickness_mm = 8;
  stack.origins.clear();
  for (double z = anatomy.liver_low() - 60; z < anatomy.liver_high() + 60; z += 8)
    stack.origins.push_back({-250, -250, z});
  return stack;
}

TEST(RichAnatomy, IsAFunctionOfItsNumbers) {
  const RichAnatomy one(4, 7), same(4, 7), other(4, 8);
  const Stack stack = one.draw_stack(kMatrix, 3, 12);
  EXPECT_EQ(one.render(stack, 1), same.render(stack, 1));
  EXPECT_EQ(one.labels(stack, 1), same.labels(stack, 1));
  EXPECT_NE(one.render(stack, 1), other.render(stack, 1));
}

TEST(RichAnatomy, TheLiverIsTheMapsLiverWithItsLesionsAndVessels) {
  for (std::uint64_t subject = 0; subject < 6; ++subject) {
    const RichAnatomy anatomy(11, subject);
    const Stack stack = whole(anatomy);
    for (std::size_t k = 0; k < stack.origins.size(); k += 5) {
      const auto labels = anatomy.labels(stack, k), liver = anatomy.liver(stack, k);
      for (std::size_t i = 0; i < labels.size(); ++i)
        ASSERT_EQ(liver[i], labels[i] >= 1 && labels[i] <= 3 ? 1 : 0) << "subject " << subject;
    }
  }
}

TEST(RichAnatomy, HasLiversOfManySizesAndTheOrgansAround) {
  std::set<std::uint8_t> seen;
  std::vector<double> ml;
  for (std::uint64_t subject = 0; subject < 24; ++subject) {
    const RichAnatomy anatomy(3, subject);
    const Stack stack = whole(anatomy);
    std::int64_t voxels = 0;
    for (std::size_t k = 0; k < stack.origins.size(); ++k) {
      const auto labels = anatomy.labels(stack, k);
      seen.insert(labels.begin(), labels.end());
      for (const auto v : anatomy.liver(stack, k)) voxels += v;
    }
    ml.push_back(volume_ml(stack, voxels));
    EXPECT_GT(ml.back(), 100) << "subject " << subject;
    EXPECT_LT(ml.back(), 6000) << "subject " << subject;
  }
  std::sort(ml.begin(), ml.end());
  EXPECT_LT(ml[2], 1200) << "small livers";
  EXPECT_GT(ml[21], 1700) << "large ones";
  for (const Organ organ : {Organ::liver,
                            Organ::liver_vessel,
                            Organ::liver_lesion,
                            Organ::gallbladder,
                            Organ::spleen,
                            Organ::pancreas,
                            Organ::stomach,
                            Organ::duodenum,
                            Organ::small_bowel,
                            Organ::colon,
                            Organ::kidney,
                            Organ::adrenal,
                            Organ::aorta,
                            Organ::vena_cava,
                            Organ::heart,
                            Organ::lung,
                            Organ::bone,
                            Organ::muscle,
                            Organ::subcutaneous_fat,
                            Organ::visceral_fat,
                            Organ::skin})
    EXPECT_TRUE(seen.contains(static_cast<std::uint8_t>(organ))) << to_string(organ);
  for (const std::uint8_t label : seen) EXPECT_LT(label, kOrgans);
}

TEST(RichAnatomy, ScansVaryInRangeThicknessAndPhaseAndSomeHoldNoLiver) {
  int without = 0, thin = 0, thick = 0;
  std::set<Contrast> phases;
  constexpr int kScans = 120;
  for (std::uint64_t subject = 0; subject < kScans; ++subject) {
    const RichAnatomy anatomy(5, subject);
    const Stack stack = anatomy.draw_stack(kMatrix, 8, 2000);
    ASSERT_GE(stack.origins.size(), 8U);
    for (std::size_t k = 1; k < stack.origins.size(); ++k)
      ASSERT_NEAR(stack.origins[k][2] - stack.origins[k - 1][2], stack.thickness_mm, 2e-4);
    const double field = stack.pixel_mm * kMatrix;
    EXPECT_GT(field, 240);
    EXPECT_LT(field, 710);
    phases.insert(stack.contrast);
    thin += stack.thickness_mm < 2 ? 1 : 0;
    thick += stack.thickness_mm > 6 ? 1 : 0;
    without += stack.origins.front()[2] > anatomy.liver_high() ||
                       stack.origins.back()[2] < anatomy.liver_low() - 30
                   ? 1
                   : 0;
  }
  EXPECT_EQ(phases.size(), 4U);
  EXPECT_GT(thin, 3);
  EXPECT_GT(thick, 3);
  EXPECT_GT(without, 2);
  EXPECT_LT(without, kScans / 4);
}

// Few slices over a long range: gaps between them, or a part of the range; the file says which.
TEST(RichAnatomy, ScansOfFewSlicesHaveGapsAndTheirFilesSayHowFarSlicesAreApart) {
  const test::TemporaryDirectory root;
  CohortOptions options;
  options.out = root.path() / "cohort";
  options.subjects = 12;
  options.seed = 5;
  options.min_slices = 4;
  options.max_slices = 7;
  options.size = 32;
  options.nifti = options.rich = true;
  make_cohort(options);
  int gaps = 0, none = 0;
  for (int subject = 0; subject < options.subjects; ++subject) {
    const RichAnatomy anatomy(options.seed, static_cast<std::uint64_t>(subject));
    const Stack stack = anatomy.draw_stack(options.size, options.min_slices, options.max_slices);
    const double step = stack.origins[1][2] - stack.origins[0][2];
    for (std::size_t k = 1; k < stack.origins.size(); ++k)
      ASSERT_NEAR(stack.origins[k][2] - stack.origins[k - 1][2], step, 2e-4);
    ASSERT_GT(step, stack.thickness_mm - 1e-3);
    (step > stack.thickness_mm + 0.01 ? gaps : none) += 1;
    for (const char* part : {"export", "truth"}) {
      const auto file = options.out / part / fmt::format("subject-{:04d}.nii.gz", subject);
      const auto header = read_image_header(file);
      ASSERT_TRUE(header.ok()) << file;
      EXPECT_NEAR(header.value().geometry.spacing_mm[2], step, 1e-3) << file;
      EXPECT_EQ(header.value().geometry.size[2], std::ssize(stack.origins)) << file;
    }
  }
  EXPECT_GT(gaps, 2);
  EXPECT_GT(none, 0);
}

}  // namespace
}  // namespace wsp::phantom

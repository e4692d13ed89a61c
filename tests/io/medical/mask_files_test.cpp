// Masks in files: the shared NIfTI and NRRD data, grids that differ, files that cannot be read, and
// which file of a directory belongs to which series.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <numeric>
#include <tuple>

#include "io/core/error.hpp"
#include "io/medical/image_file.hpp"
#include "medical_support.hpp"
#include "support/test_data.hpp"

namespace wsp {
namespace {

namespace fs = std::filesystem;
using test::code_of;
using test::total;

MaskOptions labels(std::vector<std::int64_t> values) {
  MaskOptions options;
  options.liver_labels = std::move(values);
  return options;
}

double millilitres(const LiverMask& mask) {
  const Vec3& s = mask.geometry.spacing_mm;
  return total(mask) * s[0] * s[1] * s[2] / 1000;
}

struct Hu {
  double mean = 0, deviation = 0;
};
Hu hu_inside(const LoadedVolume& ct, const LiverMask& mask) {
  double sum = 0, squares = 0;
  for (std::size_t i = 0; i < mask.voxels.size(); ++i)
    if (mask.voxels[i] != 0) {
      const double v = ct.volume.hu[i];
      sum += v;
      squares += v * v;
    }
  const double n = total(mask), mean = sum / n;
  return {mean, std::sqrt(squares / n - mean * mean)};
}

const fs::path kTotal = "liver/ts_abdopelvis_3mm_nifti";

TEST(MaskFileData, TotalSegmentatorsLabelMap) {
  WSP_REQUIRE_TEST_DATA(data);
  const LoadedVolume ct = test::load_only_series(data / kTotal / "example_ct.nii.gz");
  const fs::path file = data / kTotal / "example_seg_fast_force_split.nii.gz";
  const auto mask = read_mask_file(file, ct, labels({5}));
  ASSERT_TRUE(mask) << mask.rejection().detail;
  EXPECT_TRUE(mask.value().flags.empty());
  EXPECT_EQ(total(mask.value()), 41692);
  EXPECT_NEAR(millilitres(mask.value()), 1125.68, 0.005);
  EXPECT_NEAR(hu_inside(ct, mask.value()).mean, 44.46, 0.005);
  EXPECT_NEAR(hu_inside(ct, mask.value()).deviation, 16.21, 0.005);
  const auto n = test::counts(mask.value());
  for (std::size_t k = 0; k < n.size(); ++k) EXPECT_EQ(n[k] > 0, k >= 69) << k;  // to the top edge
  // Several labels are united; a label that is nowhere is told.
  const auto spleen = read_mask_file(file, ct, labels({1}));
  const auto both = read_mask_file(file, ct, labels({5, 1}));
  ASSERT_TRUE(spleen && both);
  EXPECT_GT(total(spleen.value()), 0);
  EXPECT_EQ(total(both.value()), 41692 + total(spleen.value()));
  const auto none = read_mask_file(file, ct, labels({200}));
  ASSERT_EQ(code_of(none), "NO_LIVER");
  EXPECT_NE(none.rejection().detail.find("1, 2, 3"), std::string::npos) << none.rejection().detail;
  EXPECT_NE(none.rejection().detail.find("none of --liver-label 200"), std::string::npos);
}

TEST(MaskFileData, TotalSegmentatorsOwnStatistics) {
  WSP_REQUIRE_TEST_DATA(data);
  const fs::path root = data / kTotal / "upper_crop_30";
  const LoadedVolume ct = test::load_only_series(root / "example_ct_sm.nii.gz");
  const auto mask = read_mask_file(root / "liver.nii.gz", ct, {});
  ASSERT_TRUE(mask) << mask.rejection().detail;
  EXPECT_EQ(total(mask.value()), 39350);
  const auto facts = nlohmann::json::parse(std::ifstream(root / "statistics.json")).at("liver");
  EXPECT_NEAR(millilitres(mask.value()) * 1000, facts.at("volume").get<double>(), 1);
  EXPECT_NEAR(hu_inside(ct, mask.value()).mean, facts.at("intensity").get<double>(), 1e-5);
  const auto labelled = read_mask_file(root / "example_seg.nii.gz", ct, labels({5}));
  ASSERT_TRUE(labelled);
  EXPECT_EQ(total(labelled.value()), 38634);
  EXPECT_NEAR(millilitres(labelled.value()), 1043.12, 0.005);
  EXPECT_NEAR(hu_inside(ct, labelled.value()).mean, 45.29, 0.005);
}

// The crop kept the affine of the full volume: its liver would come to lie 246 mm too low, in the
// pelvis. It ends in full width at its own last slice while the volume goes on.
TEST(MaskFileData, AnAffineThatLiesIsNoMaskOfTheFullVolume) {
  WSP_REQUIRE_TEST_DATA(data);
  const LoadedVolume ct = test::load_only_series(data / kTotal / "example_ct.nii.gz");
  const auto mask = read_mask_file(data / kTotal / "upper_crop_30/liver.nii.gz", ct, {});
  ASSERT_EQ(code_of(mask), "MASK_MISMATCH");
  EXPECT_NE(mask.rejection().detail.find("246 mm"), std::string::npos) << mask.rejection().detail;
}

TEST(MaskFileData, SpineBesideTheLiver) {
  WSP_REQUIRE_TEST_DATA(data);
  const fs::path root = data / "liver/dcmqi_ct3slice_with_dicomseg";
  const LoadedVolume ct = test::load_only_series(root, true);
  const auto liver = read_mask_file(root / "liver_spine_seg.nrrd", ct, {});
  const auto spine = read_mask_file(root / "liver_spine_seg.nrrd", ct, labels({2}));
  const auto alone = read_mask_file(root / "liver_seg.nrrd", ct, {});
  ASSERT_TRUE(liver && spine && alone);
  EXPECT_EQ(test::counts(spine.value()), (std::vector<int>{4135, 4200, 4104}));
  EXPECT_EQ(liver.value().voxels, alone.value().voxels);
}

TEST(MaskFileData, OfAnotherPatient) {
  WSP_REQUIRE_TEST_DATA(data);
  const LoadedVolume ct = test::load_only_series(data / "seg_rt/dcmqi_23x38x3/image");
  EXPECT_EQ(code_of(read_mask_file(data / kTotal / "upper_crop_30/liver.nii.gz", ct, {})),
            "MASK_MISMATCH");
}

TEST(MaskFileData, FilesThatAreNoMask) {
  WSP_REQUIRE_TEST_DATA(data);
  const LoadedVolume ct = test::load_only_series(data / "seg_rt/dcmqi_23x38x3/image");
  for (const char* file :
       {"MANIFEST.md", "nowhere.nii.gz", "seg_rt/dcmqi_23x38x3/image/IMG0001.dcm"}) {
    const auto mask = read_mask_file(data / file, ct, {});
    EXPECT_EQ(code_of(mask), "MASK_UNREADABLE") << file;
    EXPECT_EQ(mask.rejection().detail.find(file), std::string::npos) << mask.rejection().detail;
  }
  int refused = 0;
  for (const auto& entry : fs::recursive_directory_iterator(data / "corrupt"))
    if (is_image_file_name(entry.path())) {
      const auto mask = read_mask_file(entry.path(), ct, {});
      if (mask) continue;
      ++refused;
      EXPECT_TRUE(code_of(mask) == "MASK_UNREADABLE" || code_of(mask) == "MASK_MISMATCH")
          << entry.path();
    }
  EXPECT_GT(refused, 0);
}

// A volume of 8 x 6 x 10 voxels of 2 x 2 x 3 mm and masks on grids of their own.
class MaskFile : public testing::Test {
 protected:
  using Inside = std::function<bool(const Vec3&)>;

  static Geometry grid(std::array<std::int64_t, 3> size, Vec3 spacing, Vec3 origin) {
    Geometry g;
    g.size = size;
    g.spacing_mm = spacing;
    g.origin_mm = origin;
    return g;
  }
  static LoadedVolume volume() {
    LoadedVolume ct;
    Volume& v = ct.volume;
    v.geometry = grid({8, 6, 10}, {2, 2, 3}, {10, 20, 300});
    for (int k = 0; k < 10; ++k) {
      v.z_mm.push_back(300 + 3 * k);
      v.slice_origin_mm.push_back({10, 20, 300.0 + 3 * k});
    }
    v.hu.assign(480, 50);
    return ct;
  }
  /// Write a mask that is `inside` of world positions and read it back.
  Outcome<LiverMask> read(const LoadedVolume& ct, const Geometry& g, const Inside& inside) const {
    std::vector<std::uint8_t> values;
    for (std::int64_t z = 0; z < g.size[2]; ++z)
      for (std::int64_t y = 0; y < g.size[1]; ++y)
        for (std::int64_t x = 0; x < g.size[0]; ++x)
          values.push_back(inside(g.world({static_cast<double>(x), static_cast<double>(y),
                                           static_cast<double>(z)}))
                               ? 1
                               : 0);
    write_nifti(here_.path() / "mask.nii.gz", g, values);
    return read_mask_file(here_.path() / "mask.nii.gz", ct, {});
  }
  static void expect_voxels(const LoadedVolume& ct, const LiverMask& mask, const Inside& inside) {
    std::size_t i = 0;
    for (std::size_t z = 0; z < 10; ++z)
      for (int y = 0; y < 6; ++y)
        for (int x = 0; x < 8; ++x, ++i) {
          const Vec3 p = ct.volume.slice_origin_mm[z] + Vec3{2.0 * x, 2.0 * y, 0};
          EXPECT_EQ(mask.voxels[i] != 0, inside(p)) << x << ' ' << y << ' ' << z;
        }
  }
  test::TemporaryDirectory here_;
};

// Larger at the bottom, so that nothing is symmetric.
constexpr auto kCone = [](const Vec3& p) {
  return std::abs(p[0] - 15.1) + 1.3 * std::abs(p[1] - 23.7) < 6.5 - 0.2 * std::abs(p[2] - 307.2);
};
using Flags = std::vector<Code>;

TEST_F(MaskFile, OnTheSameGridIsTakenAsItIs) {
  const LoadedVolume ct = volume();
  const auto mask = read(ct, ct.volume.geometry, kCone);
  ASSERT_TRUE(mask) << mask.rejection().detail;
  EXPECT_TRUE(mask.value().flags.empty());
  expect_voxels(ct, mask.value(), kCone);
}

TEST_F(MaskFile, OnAFinerLargerGridIsResampledByPosition) {
  const LoadedVolume ct = volume();
  const auto mask = read(ct, grid({40, 40, 80}, {1, 1, 1}, {0, 10, 270}), kCone);
  ASSERT_TRUE(mask) << mask.rejection().detail;
  EXPECT_EQ(mask.value().flags, Flags{Code::MASK_RESAMPLED});
  expect_voxels(ct, mask.value(), kCone);
}

TEST_F(MaskFile, FollowsSlicesOfUnevenSpacing) {
  LoadedVolume ct = volume();
  for (std::size_t k = 6; k < 10; ++k) {  // a hole of three slices
    ct.volume.slice_origin_mm[k][2] += 9;
    ct.volume.z_mm[k] += 9;
  }
  const auto inside = [](const Vec3& p) { return p[0] < 15 && p[2] > 311 && p[2] < 331; };
  const auto mask = read(ct, grid({8, 6, 40}, {2, 2, 1}, {10, 20, 298}), inside);
  ASSERT_TRUE(mask) << mask.rejection().detail;
  expect_voxels(ct, mask.value(), inside);
  // As many slices as the volume has, but evenly spread: not its grid.
  const auto even = read(ct, grid({8, 6, 10}, {2, 2, 4}, {10, 20, 300}), inside);
  ASSERT_TRUE(even) << even.rejection().detail;
  EXPECT_EQ(even.value().flags, Flags{Code::MASK_RESAMPLED});
}

// Thick slices fill their slabs, to half a slice beyond the ends and no further; a border is the
// upper slice's. The truth is an explicit loop.
TEST_F(MaskFile, SlicesOfAnotherDistanceAreSlabs) {
  const LoadedVolume ct = volume();
  const auto box = [](const Vec3& p) { return p[0] > 11 && p[0] < 21 && p[1] > 21 && p[1] < 29; };
  for (const auto& [count, distance, first] :
       {std::tuple{4, 6.0, 306.0}, {3, 6.0, 303.0}, {3, 9.0, 304.5}, {22, 1.0, 303.0}}) {
    // Only the inner slices hold the tips of the liver: nothing is cut.
    const double end = first + distance * (count - 1);
    const auto tapered = [&, first = first](const Vec3& p) {
      const bool tip = p[2] < first + 0.1 || p[2] > end - 0.1;
      return tip ? p[0] == 14 && p[1] == 24 : box(p);
    };
    const auto mask = read(ct, grid({8, 6, count}, {2, 2, distance}, {10, 20, first}), tapered);
    ASSERT_TRUE(mask) << mask.rejection().detail;
    const auto n = test::counts(mask.value());
    for (int k = 0; k < 10; ++k) {
      const double z = 300 + 3 * k;
      int expected = 0;
      for (int i = 0; i < count; ++i) {
        const double from = z - (first + distance * i);
        if (from >= -distance / 2 && from < distance / 2)
          expected = i == 0 || i == count - 1 ? 1 : 5 * 4;
      }
      EXPECT_EQ(n[static_cast<std::size_t>(k)], expected) << distance << ' ' << first << ' ' << k;
    }
  }
}

TEST_F(MaskFile, CroppedRoundTheLiver) {
  const LoadedVolume ct = volume();
  // Ends with the tips of the liver: a whole one, as 3D Slicer exports it.
  const auto tips = [](const Vec3& p) {
    const bool end = p[2] < 304 || p[2] > 322;
    return end ? p[0] == 14 && p[1] == 24 : p[0] > 11 && p[0] < 21 && p[1] > 21 && p[1] < 29;
  };
  const auto whole = read(ct, grid({5, 5, 8}, {2, 2, 3}, {12, 20, 303}), tips);
  ASSERT_TRUE(whole) << whole.rejection().detail;
  EXPECT_EQ(whole.value().flags, Flags{Code::MASK_RESAMPLED});
  EXPECT_EQ(total(whole.value()), 6 * 5 * 4 + 2);
}

TEST_F(MaskFile, CutAtTheEndOfItsFile) {
  const LoadedVolume ct = volume();
  const auto box = [](const Vec3& p) { return p[0] > 11 && p[0] < 21 && p[1] > 21 && p[1] < 29; };
  // Inside the volume: a part of a mask, or one that lies elsewhere.
  for (const double origin : {303.0, 309.0})
    EXPECT_EQ(code_of(read(ct, grid({8, 6, 7}, {2, 2, 3}, {10, 20, origin}), box)), "MASK_MISMATCH")
        << origin;
  EXPECT_EQ(code_of(read(ct, grid({8, 6, 1}, {2, 2, 3}, {10, 20, 309}), box)), "MASK_MISMATCH");
  // Where the volume ends, or beyond: truncated like the volume itself.
  const auto coarse = read(ct, grid({8, 6, 6}, {2, 2, 5}, {10, 20, 301}), box);
  ASSERT_TRUE(coarse) << coarse.rejection().detail;
  EXPECT_EQ(coarse.value().flags, (Flags{Code::MASK_RESAMPLED, Code::LIVER_TRUNCATED}));
  EXPECT_EQ(total(coarse.value()), 10 * 5 * 4);
}

// Where qform and sform turn an axis round, one of them puts the liver to the other side.
TEST_F(MaskFile, WhoseTransformsDisagreeIsFlagged) {
  const LoadedVolume ct = volume();
  ASSERT_TRUE(read(ct, ct.volume.geometry, kCone));
  write_nifti(here_.path() / "mask.nii", ct.volume.geometry, std::vector<std::uint8_t>(480, 1));
  std::fstream file(here_.path() / "mask.nii", std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(252);
  file.write("\1\0", 2);  // qform_code, with the rotation of RAS; the sform says LPS
  file.close();
  const auto mask = read_mask_file(here_.path() / "mask.nii", ct, {});
  ASSERT_TRUE(mask) << mask.rejection().detail;
  EXPECT_EQ(mask.value().flags, Flags{Code::ORIENTATION_CONFLICT});
}

TEST_F(MaskFile, BesideTheVolume) {
  const LoadedVolume ct = volume();
  const auto all = [](const Vec3&) { return true; };
  for (const Vec3& origin : {Vec3{110, 20, 300}, Vec3{10, -80, 300}, Vec3{10, 20, 600}})
    EXPECT_EQ(code_of(read(ct, grid({8, 6, 10}, {2, 2, 3}, origin), all)), "MASK_MISMATCH");
  const auto empty =
      read(ct, grid({8, 6, 10}, {2, 2, 3}, {110, 20, 300}), [](const Vec3&) { return false; });
  ASSERT_EQ(code_of(empty), "NO_LIVER");
  EXPECT_EQ(empty.rejection().detail, "every voxel of the mask file is 0");
}

}  // namespace
}  // namespace wsp

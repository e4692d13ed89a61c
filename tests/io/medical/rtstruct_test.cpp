// RTSTRUCT: the shared data against the IBSI's mask, then contours of our own making.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <numeric>

#include "io/medical/image_file.hpp"
#include "mask_writer.hpp"
#include "support/test_data.hpp"

namespace wsp {
namespace {

namespace fs = std::filesystem;
using test::code_of;
using test::counts;
using test::SmallCt;

MaskOptions named(const std::string& name) {
  MaskOptions options;
  options.liver_roi = {name};
  return options;
}

int total(const LiverMask& mask) {
  return std::accumulate(mask.voxels.begin(), mask.voxels.end(), 0);
}

// True where the 3x3 neighbourhood in the slice holds both values: a voxel of the border.
bool on_border(const LiverMask& mask, std::int64_t x, std::int64_t y, std::int64_t z) {
  const auto slice = mask.slice(z);
  const auto nx = mask.geometry.size[0], ny = mask.geometry.size[1];
  bool any = false, all = true;
  for (std::int64_t b = std::max<std::int64_t>(y - 1, 0); b <= std::min(y + 1, ny - 1); ++b)
    for (std::int64_t a = std::max<std::int64_t>(x - 1, 0); a <= std::min(x + 1, nx - 1); ++a) {
      const bool set = slice[static_cast<std::size_t>(b * nx + a)] != 0;
      any |= set;
      all &= set;
    }
  return any && !all;
}

TEST(RtstructData, AgreesWithTheMaskOfTheIbsiButForItsBorder) {
  WSP_REQUIRE_TEST_DATA(data);
  const fs::path root = data / "seg_rt/ibsi_sts008_ct_rtstruct_nifti";
  const LoadedVolume ct = test::load_only_series(root / "dicom_ct");
  EXPECT_EQ(code_of(read_rtstruct_mask(root / "RS.dcm", ct, {})), "NO_LIVER_SEGMENT");
  const auto read = read_rtstruct_mask(root / "RS.dcm", ct, named("gtv_mass_ct"));
  ASSERT_TRUE(read) << read.rejection().detail;
  const LiverMask& mask = read.value();
  const auto file = read_mask_file(root / "CT_mask.nii.gz", ct, {});
  ASSERT_TRUE(file) << file.rejection().detail;
  const LiverMask& truth = file.value();
  EXPECT_TRUE(truth.flags.empty());  // the same grid, although its voxel axes differ
  EXPECT_EQ(total(truth), 8862);
  const auto mean = [&](const LiverMask& m) {
    double sum = 0;
    for (std::size_t i = 0; i < m.voxels.size(); ++i)
      if (m.voxels[i] != 0) sum += ct.volume.hu[i];
    return sum / total(m);
  };
  EXPECT_NEAR(mean(truth), 39.463, 5e-4);
  EXPECT_NEAR(mean(mask), 39.463, 0.05);

  const auto& size = mask.geometry.size;
  int both = 0, inner = 0;
  for (std::int64_t z = 0; z < size[2]; ++z)
    for (std::int64_t y = 0; y < size[1]; ++y)
      for (std::int64_t x = 0; x < size[0]; ++x) {
        const auto i = static_cast<std::size_t>((z * size[1] + y) * size[0] + x);
        both += mask.voxels[i] & truth.voxels[i];
        if (mask.voxels[i] != truth.voxels[i] && !on_border(truth, x, y, z)) ++inner;
      }
  EXPECT_EQ(inner, 0) << "voxels that differ away from the border";
  EXPECT_GE(2.0 * both / (total(mask) + total(truth)), 0.999);
  const auto slices = [](const LiverMask& m) {
    const auto n = counts(m);
    return std::count_if(n.begin(), n.end(), [](int c) { return c > 0; });
  };
  EXPECT_EQ(slices(mask), 19);
  EXPECT_EQ(slices(truth), 19);
}

TEST(RtstructData, PhantomOfMimCutsItsInnerContourOut) {
  WSP_REQUIRE_TEST_DATA(data);
  const fs::path root = data / "seg_rt/rtstruct_phantom_mim";
  const LoadedVolume ct = test::load_only_series(root);
  ASSERT_EQ(ct.volume.geometry.size, (std::array<std::int64_t, 3>{512, 512, 2}));
  const auto mask = read_rtstruct_mask(root / "rt.dcm", ct, named("ROI-1"));
  ASSERT_TRUE(mask) << mask.rejection().detail;
  // A 24 mm square without the octagon inside it (15 mm wide): area by the shoelace formula.
  const auto n = counts(mask.value());
  EXPECT_EQ(n[1], 0);
  const double pixel = 0.488281 * 0.488281;
  EXPECT_GT(n[0] * pixel, 24 * 24 - 15 * 15 - 12);
  EXPECT_LT(n[0] * pixel, 24 * 24 - 15 * 15 * 0.75 + 12);
  const auto at = [&](double x, double y) {
    const auto column = std::llround((x + 125) / 0.488281),
               row = std::llround((y + 125) / 0.488281);
    return static_cast<int>(mask.value().slice(0)[static_cast<std::size_t>(row * 512 + column)]);
  };
  EXPECT_EQ(at(-39.5, -39.5), 0);  // the hole
  EXPECT_EQ(at(-49.5, -39.5), 1);
  EXPECT_EQ(at(-28.5, -39.5), 1);
  EXPECT_EQ(at(-39.5, -49.5), 1);
  EXPECT_EQ(at(-52, -39.5), 0);
  EXPECT_EQ(at(-26, -39.5), 0);
}

TEST(RtstructData, SlicesThatAreNotThereAreNamed) {
  WSP_REQUIRE_TEST_DATA(data);
  const fs::path root = data / "seg_rt/rtstruct_phantom_mim";
  const LoadedVolume ct = test::load_only_series(root);
  for (const char* file : {"invalid_reference_rt.dcm", "non_existent_reference_rt.dcm"}) {
    const auto mask = read_rtstruct_mask(root / file, ct, named("ROI-1"));
    EXPECT_EQ(code_of(mask), "MASK_BAD_REFERENCE") << file;
    EXPECT_EQ(mask.rejection().detail, "1 of 3 contours lie on no slice of the series") << file;
  }
}

TEST(RtstructData, PydicomsObjectsGiveCodes) {
  WSP_REQUIRE_TEST_DATA(data);
  const LoadedVolume ct = test::load_only_series(data / "seg_rt/rtstruct_phantom_mim");
  const fs::path root = data / "seg_rt/pydicom_rt";
  for (const char* file : {"rtstruct.dcm", "rtplan.dcm", "rtdose.dcm"}) {
    EXPECT_EQ(code_of(read_rtstruct_mask(root / file, ct, {})), "NO_LIVER_SEGMENT") << file;
    EXPECT_EQ(code_of(read_seg_mask(root / file, ct, {})), "NO_LIVER_SEGMENT") << file;
    EXPECT_TRUE(read_mask_references(root / file, true)) << file;
  }
  EXPECT_EQ(code_of(read_rtstruct_mask(root / "rtstruct.dcm", ct, named("patient"))),
            "MASK_BAD_REFERENCE");
  EXPECT_EQ(code_of(read_rtstruct_mask(root / "rtstruct.dcm", ct, named("Isocenter 1"))),
            "NO_LIVER_SEGMENT");
  EXPECT_EQ(code_of(read_rtstruct_mask(data / "MANIFEST.md", ct, {})), "MASK_UNREADABLE");
}

// Contours of our own making on SmallCt; coordinates are voxel indices of a slice.
class Rtstruct : public testing::Test {
 protected:
  using Points = std::vector<std::pair<double, double>>;

  static Points box(double x0, double y0, double x1, double y1) {
    return {{x0, y0}, {x1, y0}, {x1, y1}, {x0, y1}};
  }
  static test::RtContour contour(Points corners, double slice, bool with_source = true) {
    for (auto& [x, y] : corners) {
      x = SmallCt::kX + x * SmallCt::kDx;
      y = SmallCt::kY + y * SmallCt::kDy;
    }
    test::RtContour made;
    made.data = test::points(corners, SmallCt::kZ + slice * SmallCt::kDz);
    if (with_source) made.sources = {SmallCt::sop(std::llround(slice))};
    return made;
  }
  Outcome<LiverMask> read(const std::vector<test::RtContour>& contours,
                          const std::vector<test::RtRoi>& rois = {test::RtRoi{}},
                          const MaskOptions& options = {},
                          const std::function<void(DcmDataset&)>& edit = {}) const {
    test::RtFile file;
    file.edit = edit;
    file.rois = rois;
    file.contours = contours;
    write_rtstruct(here_.path() / "rt.dcm", file);
    return read_rtstruct_mask(here_.path() / "rt.dcm", ct_, options);
  }
  /// One slice as text, '#' inside, a line a row.
  static std::string picture(const Outcome<LiverMask>& mask, std::int64_t z) {
    if (!mask) return code_of(mask);
    std::string text;
    const auto slice = mask.value().slice(z);
    for (std::size_t i = 0; i < slice.size(); ++i) {
      text += slice[i] != 0 ? '#' : '.';
      if ((i + 1) % SmallCt::kColumns == 0) text += '\n';
    }
    return text;
  }

  test::TemporaryDirectory here_;
  LoadedVolume ct_ = SmallCt::load(here_.path() / "ct");
};

constexpr const char* kBox =
    "..........\n"
    ".######...\n"
    ".######...\n"
    ".######...\n"
    ".######...\n"
    ".######...\n"
    "..........\n";
constexpr const char* kRing =
    "..........\n"
    ".######...\n"
    ".#...##...\n"
    ".#...##...\n"
    ".#...##...\n"
    ".######...\n"
    "..........\n";

TEST_F(Rtstruct, PixelCentresInsideAndHolesByXor) {
  const auto mask = read({contour(box(0.6, 0.6, 6.4, 5.4), 1), contour(box(0.6, 0.6, 6.4, 5.4), 3),
                          contour(box(1.6, 1.6, 4.4, 4.4), 3)});
  EXPECT_EQ(picture(mask, 1), kBox);
  EXPECT_EQ(picture(mask, 3), kRing);
  EXPECT_EQ(counts(mask.value()), (std::vector<int>{0, 30, 0, 21, 0}));
}

TEST_F(Rtstruct, KeyholesOfAnyWindingAndXorContours) {
  // Outer border, a channel of no width to the hole, round it, and back.
  Points keyhole{{0.6, 0.6}, {6.4, 0.6}, {6.4, 5.4}, {0.6, 5.4}, {0.6, 3}, {1.6, 3},
                 {1.6, 4.4}, {4.4, 4.4}, {4.4, 1.6}, {1.6, 1.6}, {1.6, 3}, {0.6, 3}};
  EXPECT_EQ(picture(read({contour(keyhole, 2)}), 2), kRing);
  std::reverse(keyhole.begin(), keyhole.end());
  EXPECT_EQ(picture(read({contour(keyhole, 2)}), 2), kRing);
  auto outer = contour(box(0.6, 0.6, 6.4, 5.4), 2), inner = contour(box(1.6, 1.6, 4.4, 4.4), 2);
  outer.type = inner.type = "CLOSEDPLANAR_XOR";
  EXPECT_EQ(picture(read({inner, outer}), 2), kRing);
}

TEST_F(Rtstruct, TheSameContourTwiceIsNoHole) {
  const auto one = contour(box(0.6, 0.6, 6.4, 5.4), 2);
  EXPECT_EQ(picture(read({one, one}), 2), kBox);
}

TEST_F(Rtstruct, BeyondTheImageAndATriangle) {
  EXPECT_EQ(picture(read({contour(box(-50, 3.5, 2.5, 90), 0)}), 0),
            "..........\n..........\n..........\n..........\n###.......\n###.......\n###.......\n");
  EXPECT_EQ(picture(read({contour({{0.5, -0.5}, {8.5, -0.5}, {0.5, 7.5}}, 0)}), 0),
            ".#######..\n.######...\n.#####....\n.####.....\n.###......\n.##.......\n.#........\n");
}

TEST_F(Rtstruct, OpenContoursPointsAndSliversHaveNoArea) {
  auto open = contour(box(0.6, 0.6, 6.4, 5.4), 2);
  open.type = "OPEN_PLANAR";
  EXPECT_EQ(code_of(read({open})), "NO_LIVER_SEGMENT");
  EXPECT_EQ(code_of(read({})), "NO_LIVER_SEGMENT");
  EXPECT_EQ(code_of(read({contour({{1, 1}, {3, 3}}, 2)})), "NO_LIVER_SEGMENT");
  // Beside a closed one they change nothing.
  open.data = contour(box(2, 2, 9, 6), 2).data;
  EXPECT_EQ(picture(read({contour(box(0.6, 0.6, 6.4, 5.4), 2), open}), 2), kBox);
}

TEST_F(Rtstruct, ContoursThatCannotBeRead) {
  const auto with = [&](const std::string& data, int announced = -1) {
    test::RtContour made;
    made.data = data;
    made.announced = announced;
    return code_of(read({contour(box(0.6, 0.6, 6.4, 5.4), 2), made}));
  };
  for (const char* bad : {"nan", "NaN", "inf", "-inf", "1e999", "1,5", "x", "", "1 2", "0x10"})
    EXPECT_EQ(with("-20\\30\\100\\-10\\30\\100\\-10\\" + std::string(bad) + "\\100"),
              "MASK_UNREADABLE")
        << bad;
  EXPECT_EQ(with("-20\\30\\100\\-10\\30\\100\\-10\\40\\100\\5"), "MASK_UNREADABLE");
  EXPECT_EQ(with("-20\\30\\100\\-10\\30\\100\\-10\\40\\100", 4), "MASK_UNREADABLE");
  EXPECT_EQ(with("-20\\30\\100\\-10\\30\\100\\-10\\40\\100", 3), "USED");
  EXPECT_EQ(with("-20\\30\\100\\+1.0e1\\ 30 \\100\\-10\\40\\1E2"), "USED");
}

TEST_F(Rtstruct, SlicesByInstanceAndByPosition) {
  const Points square = box(0.6, 0.6, 6.4, 5.4);
  EXPECT_EQ(picture(read({contour(square, 2, false)}), 2), kBox);
  EXPECT_EQ(picture(read({contour(square, 2.3, false)}), 2), kBox);
  EXPECT_EQ(code_of(read({contour(square, 5, false)})), "MASK_BAD_REFERENCE");
  EXPECT_EQ(code_of(read({contour(square, -0.6, false)})), "MASK_BAD_REFERENCE");
  // One lost contour among good ones is said, not left out.
  EXPECT_EQ(code_of(read({contour(square, 1), contour(square, 9, false)})), "MASK_BAD_REFERENCE");
  auto contradiction = contour(square, 2);
  contradiction.sources = {SmallCt::sop(4)};
  EXPECT_EQ(code_of(read({contradiction})), "MASK_BAD_REFERENCE");
  auto foreign = contour(square, 2);
  foreign.sources = {"9.9.9"};  // another export's names: the position decides
  EXPECT_EQ(picture(read({foreign}), 2), kBox);
  test::RtContour slanted;
  slanted.data = "-20\\30\\100\\-10\\30\\102.5\\-10\\40\\105";
  EXPECT_EQ(code_of(read({slanted})), "MASK_BAD_REFERENCE");
}

// Contours drawn on thinner slices: two planes on one slice would cut each other out by XOR.
TEST_F(Rtstruct, OfPlanesCloserThanTheSlicesTheNearestIsTaken) {
  std::vector<test::RtContour> contours;
  for (int i = 0; i <= 40; ++i)  // 0.25 mm; the box is wider on every plane
    contours.push_back(contour(box(0.6, 0.6, 1.6 + 0.2 * i, 5.4), 0.1 * i, false));
  const auto mask = read(contours);
  ASSERT_TRUE(mask) << mask.rejection().detail;
  EXPECT_EQ(counts(mask.value()), (std::vector<int>{5, 15, 25, 35, 45}));
  EXPECT_EQ(mask.value().flags, std::vector<Code>{Code::MASK_RESAMPLED});
  // Some planes absent.
  contours.erase(contours.begin() + 7, contours.begin() + 9);
  EXPECT_EQ(code_of(read(contours)), "USED");
  // Irregular planes on one slice are not mixed.
  EXPECT_EQ(code_of(read({contours[0], contours[10], contours[13], contours[20]})),
            "MASK_BAD_REFERENCE");
}

TEST_F(Rtstruct, ContoursOfOneSliceThatDifferByTenthsAreOnePlane) {
  const auto mask = read(
      {contour(box(0.6, 0.6, 2.4, 5.4), 2, false), contour(box(4.6, 0.6, 6.4, 5.4), 2.09, false)});
  ASSERT_TRUE(mask) << mask.rejection().detail;
  EXPECT_EQ(counts(mask.value())[2], 20);
}

// ContourData above 64 KiB has no place in explicit VR but as UN.
TEST_F(Rtstruct, LongContoursAreReadAsUn) {
  Points around;
  for (int i = 0; i < 4000; ++i) {
    const double along = 1e-3 * i;
    if (i < 1000)
      around.emplace_back(0.6 + 5.8 * along, 0.6);
    else if (i < 2000)
      around.emplace_back(6.4, 0.6 + 4.8 * (along - 1));
    else if (i < 3000)
      around.emplace_back(6.4 - 5.8 * (along - 2), 5.4);
    else
      around.emplace_back(0.6, 5.4 - 4.8 * (along - 3));
  }
  auto one = contour(around, 2);
  ASSERT_GT(one.data.size(), 65536U);
  const auto as_un = [](DcmDataset& d) {
    DcmItem& contour =
        test::sequence_item(test::sequence_item(d, DCM_ROIContourSequence), DCM_ContourSequence);
    const char* value = nullptr;
    ASSERT_TRUE(contour.findAndGetString(DCM_ContourData, value).good());
    std::string text = value;
    if (text.size() % 2 != 0) text += ' ';
    contour.findAndDeleteElement(DCM_ContourData);
    auto* element = new DcmOtherByteOtherWord(DcmTag(DCM_ContourData, EVR_UN));
    ASSERT_TRUE(element
                    ->putUint8Array(reinterpret_cast<const Uint8*>(text.data()),
                                    static_cast<unsigned long>(text.size()))
                    .good());
    ASSERT_TRUE(contour.insert(element).good());
  };
  EXPECT_EQ(picture(read({one}, {test::RtRoi{}}, {}, as_un), 2), kBox);
}

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

TEST_F(Rtstruct, WhichRoi) {
  const auto small = [&](int roi) {
    auto made = contour(box(0.6, 0.6, 3.4, 3.4), 2);
    made.roi = roi;
    return made;
  };
  const auto large = [&](int roi) {
    auto made = contour(box(0.6, 0.6, 6.4, 5.4), 2);
    made.roi = roi;
    return made;
  };
  const auto size = [](const Outcome<LiverMask>& mask) {
    return mask ? std::to_string(total(mask.value())) : code_of(mask);
  };
  const std::vector<test::RtContour> both{small(1), large(2)};
  EXPECT_EQ(size(read(both, {{1, "Liver-GTV", "", ""}, {2, "LIVER", "", ""}})), "30");
  EXPECT_EQ(size(read(both, {{1, "Liver", "", ""}, {2, "A", "SCT", "10200004"}})), "30");
  EXPECT_EQ(size(read(both, {{1, "Liver", "", ""}, {2, "LIVER ", "", ""}})), "MASK_AMBIGUOUS");
  EXPECT_EQ(size(read(both, {{1, "A", "SRT", "T-62000"}, {2, "B", "SCT", "10200004"}})),
            "MASK_AMBIGUOUS");
  EXPECT_EQ(size(read(both, {{1, "Spleen", "", ""}, {2, "Organ", "", ""}})), "NO_LIVER_SEGMENT");
  EXPECT_EQ(size(read(both, {{1, "Spleen", "", ""}, {2, "Organ", "", ""}}, named("spleen"))), "9");
}

TEST_F(Rtstruct, ReferencesForTheScan) {
  ASSERT_TRUE(read({contour(box(0, 0, 3, 3), 3), contour(box(0, 0, 3, 3), 1)}));
  const auto references = read_mask_references(here_.path() / "rt.dcm", true);
  ASSERT_TRUE(references);
  EXPECT_TRUE(references.value().is_rtstruct);
  EXPECT_EQ(references.value().sop_instance_uids,
            (std::vector<std::string>{SmallCt::sop(1), SmallCt::sop(3)}));
  EXPECT_FALSE(read_mask_references(here_.path() / "nowhere", true));
}

}  // namespace
}  // namespace wsp

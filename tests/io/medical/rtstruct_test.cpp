// RTSTRUCT: contours of our own making, on slices.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "io/medical/image_file.hpp"
#include "mask_writer.hpp"
#include "support/test_data.hpp"

namespace wsp {
namespace {

using test::code_of;
using test::counts;
using test::named;
using test::SmallCt;
using test::total;

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

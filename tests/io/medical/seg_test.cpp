// DICOM SEG objects of our own making.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "mask_writer.hpp"
#include "support/test_data.hpp"

namespace wsp {
namespace {

namespace fs = std::filesystem;
using test::code_of;
using test::SmallCt;

MaskOptions named(const std::string& name) {
  MaskOptions options;
  options.liver_roi = {name};
  return options;
}

class Seg : public testing::Test {
 protected:
  static constexpr std::size_t kPixels = SmallCt::kColumns * SmallCt::kRows;

  /// Pixels of slice k: no symmetry, a different number in each slice.
  static std::vector<int> shape(std::int64_t k) {
    std::vector<int> pixels(kPixels, 0);
    for (std::size_t i = 0; i < 3 + 5 * static_cast<std::size_t>(k); ++i)
      pixels[11 + 2 * i % 59] = 1;
    return pixels;
  }
  static test::SegFile file(const std::vector<std::int64_t>& slices) {
    test::SegFile seg;
    for (const std::int64_t k : slices)
      seg.frames.push_back({SmallCt::origin(k), 1, shape(k), {SmallCt::sop(k)}});
    return seg;
  }
  static std::vector<std::uint8_t> truth(const std::vector<std::int64_t>& slices) {
    std::vector<std::uint8_t> voxels(kPixels * SmallCt::kSlices, 0);
    for (const std::int64_t k : slices) {
      const auto pixels = shape(k);
      std::copy(pixels.begin(), pixels.end(),
                voxels.begin() + static_cast<std::ptrdiff_t>(kPixels) * k);
    }
    return voxels;
  }
  Outcome<LiverMask> read(const test::SegFile& seg, const MaskOptions& options = {},
                          E_TransferSyntax syntax = EXS_LittleEndianExplicit) const {
    write_seg(here_.path() / "seg.dcm", seg, syntax);
    return read_seg_mask(here_.path() / "seg.dcm", ct_, options);
  }
  void expect(const test::SegFile& seg, const std::vector<std::uint8_t>& voxels) const {
    const auto mask = read(seg);
    ASSERT_TRUE(mask) << mask.rejection().detail;
    EXPECT_EQ(mask.value().voxels, voxels);
  }

  test::TemporaryDirectory here_;
  LoadedVolume ct_ = SmallCt::load(here_.path() / "ct");
};

TEST_F(Seg, FramesOutOfOrderAndAbsentOnes) {
  expect(file({0, 1, 2, 3, 4}), truth({0, 1, 2, 3, 4}));
  expect(file({4, 0, 3}), truth({0, 3, 4}));
  const auto none = read(file({}));
  EXPECT_EQ(code_of(none), "MASK_UNREADABLE");
}

TEST_F(Seg, PlacesByPositionWhereNoInstanceIsReferenced) {
  auto seg = file({3, 1});
  for (auto& frame : seg.frames) frame.sources.clear();
  expect(seg, truth({1, 3}));
  for (auto& frame : seg.frames) frame.position[2] += 0.0049;  // rounded to two decimals
  expect(seg, truth({1, 3}));
  for (auto& frame : seg.frames) frame.position[2] += 0.1;
  EXPECT_EQ(code_of(read(seg)), "MASK_BAD_REFERENCE");
}

TEST_F(Seg, InstanceAndPositionThatContradictEachOther) {
  auto seg = file({2});
  seg.frames[0].sources = {SmallCt::sop(0)};
  EXPECT_EQ(code_of(read(seg)), "MASK_BAD_REFERENCE");
}

TEST_F(Seg, OneInstanceReferencedByAllFramesOrAllByEach) {
  std::vector<std::string> all;
  for (std::int64_t k = 0; k < SmallCt::kSlices; ++k) all.push_back(SmallCt::sop(k));
  auto seg = file({4, 1});
  for (auto& frame : seg.frames) frame.sources = all;
  expect(seg, truth({1, 4}));
}

TEST_F(Seg, SegmentNumberInTheSharedGroup) {
  auto seg = file({0, 2});
  seg.shared_segment = true;
  expect(seg, truth({0, 2}));
}

TEST_F(Seg, OrientationsOfItsOwn) {
  auto seg = file({1, 3});
  // Turned by half a turn: starts at the far corner, pixels from the end.
  seg.row = {-1, 0, 0};
  seg.column = {0, -1, 0};
  for (auto& frame : seg.frames) {
    std::reverse(frame.pixels.begin(), frame.pixels.end());
    frame.position[0] += SmallCt::kDx * (SmallCt::kColumns - 1);
    frame.position[1] += SmallCt::kDy * (SmallCt::kRows - 1);
  }
  expect(seg, truth({1, 3}));
  // Rows and columns exchanged.
  seg = file({1, 3});
  seg.row = {0, 1, 0};
  seg.column = {1, 0, 0};
  std::swap(seg.dx, seg.dy);
  std::swap(seg.rows, seg.columns);
  for (auto& frame : seg.frames) {
    const auto pixels = frame.pixels;
    for (std::int64_t y = 0; y < SmallCt::kRows; ++y)
      for (std::int64_t x = 0; x < SmallCt::kColumns; ++x)
        frame.pixels[static_cast<std::size_t>(x * SmallCt::kRows + y)] =
            pixels[static_cast<std::size_t>(y * SmallCt::kColumns + x)];
  }
  expect(seg, truth({1, 3}));
  // Coronal frames have no slice.
  seg = file({1});
  seg.column = {0, 0, -1};
  EXPECT_EQ(code_of(read(seg)), "MASK_BAD_REFERENCE");
}

TEST_F(Seg, OfACtWhoseRowsRunBackwards) {
  const auto turned = [](test::DicomSlice& s) {
    s.row_axis = {-1, 0, 0};
    s.column_axis = {0, -1, 0};
  };
  const LoadedVolume ct = SmallCt::load(here_.path() / "turned", turned);
  auto seg = file({0, 4});
  seg.row = {-1, 0, 0};
  seg.column = {0, -1, 0};
  write_seg(here_.path() / "seg.dcm", seg);
  const auto mask = read_seg_mask(here_.path() / "seg.dcm", ct, {});
  ASSERT_TRUE(mask) << mask.rejection().detail;
  // The canonical volume starts at the last pixel of the file's rows.
  auto expected = truth({0, 4});
  for (std::size_t k = 0; k < 5; ++k)
    std::reverse(expected.begin() + static_cast<std::ptrdiff_t>(k * kPixels),
                 expected.begin() + static_cast<std::ptrdiff_t>((k + 1) * kPixels));
  EXPECT_EQ(mask.value().voxels, expected);
}

TEST_F(Seg, ACroppedGridAndOneOutsideTheImage) {
  auto seg = file({2});
  seg.columns = 4;
  seg.rows = 3;
  seg.frames[0].position[0] += 3 * SmallCt::kDx;
  seg.frames[0].position[1] += 2 * SmallCt::kDy;
  seg.frames[0].pixels = {1, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0};
  std::vector<std::uint8_t> expected(kPixels * 5, 0);
  for (const std::size_t i : {2 * 10 + 3, 2 * 10 + 6, 4 * 10 + 4}) expected[2 * kPixels + i] = 1;
  expect(seg, expected);
  seg.frames[0].position[0] += 500;
  EXPECT_EQ(code_of(read(seg)), "MASK_BAD_REFERENCE");
}

TEST_F(Seg, FractionalFromOneHalfAndLabelmapsOfBothWidths) {
  auto seg = file({2});
  seg.type = "FRACTIONAL";
  seg.bits = 8;
  seg.maximum = 200;
  std::fill(seg.frames[0].pixels.begin(), seg.frames[0].pixels.end(), 99);
  seg.frames[0].pixels[5] = 100;
  seg.frames[0].pixels[60] = 200;
  std::vector<std::uint8_t> expected(kPixels * 5, 0);
  expected[2 * kPixels + 5] = expected[2 * kPixels + 60] = 1;
  expect(seg, expected);
  seg.maximum = 255;  // 127 of 255 is less than a half
  seg.frames[0].pixels[5] = 127;
  seg.frames[0].pixels[60] = 128;
  expected[2 * kPixels + 5] = 0;
  expect(seg, expected);
  for (const int bits : {8, 16}) {
    auto map = file({2});
    map.type = "LABELMAP";
    map.bits = bits;
    const int liver = bits == 8 ? 3 : 300;
    map.segments[0].number = liver;
    map.segments.push_back({liver - 1, "Spleen", "SCT", "78961009", ""});
    for (int& v : map.frames[0].pixels) v = v != 0 ? liver : liver - 1;
    expect(map, truth({2}));
  }
}

TEST_F(Seg, BigEndianDeflatedAndImplicit) {
  for (const auto syntax :
       {EXS_BigEndianExplicit, EXS_DeflatedLittleEndianExplicit, EXS_LittleEndianImplicit}) {
    const auto mask = read(file({0, 1, 4}), {}, syntax);
    ASSERT_TRUE(mask) << mask.rejection().detail;
    EXPECT_EQ(mask.value().voxels, truth({0, 1, 4})) << DcmXfer(syntax).getXferName();
  }
}

TEST_F(Seg, WhichSegment) {
  const test::SegSegment liver{1, "Organ A", "SCT", "10200004", ""};
  const test::SegSegment older{2, "Organ B", "SRT", "T-62000", ""};
  const test::SegSegment by_name{2, "Liver", "99X", "1", ""};
  const test::SegSegment tumour{3, "liver tumor", "99X", "2", ""};
  const auto code = [&](const std::vector<test::SegSegment>& segments, const MaskOptions& options) {
    auto seg = file({1});
    seg.segments = segments;
    for (auto& frame : seg.frames) frame.segment = segments.front().number;
    const auto mask = read(seg, options);
    return mask ? std::to_string(
                      std::accumulate(mask.value().voxels.begin(), mask.value().voxels.end(), 0))
                : code_of(mask);
  };
  EXPECT_EQ(code({liver}, {}), "8");
  EXPECT_EQ(code({older}, {}), "8");
  EXPECT_EQ(code({liver, older}, {}), "MASK_AMBIGUOUS");
  EXPECT_EQ(code({liver, older}, named("organ a")), "8");
  EXPECT_EQ(code({liver, by_name}, {}), "8");  // the code says more than the name
  EXPECT_EQ(code({by_name, tumour}, {}), "8");
  EXPECT_EQ(code({by_name, {4, "LIVER", "99X", "1", ""}}, {}), "MASK_AMBIGUOUS");
  EXPECT_EQ(code({tumour}, {}), "NO_LIVER_SEGMENT");
  EXPECT_EQ(code({tumour}, named("liver tumor")), "8");
  EXPECT_EQ(code({{1, "Delivered dose", "99X", "1", ""}}, {}), "NO_LIVER_SEGMENT");
  EXPECT_EQ(code({{1, "Organ", "SRT", "10200004", ""}}, {}), "NO_LIVER_SEGMENT");
  EXPECT_EQ(code({{1, "CT-Liver v2", "99X", "1", ""}}, named("ct-liver V2")), "8");
  EXPECT_EQ(code({{1, "Organ", "99X", "1", "Liver"}}, {}), "8");  // by its description
  EXPECT_EQ(code({{1, "Liver", "99X", "1", ""}, {2, "Organ", "99X", "1", "liver"}}, {}), "8");
}

TEST_F(Seg, NamesThatAreTheLiverAndNamesThatHoldTheWord) {
  const auto code = [&](const std::string& label, const std::string& wanted) {
    auto seg = file({1});
    seg.edit = [](DcmDataset& d) { test::put_text(d, DCM_SpecificCharacterSet, "ISO_IR 192"); };
    seg.segments = {{1, label, "99X", "1", ""}};
    return code_of(read(seg, named(wanted)));
  };
  for (const char* name : {"Liver", "LIVER", " liver ", "liver_", "Whole Liver", "WHOLE_LIVER",
                           "whole-liver", "Liver_Total", "Liver, NOS"})
    EXPECT_EQ(code(name, "liver"), "USED") << name;
  for (const char* name : {"non-liver",
                           "Non liver",
                           "Liver_PRV5",
                           "zLiver",
                           "Liver artery",
                           "liver tumor",
                           "Liver-GTV",
                           "Liver-CTV",
                           "Normal Liver",
                           "Liver minus GTV",
                           "liver_lesion",
                           "liver right lobe",
                           "Liver_1",
                           "Liver2",
                           "Liver 5mm",
                           "Uninvolved liver",
                           "liver vessels",
                           "caudate",
                           "Delivered",
                           "Liver ring",
                           "extrahepatic liver",
                           "Leber"})
    EXPECT_EQ(code(name, "liver"), "NO_LIVER_SEGMENT") << name;
  // Other languages by name: whole, in any case.
  EXPECT_EQ(code("LEBER", "Leber"), "USED");
  EXPECT_EQ(code("Leber Tumor", "Leber"), "NO_LIVER_SEGMENT");
  EXPECT_EQ(code("HÍGADO", "hígado"), "USED");
  EXPECT_EQ(code("fígado", "FÍGADO"), "USED");
  EXPECT_EQ(code("WĄTROBA", "wątroba"), "USED");
  EXPECT_EQ(code("Печень", "ПЕЧЕНЬ"), "USED");
  EXPECT_EQ(code("ΉΠΑΡ", "Ήπαρ"), "USED");
  EXPECT_EQ(code("Liver", "Leber"), "NO_LIVER_SEGMENT");
  EXPECT_EQ(code("Liver", ""), "NO_LIVER_SEGMENT");
}

TEST_F(Seg, OfAnotherOrganItsOwnCodeAndNames) {
  MaskOptions options = named("lymph node");
  options.organ.name = "lymph node";
  options.organ.codes = {{"SCT", "59441001"}};
  const auto code = [&](const test::SegSegment& segment) {
    auto seg = file({1});
    seg.segments = {segment};
    return code_of(read(seg, options));
  };
  EXPECT_EQ(code({1, "A", "SCT", "59441001", ""}), "USED");
  EXPECT_EQ(code({1, "A", "SCT", "10200004", ""}), "NO_LIVER_SEGMENT");  // a liver
  for (const char* name : {"Lymph Node", "lymph_node", "Whole lymph-node", "Lymph node, NOS"})
    EXPECT_EQ(code({1, name, "99X", "1", ""}), "USED") << name;
  for (const char* name : {"Liver", "lymph node level 2", "lymph", "node"})
    EXPECT_EQ(code({1, name, "99X", "1", ""}), "NO_LIVER_SEGMENT") << name;
}

TEST_F(Seg, WhatItSaysOfNamesIsACount) {
  auto seg = file({1});
  seg.segments = {{1, "Jane Doe non-liver", "99X", "1", ""}, {2, "Spleen", "99X", "1", ""}};
  const auto mask = read(seg);
  ASSERT_EQ(code_of(mask), "NO_LIVER_SEGMENT");
  EXPECT_EQ(mask.rejection().detail,
            "none of 2 is coded or named liver; the word is in the names of 1: if one is the whole "
            "liver, give its full name to --liver-roi");
}

TEST_F(Seg, ACodedPartOrLesionIsNotTheLiver) {
  const auto code = [&](const std::function<void(DcmItem&)>& edit) {
    auto seg = file({1});
    seg.edit = [&](DcmDataset& d) { edit(test::sequence_item(d, DCM_SegmentSequence)); };
    return code_of(read(seg));
  };
  EXPECT_EQ(code([](DcmItem& segment) {
              test::put_code(segment, DCM_SegmentedPropertyCategoryCodeSequence, "SCT",
                             "123037004");  // anatomical structure
            }),
            "USED");
  EXPECT_EQ(code([](DcmItem& segment) {
              test::put_code(segment, DCM_SegmentedPropertyCategoryCodeSequence, "SCT",
                             "49755003");  // morphologically abnormal structure
            }),
            "NO_LIVER_SEGMENT");
  EXPECT_EQ(code([](DcmItem& segment) {
              test::put_code(test::sequence_item(segment, DCM_SegmentedPropertyTypeCodeSequence),
                             DCM_SegmentedPropertyTypeModifierCodeSequence, "SCT",
                             "24028007");  // right
            }),
            "NO_LIVER_SEGMENT");
}

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

TEST_F(Seg, HeadersThatLie) {
  const auto code = [&](const std::function<void(DcmDataset&)>& edit) {
    auto seg = file({0, 1, 2});
    seg.edit = edit;
    return code_of(read(seg));
  };
  const auto set = [](const DcmTagKey& tag, Uint16 value) {
    return [tag, value](DcmDataset& d) { d.putAndInsertUint16(tag, value); };
  };
  EXPECT_EQ(code([](DcmDataset&) {}), "USED");
  EXPECT_EQ(code([](DcmDataset& d) { d.findAndDeleteElement(DCM_PixelData); }), "MASK_UNREADABLE");
  EXPECT_EQ(code([](DcmDataset& d) {
              const std::vector<Uint8> few(20, 0xFF);
              d.putAndInsertUint8Array(DCM_PixelData, few.data(), 20);
            }),
            "MASK_UNREADABLE");
  for (const char* count : {"2", "4", "-1", "0", "1e300"})
    EXPECT_EQ(code([&](DcmDataset& d) { test::put_text(d, DCM_NumberOfFrames, count); }),
              "MASK_UNREADABLE")
        << count;
  EXPECT_EQ(code(set(DCM_Rows, 0)), "MASK_UNREADABLE");
  EXPECT_EQ(code(set(DCM_Rows, 65535)), "MASK_UNREADABLE");
  EXPECT_EQ(code(set(DCM_BitsAllocated, 12)), "MASK_UNREADABLE");
  EXPECT_EQ(code([](DcmDataset& d) { test::put_text(d, DCM_SegmentationType, "SURFACE"); }),
            "MASK_UNREADABLE");
  EXPECT_EQ(code([](DcmDataset& d) { d.findAndDeleteElement(DCM_SharedFunctionalGroupsSequence); }),
            "MASK_BAD_REFERENCE");
  for (const char* spacing : {"0\\0", "-2\\3", "nan\\1", "2"})
    EXPECT_EQ(code([&](DcmDataset& d) {
                test::put_text(
                    test::sequence_item(test::sequence_item(d, DCM_SharedFunctionalGroupsSequence),
                                        DCM_PixelMeasuresSequence),
                    DCM_PixelSpacing, spacing);
              }),
              "MASK_BAD_REFERENCE")
        << spacing;
}

TEST_F(Seg, ReferencesForTheScan) {
  auto seg = file({3, 1});
  seg.edit = [](DcmDataset& d) {
    test::put_text(test::sequence_item(d, DCM_ReferencedSeriesSequence), DCM_SeriesInstanceUID,
                   "1.2.3");
  };
  write_seg(here_.path() / "seg.dcm", seg);
  const auto references = read_mask_references(here_.path() / "seg.dcm", false);
  ASSERT_TRUE(references);
  EXPECT_EQ(references.value().series_uids, std::vector<std::string>{"1.2.3"});
  EXPECT_EQ(references.value().sop_instance_uids,
            (std::vector<std::string>{SmallCt::sop(1), SmallCt::sop(3)}));
  EXPECT_FALSE(references.value().is_rtstruct);
}

}  // namespace
}  // namespace wsp

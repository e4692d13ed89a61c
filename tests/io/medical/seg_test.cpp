// DICOM SEG objects of our own making: where their frames lie and what they hold.
#include <gtest/gtest.h>

#include <algorithm>

#include "mask_writer.hpp"
#include "seg_support.hpp"

namespace wsp {
namespace {

using test::code_of;
using test::Seg;
using test::SmallCt;

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

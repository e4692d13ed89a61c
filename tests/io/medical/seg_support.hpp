#pragma once
#include <gtest/gtest.h>

#include <algorithm>

#include "mask_writer.hpp"
#include "support/test_data.hpp"

/// What the tests of SEG objects share.
namespace wsp::test {

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

}  // namespace wsp::test

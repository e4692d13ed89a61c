// DICOM SEG: the shared data entry by entry, against NRRD truth and pydicom's pixels.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "dicom_writer.hpp"
#include "medical_support.hpp"
#include "support/test_data.hpp"

namespace wsp {
namespace {

namespace fs = std::filesystem;
using test::code_of;
using test::counts;
using test::named;

double mean_hu(const LoadedVolume& ct, const LiverMask& mask, std::int64_t z) {
  double sum = 0;
  int n = 0;
  for (std::size_t i = 0; i < mask.slice(z).size(); ++i)
    if (mask.slice(z)[i] != 0) {
      sum += ct.volume.slice(z)[i];
      ++n;
    }
  return sum / n;
}

// Every frame of a segment as pydicom unpacks it, at its place; all other slices empty.
void expect_pydicoms_pixels(const fs::path& seg, int number, const LoadedVolume& ct,
                            const LiverMask& mask, int least) {
  const test::TemporaryDirectory here;
  const fs::path out = here.path() / "frames";
  if (!test::run_python("io/medical/mask_frames.py " + seg.string() + " " + std::to_string(number) +
                        " " + out.string()))
    GTEST_SKIP() << "no Python with pydicom";
  std::ifstream stream(out, std::ios::binary);
  const auto pixels = static_cast<std::size_t>(mask.geometry.slice_voxels());
  std::vector<std::uint8_t> expected(mask.voxels.size(), 0), frame(pixels);
  double z = 0;
  int frames = 0;
  while (stream.read(reinterpret_cast<char*>(&z), sizeof z) &&
         stream.read(reinterpret_cast<char*>(frame.data()), static_cast<std::streamsize>(pixels))) {
    ++frames;
    for (std::size_t k = 0; k < ct.volume.z_mm.size(); ++k)
      if (std::abs(ct.volume.z_mm[k] - z) < 0.011)
        for (std::size_t i = 0; i < pixels; ++i)
          expected[k * pixels + i] = frame[i] >= least ? 1 : 0;
  }
  EXPECT_GT(frames, 0);
  EXPECT_EQ(mask.voxels, expected);
}

TEST(SegData, LiverOfThreeSlicesEqualsItsNrrd) {
  WSP_REQUIRE_TEST_DATA(data);
  const fs::path root = data / "liver/dcmqi_ct3slice_with_dicomseg";
  const LoadedVolume ct = test::load_only_series(root, true);
  const auto mask = read_seg_mask(root / "liver.dcm", ct, {});
  ASSERT_TRUE(mask) << mask.rejection().detail;
  EXPECT_EQ(counts(mask.value()), (std::vector<int>{36233, 35645, 35220}));
  EXPECT_NEAR(mean_hu(ct, mask.value(), 0), 40.5, 0.05);
  EXPECT_NEAR(mean_hu(ct, mask.value(), 1), 38.4, 0.05);
  EXPECT_NEAR(mean_hu(ct, mask.value(), 2), 33.0, 0.05);
  const auto nrrd = read_mask_file(root / "liver_seg.nrrd", ct, {});
  ASSERT_TRUE(nrrd) << nrrd.rejection().detail;
  EXPECT_EQ(nrrd.value().voxels, mask.value().voxels);
  EXPECT_TRUE(nrrd.value().flags.empty());
  expect_pydicoms_pixels(root / "liver.dcm", 1, ct, mask.value(), 1);
}

TEST(SegData, FramesThatEndInsideAByte) {
  WSP_REQUIRE_TEST_DATA(data);
  const fs::path root = data / "seg_rt/dcmqi_23x38x3";
  for (const char* images : {"image", "multiframe"}) {
    SCOPED_TRACE(images);
    const LoadedVolume ct = test::load_only_series(root / images);
    ASSERT_EQ(ct.volume.geometry.size, (std::array<std::int64_t, 3>{23, 38, 3}));
    const auto mask = read_seg_mask(root / "seg/label.seg", ct, {});
    ASSERT_TRUE(mask) << mask.rejection().detail;
    EXPECT_EQ(counts(mask.value()), (std::vector<int>{4, 314, 4}));
    const auto nrrd = read_mask_file(root / "nrrd/label.nrrd", ct, {});
    ASSERT_TRUE(nrrd) << nrrd.rejection().detail;
    EXPECT_EQ(nrrd.value().voxels, mask.value().voxels);
    expect_pydicoms_pixels(root / "seg/label.seg", 1, ct, mask.value(), 1);
  }
}

TEST(SegData, SparseLabelmapLeavesItsMiddleSliceEmpty) {
  WSP_REQUIRE_TEST_DATA(data);
  const fs::path root = data / "seg_rt/dcmqi_labelmap";
  const test::TemporaryDirectory here;
  // No CT of this grid is at hand: one of our own.
  for (int k = 0; k < 3; ++k) {
    test::DicomSlice s;
    s.columns = 24;
    s.rows = 38;
    s.pixel_x_mm = s.pixel_y_mm = 0.7;
    s.position = {46.464901, 5.0188098, -177.75 + 2.5 * k};
    s.sop_uid = "1.2.3.4." + std::to_string(k + 1);
    s.pixels = test::constant_pixels(s, k);
    write_dicom(here.path() / std::to_string(k), s);
  }
  const LoadedVolume ct = test::load_only_series(here.path());
  const auto mask = read_seg_mask(root / "sparse-labelmap-noppv.dcm", ct, {});
  ASSERT_TRUE(mask) << mask.rejection().detail;
  EXPECT_EQ(counts(mask.value()), (std::vector<int>{315, 0, 315}));
  const auto nrrd = read_mask_file(root / "sparse_labelmap_noppv_seg.nrrd", ct, {});
  ASSERT_TRUE(nrrd) << nrrd.rejection().detail;
  EXPECT_EQ(nrrd.value().voxels, mask.value().voxels);
}

TEST(SegData, HighdicomsObjectsByNameOfTheSegment) {
  WSP_REQUIRE_TEST_DATA(data);
  const LoadedVolume ct =
      test::load_only_series(data / "dicomdir/pydicom_dicomdirtests/77654033/CT2");
  ASSERT_EQ(ct.volume.geometry.size, (std::array<std::int64_t, 3>{16, 16, 4}));
  const fs::path root = data / "seg_rt/highdicom_seg";
  for (const char* name : {"binary", "binary_overlap", "binary_fractional"})
    EXPECT_EQ(code_of(read_seg_mask(root / ("seg_image_ct_" + std::string(name) + ".dcm"), ct, {})),
              "NO_LIVER_SEGMENT")
        << name;
  struct Case {
    const char *file, *segment;
    int number;
    std::vector<int> counts;
    int least;
  };
  for (const Case& c : {Case{"binary", "first segment", 1, {0, 127, 256, 255}, 1},
                        Case{"binary_overlap", "first segment", 1, {16, 16, 16, 16}, 1},
                        Case{"binary_overlap", "SECOND segment", 2, {4, 4, 4, 4}, 1},
                        Case{"binary_fractional", "first segment", 1, {0, 127, 256, 255}, 128}}) {
    SCOPED_TRACE(c.file);
    const fs::path path = root / ("seg_image_ct_" + std::string(c.file) + ".dcm");
    const auto mask = read_seg_mask(path, ct, named(c.segment));
    ASSERT_TRUE(mask) << mask.rejection().detail;
    EXPECT_EQ(counts(mask.value()), c.counts);
    expect_pydicoms_pixels(path, c.number, ct, mask.value(), c.least);
  }
  const auto part = read_seg_mask(root / "seg_image_ct_binary_overlap.dcm", ct, named("segment"));
  ASSERT_EQ(code_of(part), "NO_LIVER_SEGMENT");  // a name is named whole
  EXPECT_NE(part.rejection().detail.find("in the names of 2"), std::string::npos)
      << part.rejection().detail;
}

TEST(SegData, OfAnotherPatientIsABadReference) {
  WSP_REQUIRE_TEST_DATA(data);
  const LoadedVolume ct = test::load_only_series(data / "seg_rt/dcmqi_23x38x3/image");
  EXPECT_EQ(code_of(read_seg_mask(data / "liver/dcmqi_ct3slice_with_dicomseg/liver.dcm", ct, {})),
            "MASK_BAD_REFERENCE");
}

TEST(SegData, OtherFilesAreNoMask) {
  WSP_REQUIRE_TEST_DATA(data);
  const LoadedVolume ct = test::load_only_series(data / "seg_rt/dcmqi_23x38x3/image");
  EXPECT_EQ(code_of(read_seg_mask(data / "MANIFEST.md", ct, {})), "MASK_UNREADABLE");
  EXPECT_EQ(code_of(read_seg_mask(data / "nowhere", ct, {})), "MASK_UNREADABLE");
  EXPECT_EQ(code_of(read_seg_mask(data / "seg_rt/dcmqi_23x38x3/image/IMG0001.dcm", ct, {})),
            "NO_LIVER_SEGMENT");
}

}  // namespace
}  // namespace wsp

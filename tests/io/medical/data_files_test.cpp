// Which files of an export a volume is read from, what becomes of those that no header names, and
// that every way of writing one volume gives the same one.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>

#include "io/core/hash.hpp"
#include "io/medical/image_file.hpp"
#include "io/medical/masks.hpp"
#include "support/test_data.hpp"

namespace wsp {
namespace {

namespace fs = std::filesystem;

class DataFiles : public testing::Test {
 protected:
  void put(const std::string& name, const std::string& text) const {
    fs::create_directories((here_.path() / name).parent_path());
    std::ofstream(here_.path() / name, std::ios::binary) << text;
  }
  static std::string voxels(char first = 0) {
    std::string bytes(static_cast<std::size_t>(12 * 4 * 4 * 2), '\0');
    bytes[0] = first;
    return bytes;
  }
  static std::string nhdr(const std::string& data, const std::string& space = "LPS") {
    return "NRRD0004\ntype: short\ndimension: 3\nsizes: 4 4 12\nendian: little\nencoding: raw\n"
           "space: " +
           space +
           "\nspace directions: (1,0,0) (0,1,0) (0,0,1)\n"
           "space origin: (0,0,0)\ndata file: " +
           data + "\n";
  }
  // A pair, by taking a single file apart.
  void put_pair(const std::string& header, const std::string& image) const {
    Geometry g;
    g.size = {4, 4, 12};
    const fs::path whole = here_.path() / "whole.nii";
    write_nifti(whole, g, std::vector<std::int16_t>(192, 7));
    std::ifstream in(whole, std::ios::binary);
    std::string bytes{std::istreambuf_iterator<char>(in), {}};
    fs::remove(whole);
    std::string head = bytes.substr(0, 348);
    head.replace(108, 4, std::string(4, '\0'));  // vox_offset
    head.replace(344, 3, "ni1");
    put(header, head);
    put(image, bytes.substr(352));
  }
  Scan scan(const std::string& below = "") const {
    return scan_export(below.empty() ? here_.path() : here_.path() / below, {});
  }
  static std::map<std::string, std::string> codes(const Scan& scan) {
    std::map<std::string, std::string> found;
    for (const FileEntry& file : scan.files)
      found[file.relative_path] = std::string(to_string(file.code));
    return found;
  }
  // The files of each series, header first.
  static std::vector<std::vector<std::string>> sources(const Scan& scan) {
    std::vector<std::vector<std::string>> all;
    for (const Series& series : scan.series) {
      all.emplace_back();
      for (const std::size_t file : source_files(series))
        all.back().push_back(scan.files[file].relative_path);
    }
    return all;
  }
  using Codes = std::map<std::string, std::string>;
  using Sources = std::vector<std::vector<std::string>>;
  test::TemporaryDirectory here_;
};

TEST_F(DataFiles, BelongToTheHeaderThatNamesThem) {
  put_pair("a.hdr", "a.img");
  put_pair("B.HDR", "B.IMG");
  put("c/c.nhdr", nhdr("./c.raw"));
  put("c/c.raw", voxels());
  put("d.nhdr", nhdr("raw/d.dat"));
  put("raw/d.dat", voxels());
  const Scan found = scan();
  EXPECT_EQ(sources(found), (Sources{{"B.HDR", "B.IMG"},
                                     {"a.hdr", "a.img"},
                                     {"c/c.nhdr", "c/c.raw"},
                                     {"d.nhdr", "raw/d.dat"}}));
  for (const auto& [name, code] : codes(found)) EXPECT_EQ(code, "USED") << name;
  for (const Series& series : found.series) {
    const auto loaded = read_series(found, series, {});
    ASSERT_TRUE(loaded) << loaded.rejection().detail;
    EXPECT_EQ(loaded.value().files, source_files(series));
  }
  // The hash of what was read knows them.
  const auto before = read_series(found, found.series[2], {false, false, true}).value().file_hashes;
  put("c/c.raw", voxels(1));
  EXPECT_NE(read_series(found, found.series[2], {false, false, true}).value().file_hashes, before);
}

TEST_F(DataFiles, WithoutAHeaderAreNamed) {
  put("lost.img", voxels());
  put("lost.RAW", voxels());
  put("lost.img.gz", "\x1f\x8b\x08" + voxels());
  put("lost.raw.gz", "\x1f\x8b\x08" + voxels());
  put("notes.txt", "nothing");
  put_pair("a.hdr", "a.img");
  EXPECT_EQ(codes(scan()), (Codes{{"lost.img", "DATA_WITHOUT_HEADER"},
                                  {"lost.RAW", "DATA_WITHOUT_HEADER"},
                                  {"lost.img.gz", "DATA_WITHOUT_HEADER"},
                                  {"lost.raw.gz", "DATA_WITHOUT_HEADER"},
                                  {"notes.txt", "NOT_DICOM"},
                                  {"a.hdr", "USED"},
                                  {"a.img", "USED"}}));
}

TEST_F(DataFiles, GoWithARefusedHeader) {
  put_pair("few.hdr", "few.img");
  put("flat.nhdr", nhdr("flat.raw", "scanner-xyz"));
  put("flat.raw", voxels());
  put("cut.nhdr", nhdr("cut.raw"));
  put("cut.raw", voxels().substr(1));
  put("gone.nhdr", nhdr("gone.raw"));
  put("out/up.nhdr", nhdr("../flat.raw"));
  ScanOptions options;
  options.min_slices = 20;
  EXPECT_EQ(codes(scan_export(here_.path(), options)), (Codes{{"few.hdr", "TOO_FEW_SLICES"},
                                                              {"few.img", "TOO_FEW_SLICES"},
                                                              {"flat.nhdr", "NO_AFFINE"},
                                                              {"flat.raw", "NO_AFFINE"},
                                                              {"cut.nhdr", "TRUNCATED_FILE"},
                                                              {"cut.raw", "TRUNCATED_FILE"},
                                                              {"gone.nhdr", "BAD_HEADER"},
                                                              {"out/up.nhdr", "BAD_HEADER"}}));
}

TEST_F(DataFiles, OfTwoHeadersMakeOneVolume) {
  put("a.nhdr", nhdr("x.raw"));
  put("b.nhdr", nhdr("x.raw"));
  put("x.raw", voxels());
  Scan found = scan();
  EXPECT_EQ(codes(found),
            (Codes{{"a.nhdr", "USED"}, {"b.nhdr", "DUPLICATE_FILE"}, {"x.raw", "USED"}}));
  EXPECT_EQ(sources(found), (Sources{{"a.nhdr", "x.raw"}}));
  // Which of two that differ is right, nobody knows.
  put("b.nhdr", nhdr("x.raw", "RAS"));
  found = scan();
  EXPECT_EQ(codes(found),
            (Codes{{"a.nhdr", "BAD_HEADER"}, {"b.nhdr", "BAD_HEADER"}, {"x.raw", "BAD_HEADER"}}));
  EXPECT_TRUE(found.series.empty());
  // One that is no orientation at all leaves the voxels to the other.
  put("a.nhdr", nhdr("x.raw", "scanner-xyz"));
  found = scan();
  EXPECT_EQ(codes(found), (Codes{{"a.nhdr", "NO_AFFINE"}, {"b.nhdr", "USED"}, {"x.raw", "USED"}}));
  EXPECT_EQ(sources(found), (Sources{{"b.nhdr", "x.raw"}}));
}

TEST_F(DataFiles, LeftOutOfTheScanLeaveNoVolume) {
  const test::TemporaryDirectory elsewhere;
  std::ofstream(elsewhere.path() / "x.raw", std::ios::binary) << voxels();
  put("a.nhdr", nhdr("raw/x.raw"));
  fs::create_directory_symlink(elsewhere.path(), here_.path() / "raw");
  Scan found = scan();
  EXPECT_EQ(codes(found)["a.nhdr"], "BAD_HEADER");
  EXPECT_TRUE(found.series.empty());
  put("b/b.nhdr", nhdr("b.raw"));
  put("b/b.raw", voxels());
  ScanOptions options;
  options.exclude = {"*.raw"};
  found = scan_export(here_.path(), options);
  EXPECT_EQ(codes(found)["b/b.nhdr"], "EXCLUDED");
  EXPECT_EQ(codes(found)["b/b.raw"], "EXCLUDED");
}

TEST_F(DataFiles, OfOneFileAsTheExport) {
  put("c.nhdr", nhdr("./c.raw"));
  put("c.raw", voxels());
  put_pair("a.hdr", "a.img");
  put("other.nhdr", nhdr("c.raw"));
  EXPECT_EQ(sources(scan("c.nhdr")), (Sources{{"c.nhdr", "c.raw"}}));
  EXPECT_EQ(sources(scan("a.hdr")), (Sources{{"a.hdr", "a.img"}}));
  EXPECT_EQ(scan("a.hdr").files.size(), 2U);
}

// One body in DICOM and in many files; the mask of each has 4954 voxels, 619.25 ml.
TEST(ReportedImages, AreTheControlsVolume) {
  WSP_REQUIRE_TEST_DATA(data);
  const fs::path root = data / "reported";
  if (!fs::exists(root)) GTEST_SKIP() << "*** the reported inputs are absent ***";
  const auto read_one = [](const fs::path& file) {
    const Scan scan = scan_export(file, {});
    const auto is_it = [](const Series& series) { return series.code == Code::USED; };
    const auto found = std::find_if(scan.series.begin(), scan.series.end(), is_it);
    if (found == scan.series.end())
      return Outcome<LoadedVolume>(Rejection{"", "scan", scan.files.front().code, ""});
    return read_series(scan, *found, {});
  };
  const auto control = read_one(root / "00-control/in");
  ASSERT_TRUE(control) << control.rejection().detail;
  EXPECT_EQ(control.value().stored.sum, -45675620);
  struct Written {
    const char* image;
    const char* mask;
    std::int64_t label = 1;
  };
  for (const auto& [image, mask, label] : {
           Written{"06-nii-gz-names/in/gzipped_but_nii.nii",
                   "06-nii-gz-names/masks/gzipped_but_nii.nii.gz"},
           {"06-nii-gz-names/in/plain_but_gz.nii.gz", "06-nii-gz-names/masks/plain_but_gz.nii.gz"},
           {"06-nii-gz-names/in/trailing_junk.nii.gz",
            "06-nii-gz-names/masks/trailing_junk.nii.gz"},
           {"06-nii-gz-names/in/two_members.nii.gz", "06-nii-gz-names/masks/two_members.nii.gz"},
           {"07b-units-micron/in/vol.nii.gz", "07b-units-micron/masks/vol.nii.gz"},
           {"10e-negative-pixdim-qform/in/vol.nii", "10e-negative-pixdim-qform/masks/vol.nii"},
           {"17-nrrd-las/in/las_raw.nrrd", "17-nrrd-las/masks/las_raw.nii.gz"},
           {"17-nrrd-other/in/dotslash.nhdr", "17-nrrd-las/masks/las_raw.nii.gz"},
           {"17b-seg-nrrd/in/case7.nrrd", "17b-seg-nrrd/masks/case7.seg.nrrd"},
           {"17b-seg-nrrd/in/case7.nrrd", "17b-seg-nrrd/masks/case7.seg.nrrd", 2},
           {"17c-nhdr-incremental/in/vol.nhdr", "17c-nhdr-incremental/masks/vol.nii.gz"},
           {"17d-hdrimg-incremental/in/vol.hdr", "17d-hdrimg-incremental/masks/vol.nii.gz"},
           {"19-uppercase/in/VOL1.NII", "19-uppercase/masks/VOL1.nii.gz"},
           {"19-uppercase/in/VOL2.NII.GZ", "19-uppercase/masks/VOL2.nii.gz"},
           {"19-uppercase/in/vol3.Nii.gz", "19-uppercase/masks/vol3.nii.gz"},
       }) {
    SCOPED_TRACE(image);
    const auto read = read_one(root / image);
    ASSERT_TRUE(read) << to_string(read.rejection().code) << ' ' << read.rejection().detail;
    const Volume& v = read.value().volume;
    EXPECT_EQ(v.hu, control.value().volume.hu);
    EXPECT_TRUE(same_grid(v.geometry, control.value().volume.geometry));
    EXPECT_EQ(v.flags, std::vector<Code>{});
    MaskOptions options;
    options.liver_labels = {label};
    const auto liver = read_mask_file(root / mask, read.value(), options);
    ASSERT_TRUE(liver) << to_string(liver.rejection().code) << ' ' << liver.rejection().detail;
    EXPECT_EQ(std::count(liver.value().voxels.begin(), liver.value().voxels.end(), 1), 4954);
    EXPECT_EQ(liver.value().flags, std::vector<Code>{});
  }
  const auto packed = read_image_volume(root / "17-nrrd-other/in/bzip2.nrrd");
  ASSERT_FALSE(packed);
  EXPECT_EQ(packed.rejection().code, Code::UNSUPPORTED_ENCODING);
  const auto cut = read_image_volume(root / "06-nii-gz-names/in/truncated.nii.gz");
  ASSERT_FALSE(cut);
  EXPECT_EQ(cut.rejection().code, Code::TRUNCATED_FILE);
}

}  // namespace
}  // namespace wsp

// NIfTI and NRRD: the zoo and the fuzz files entry by entry, then files of nibabel's making.
#include "io/medical/image_file.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <zlib.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/medical/scan.hpp"
#include "medical_support.hpp"
#include "nrrd_support.hpp"
#include "support/test_data.hpp"

namespace wsp {
namespace {

namespace fs = std::filesystem;
using test::write_text;

struct Readable {
  const char* path;
  std::array<std::int64_t, 3> size;
  const char* component;
  Vec3 spacing_mm;
  std::int64_t minimum, maximum, sum;
};
void PrintTo(const Readable& e, std::ostream* out) { *out << e.path; }
class ReadableImages : public testing::TestWithParam<Readable> {};

// Numbers of MANIFEST.md and of nibabel (f32: the sum of rounded values).
TEST_P(ReadableImages, GiveTheManifestsNumbers) {
  WSP_REQUIRE_TEST_DATA(data);
  const Readable& e = GetParam();
  const auto header = read_image_header(data / e.path);
  ASSERT_TRUE(header) << header.rejection().detail;
  EXPECT_EQ(header.value().component, e.component);
  const auto image = read_image_volume(data / e.path);
  ASSERT_TRUE(image) << image.rejection().detail;
  const Volume& v = image.value().volume;
  EXPECT_EQ(v.geometry.size, e.size);
  for (std::size_t k = 0; k < 3; ++k) {
    EXPECT_NEAR(v.geometry.spacing_mm[k], e.spacing_mm[k], 1e-4);
    EXPECT_GT(v.geometry.axis[k][k], 0.9);
  }
  EXPECT_EQ(image.value().minimum, e.minimum);
  EXPECT_EQ(image.value().maximum, e.maximum);
  EXPECT_EQ(image.value().sum, e.sum);
  EXPECT_EQ(std::accumulate(v.hu.begin(), v.hu.end(), std::int64_t{0}), e.sum);
  EXPECT_EQ(v.z_mm.size(), static_cast<std::size_t>(e.size[2]));
  EXPECT_TRUE(std::is_sorted(v.z_mm.begin(), v.z_mm.end()));
}

constexpr std::array<std::int64_t, 3> kCube{3, 3, 3};
INSTANTIATE_TEST_SUITE_P(
    Manifest, ReadableImages,
    testing::Values(Readable{"nifti_zoo/uint8.nii", kCube, "uint8", {1, 1, 1}, 0, 26, 351},
                    Readable{"nifti_zoo/int8.nii", kCube, "int8", {1, 1, 1}, 0, 26, 351},
                    Readable{"nifti_zoo/uint16.nii", kCube, "uint16", {1, 1, 1}, 0, 26, 351},
                    Readable{"nifti_zoo/int16.nii", kCube, "int16", {1, 1, 1}, 0, 26, 351},
                    Readable{"nifti_zoo/uint32.nii", kCube, "uint32", {1, 1, 1}, 0, 26, 351},
                    Readable{"nifti_zoo/int32.nii", kCube, "int32", {1, 1, 1}, 0, 26, 351},
                    Readable{"nifti_zoo/uint64.nii", kCube, "uint64", {1, 1, 1}, 0, 26, 351},
                    Readable{"nifti_zoo/int64.nii", kCube, "int64", {1, 1, 1}, 0, 26, 351},
                    Readable{"nifti_zoo/float32.nii", kCube, "float32", {1, 1, 1}, 0, 26, 351},
                    Readable{"nifti_zoo/float64.nii", kCube, "float64", {1, 1, 1}, 0, 26, 351},
                    Readable{"nifti_zoo/avg152T1_LR_nifti.nii.gz",
                             {91, 109, 91},
                             "uint8",
                             {2, 2, 2},
                             0,
                             255,
                             74825382},
                    Readable{"nifti_zoo/nibabel/anatomical.nii",
                             {33, 41, 25},
                             "int16",
                             {2, 2, 2},
                             -610,
                             30393,
                             284166082},
                    Readable{"liver/ts_abdopelvis_3mm_nifti/example_ct.nii.gz",
                             {122, 101, 112},
                             "int32",
                             {3, 3, 3},
                             -1207,
                             3382,
                             -496851173},
                    Readable{"liver/ts_abdopelvis_3mm_nifti/upper_crop_30/example_ct_sm.nii.gz",
                             {122, 101, 30},
                             "int16",
                             {3, 3, 3},
                             -1100,
                             1207,
                             -130894872},
                    Readable{"seg_rt/ibsi_sts008_ct_rtstruct_nifti/CT_image.nii.gz",
                             {141, 137, 51},
                             "float32",
                             {0.976562, 0.976562, 3.27},
                             -1000,
                             1479,
                             -401221999}));

struct Refused {
  const char* path;
  Code code;
};
void PrintTo(const Refused& e, std::ostream* out) { *out << e.path; }
class RefusedImages : public testing::TestWithParam<Refused> {};

TEST_P(RefusedImages, AreNamedQuicklyWithoutMemory) {
  WSP_REQUIRE_TEST_DATA(data);
  rusage before{}, after{};
  getrusage(RUSAGE_SELF, &before);
  const auto start = std::chrono::steady_clock::now();
  const auto header = read_image_header(data / GetParam().path);
  const auto volume = read_image_volume(data / GetParam().path);
  const auto labels = read_label_image(data / GetParam().path);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  getrusage(RUSAGE_SELF, &after);
  ASSERT_FALSE(header);
  ASSERT_FALSE(volume);
  ASSERT_FALSE(labels);
  EXPECT_EQ(to_string(header.rejection().code), to_string(GetParam().code))
      << header.rejection().detail;
  EXPECT_EQ(volume.rejection().code, GetParam().code);
  EXPECT_EQ(labels.rejection().code, GetParam().code);
  EXPECT_FALSE(header.rejection().detail.empty());
  EXPECT_LT(took.count(), 0.5);
  EXPECT_LT(after.ru_maxrss - before.ru_maxrss, 16 * 1024);  // KiB
}

INSTANTIATE_TEST_SUITE_P(
    Manifest, RefusedImages,
    testing::Values(
        // qform and sform codes are 0: no orientation is known.
        Refused{"nifti_zoo/minimal.nii", Code::NO_AFFINE},
        Refused{"nifti_zoo/minimal.nii.gz", Code::NO_AFFINE},
        Refused{"nifti_zoo/minimal.hdr", Code::NO_AFFINE},
        Refused{"nifti_zoo/minimal.hdr.gz", Code::NO_AFFINE},
        Refused{"nifti_zoo/minimal2.hdr", Code::NO_AFFINE},
        Refused{"nifti_zoo/minimal_extended_hdr.nii", Code::NOT_3D},
        Refused{"nifti_zoo/nibabel/example4d.nii.gz", Code::NOT_3D},
        Refused{"nifti_zoo/nibabel/example_nifti2.nii.gz", Code::NOT_3D},
        Refused{"nifti_zoo/nibabel/nifti1.hdr", Code::BAD_HEADER},
        Refused{"nifti_zoo/nibabel/nifti2.hdr", Code::BAD_HEADER},
        Refused{"corrupt/nifti/crash-1.nii", Code::BAD_HEADER},
        Refused{"corrupt/nifti/crash-08123ef33416bd6f0c5fa63d44b681b8581d62a0", Code::BAD_HEADER},
        Refused{"corrupt/nifti/crash-98aa054390f8d3f932f190dc22ef62c6ff2d6619", Code::BAD_HEADER}));

TEST(ImageFile, NumbersLieAtTheirPlaces) {
  WSP_REQUIRE_TEST_DATA(data);
  // RAS in the file: canonical (left, posterior, head) turns x and y round.
  const auto labels = read_label_image(data / "nifti_zoo/int16.nii");
  const auto file = read_file(data / "nifti_zoo/int16.nii");
  ASSERT_TRUE(labels);
  for (std::size_t z = 0; z < 3; ++z)
    for (std::size_t y = 0; y < 3; ++y)
      for (std::size_t x = 0; x < 3; ++x) {
        std::int16_t raw = 0;
        std::memcpy(&raw, file.data() + 352 + 2 * (z * 9 + (2 - y) * 3 + (2 - x)), 2);
        EXPECT_EQ(labels.value().values[z * 9 + y * 3 + x], raw);
      }
}

// tests/io/medical/nifti_cases.py writes files of every orientation and coding with nibabel, and
// what as_closest_canonical makes of them.
class NibabelCases : public testing::Test {
 protected:
  void SetUp() override {
    if (!test::run_python("io/medical/nifti_cases.py make " + here_.path().string()))
      GTEST_SKIP() << "*** python3 with nibabel is absent: this test did not run ***";
  }
  test::TemporaryDirectory here_;
};

TEST_F(NibabelCases, AgreeInGridAndVoxels) {
  const auto cases = nlohmann::json::parse(read_file(here_.path() / "cases.json"));
  ASSERT_GT(cases.size(), 25U);
  for (const auto& one : cases) {
    SCOPED_TRACE(one["file"].get<std::string>());
    const fs::path path = here_.path() / one["file"].get<std::string>();
    const auto image = read_image_volume(path);
    if (one.contains("code")) {
      ASSERT_FALSE(image);
      EXPECT_EQ(to_string(image.rejection().code), one["code"].get<std::string>())
          << image.rejection().detail;
      continue;
    }
    ASSERT_TRUE(image) << to_string(image.rejection().code) << image.rejection().detail;
    const Volume& v = image.value().volume;
    EXPECT_EQ(v.geometry.size, (one["size"].get<std::array<std::int64_t, 3>>()));
    for (std::size_t k = 0; k < 3; ++k) {
      EXPECT_NEAR(v.geometry.spacing_mm[k], one["spacing"][k].get<double>(), 1e-4);
      EXPECT_NEAR(v.geometry.origin_mm[k], one["origin"][k].get<double>(), 1e-4);
      for (std::size_t j = 0; j < 3; ++j)
        EXPECT_NEAR(v.geometry.axis[k][j], one["axis"][k][j].get<double>(), 1e-5);
    }
    EXPECT_EQ(v.hu, one["hu"].get<std::vector<std::int16_t>>());
    for (std::size_t k = 0; k < v.z_mm.size(); ++k) {
      const Vec3 n = cross(v.geometry.axis[0], v.geometry.axis[1]);
      EXPECT_NEAR(v.z_mm[k], dot(v.slice_origin_mm[k], n) / norm(n), 1e-6);
    }
    EXPECT_EQ(
        std::find(v.flags.begin(), v.flags.end(), Code::ORIENTATION_CONFLICT) != v.flags.end(),
        one.value("conflict", false));
    const auto labels = read_label_image(path);
    if (!one["whole"].get<bool>()) {
      ASSERT_FALSE(labels);
      EXPECT_EQ(labels.rejection().code, Code::MASK_UNREADABLE);
      continue;
    }
    ASSERT_TRUE(labels);
    EXPECT_TRUE(std::equal(v.hu.begin(), v.hu.end(), labels.value().values.begin()));
  }
}

Geometry oblique_grid() {
  Geometry g;
  const double c = std::cos(0.2), s = std::sin(0.2);
  g.size = {5, 4, 3};
  g.spacing_mm = {0.75, 0.5, 2.5};
  g.origin_mm = {-12.5, 7.25, -100.125};
  g.axis = {{{c, s, 0}, {-s, c, 0}, {0, 0, 1}}};
  return g;
}

TEST(WriteNifti, ReadsBackAndIsTheSameTwice) {
  const test::TemporaryDirectory here;
  const Geometry g = oblique_grid();
  std::vector<std::int16_t> hu(60);
  std::iota(hu.begin(), hu.end(), std::int16_t{-1024});
  for (const char* name : {"a.nii", "a.nii.gz"}) {
    write_nifti(here.path() / name, g, hu);
    const std::string first = read_file(here.path() / name);
    write_nifti(here.path() / name, g, hu);
    EXPECT_EQ(read_file(here.path() / name), first);
    const auto image = read_image_volume(here.path() / name);
    ASSERT_TRUE(image) << image.rejection().detail;
    EXPECT_TRUE(same_grid(image.value().volume.geometry, g, 1e-3));
    EXPECT_EQ(image.value().volume.hu, hu);
    EXPECT_EQ(image.value().volume.flags, std::vector<Code>{Code::OBLIQUE});
  }
  const std::string zipped = read_file(here.path() / "a.nii.gz");
  EXPECT_EQ(zipped.substr(3, 5), std::string(5, '\0'));  // no name, no time
  EXPECT_EQ(std::distance(fs::directory_iterator(here.path()), fs::directory_iterator()), 2);
}

TEST(WriteNifti, NibabelReadsTheSame) {
  const test::TemporaryDirectory here;
  const Geometry g = oblique_grid();
  std::vector<std::int16_t> hu(60);
  std::iota(hu.begin(), hu.end(), std::int16_t{-30});
  std::vector<std::uint8_t> mask(60);
  std::iota(mask.begin(), mask.end(), std::uint8_t{0});
  write_nifti(here.path() / "hu.nii.gz", g, hu);
  write_nifti(here.path() / "mask.nii", g, mask);
  nlohmann::json expected;
  expected["size"] = g.size;
  expected["corner"] = g.world({4, 3, 2});
  expected["origin"] = g.origin_mm;
  write_file_atomic(here.path() / "expected.json", expected.dump());
  if (!test::run_python("io/medical/nifti_cases.py probe"))
    GTEST_SKIP() << "*** python3 with nibabel is absent: this test did not run ***";
  EXPECT_TRUE(test::run_python("io/medical/nifti_cases.py check " + here.path().string()));
}

TEST(WriteNifti, SaysWhatItCannotWrite) {
  const test::TemporaryDirectory here;
  const Geometry g = oblique_grid();
  EXPECT_THROW(write_nifti(here.path() / "a.nii", g, std::vector<std::uint8_t>(59)), Error);
  try {
    write_nifti(here.path() / "absent" / "a.nii", g, std::vector<std::uint8_t>(60));
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::output);
  }
}

std::string nrrd(const std::string& lines) {
  return "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 2 3 4\nencoding: raw\nendian: little\n" +
         lines + "\n";
}
const char* const kPlaced =
    "space: right-anterior-superior\nspace directions: (2,0,0) (0,3,0) (0,0,4)\n"
    "space origin: (10,20,30)\n";

TEST(Nrrd, RasIsTurnedIntoLps) {
  const test::TemporaryDirectory here;
  std::string pixels(24, '\0');
  std::iota(pixels.begin(), pixels.end(), '\0');
  write_text(here.path() / "a.nrrd", nrrd(kPlaced) + pixels);
  write_text(here.path() / "b.nhdr", nrrd(std::string(kPlaced) + "data file: b.raw\n"));
  write_text(here.path() / "b.raw", pixels);
  for (const char* name : {"a.nrrd", "b.nhdr"}) {
    const auto image = read_image_volume(here.path() / name);
    ASSERT_TRUE(image) << image.rejection().detail;
    const Volume& v = image.value().volume;
    EXPECT_EQ(v.geometry.size, (std::array<std::int64_t, 3>{2, 3, 4}));
    EXPECT_EQ(v.geometry.spacing_mm, (Vec3{2, 3, 4}));
    // RAS (12, 26, 30) is the most left... of LPS: x = -12, y = -26.
    EXPECT_EQ(v.geometry.origin_mm, (Vec3{-12, -26, 30}));
    EXPECT_EQ(v.hu[0], 5);    // file voxel (1, 2, 0)
    EXPECT_EQ(v.hu[1], 4);    // (0, 2, 0)
    EXPECT_EQ(v.hu[23], 18);  // (0, 0, 3)
    EXPECT_EQ(image.value().sum, 276);
  }
}

TEST(Nrrd, RefusalsAreNamed) {
  const test::TemporaryDirectory here;
  const auto code = [&](const std::string& text) {
    write_text(here.path() / "x.nrrd", text);
    const auto read = read_image_volume(here.path() / "x.nrrd");
    return read ? std::string("USED") : std::string(to_string(read.rejection().code));
  };
  const std::string pixels(24, '\1');
  const auto replaced = [](std::string text, const std::string& from, const std::string& to) {
    EXPECT_NE(text.find(from), std::string::npos);
    return text.replace(text.find(from), from.size(), to);
  };
  const std::string good = nrrd(kPlaced);
  EXPECT_EQ(code(good + pixels), "USED");
  EXPECT_EQ(code(good + pixels.substr(1)), "TRUNCATED_FILE");
  EXPECT_EQ(code(replaced(good, "2 3 4", "60000 60000 1") + pixels), "TRUNCATED_FILE");
  EXPECT_EQ(code(replaced(good, "2 3 4", "60000 60000 60000") + pixels), "BAD_HEADER");
  EXPECT_EQ(code(replaced(good, "2 3 4", "-2 3 4") + pixels), "BAD_HEADER");
  EXPECT_EQ(code(replaced(good, "dimension: 3\nsizes: 2", "dimension: 4\nsizes: 2 2") + pixels),
            "NOT_3D");
  EXPECT_EQ(code(replaced(good, "dimension: 3\nsizes: 2 3 4",
                          "dimension: 4\nkinds: RGB-color domain domain domain\nsizes: 3 2 2 2") +
                 pixels),
            "RGB_VOXELS");
  EXPECT_EQ(code(replaced(good, "dimension: 3\nsizes: 2 3 4",
                          "dimension: 4\nkinds: complex domain domain domain\nsizes: 2 2 2 3") +
                 pixels),
            "COMPLEX_VOXELS");
  EXPECT_EQ(code(replaced(good, "type: uchar", "type: block\nblock size: 1") + pixels),
            "BAD_HEADER");
  EXPECT_EQ(code(nrrd("spacings: 1 1 1\n") + pixels), "NO_AFFINE");
  EXPECT_EQ(code(replaced(good, "(2,0,0)", "(2,2,0)") + pixels), "BAD_HEADER");  // sheared
  EXPECT_EQ(code(replaced(good, "(2,0,0)", "(0,0,0)") + pixels), "BAD_HEADER");
  EXPECT_EQ(code(nrrd(std::string(kPlaced) + "data file: /etc/passwd\n")), "BAD_HEADER");
  EXPECT_EQ(code(nrrd(std::string(kPlaced) + "data file: absent.raw\n")), "BAD_HEADER");
  // A block of a type that there is not; for zlib from 1.3.2 on that is the end.
  const std::string no_block("\x1f\x8b\x08\0\0\0\0\0\0\x03\x07", 11);
  EXPECT_EQ(code(replaced(good, "raw", "gzip") + no_block + pixels),
            ZLIB_VERNUM < 0x1320 ? "DECODE_FAILED" : "TRUNCATED_FILE");
  if (ZLIB_VERNUM < 0x1320) {
    EXPECT_EQ(code(replaced(good, "raw", "gzip") + "\x1f\x8b\x08" + pixels), "DECODE_FAILED");
  }
  EXPECT_EQ(code("NRRX0004\n"), "BAD_HEADER");
  EXPECT_EQ(code(""), "BAD_HEADER");
}

TEST(ImageFile, NamesAreKnownByTheirEnds) {
  for (const char* name : {"a.nii", "a.nii.gz", "a.hdr", "a.hdr.gz", "a.nrrd", "a.nhdr", "a.NII",
                           "a.NII.GZ", "a.Nii.gz", "a.HDR", "a.NRRD", "a.seg.nrrd"})
    EXPECT_TRUE(is_image_file_name(name)) << name;
  for (const char* name : {"a.img", "a.dcm", ".nii", "nii", "a.gz", ""})
    EXPECT_FALSE(is_image_file_name(name)) << name;
}

TEST(ImageFile, StemsAreWholeButForTheEnding) {
  for (const char* end : {".nii", ".nii.gz", ".hdr", ".hdr.gz", ".img", ".img.gz", ".nrrd", ".nhdr",
                          ".seg.nrrd", ".NII", ".NII.GZ", ".Nii.gz", ".HDR", ".NRRD", ".Seg.Nrrd"})
    EXPECT_EQ(image_stem(fs::path("p.nii") / ("Case.7_0000" + std::string(end))), "Case.7_0000")
        << end;
  EXPECT_EQ(image_stem("a.nii.nii.gz"), "a.nii");
  for (const char* name : {"a.dcm", "a.gz", "a.seg", "a", ".nii", ".nii.gz", ".seg.nrrd", "1.2.3"})
    EXPECT_FALSE(image_stem(name).empty()) << name;
  for (const char* name : {"a.dcm", "a.gz", "a.seg", "a", ".nii", "1.2.3"})
    EXPECT_EQ(image_stem(name), name);
}

}  // namespace
}  // namespace wsp

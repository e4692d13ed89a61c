// Which files of a --masks directory belong to which series: patients, studies, tables, grids.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "io/medical/image_file.hpp"
#include "io/medical/masks.hpp"
#include "mask_names_support.hpp"

namespace wsp {
namespace {

namespace fs = std::filesystem;
using test::MaskNames;

TEST_F(MaskNames, APatientsMaskIsOneVolumes) {
  const auto masks = with({"P1.nii.gz"});
  // One study, and what is no volume beside it.
  Series scout = dicom("1.9", "P1", "S1");
  scout.code = Code::LOCALIZER;
  EXPECT_EQ(found(masks, {dicom("1.1", "P1", "S1"), scout}), (Texts{"P1.nii.gz", ""}));
  // Two phases, two studies, two people of one ID.
  EXPECT_EQ(found(masks, {dicom("1.1", "P1", "S1"), dicom("1.2", "P1", "S1")}),
            (Texts{"ambiguous", "ambiguous"}));
  EXPECT_EQ(found(masks, {dicom("1.1", "P1", "S1"), dicom("1.2", "P1", "S2")}),
            (Texts{"ambiguous", "ambiguous"}));
  // The volume that it may have been drawn on cannot be read.
  Series broken = dicom("1.2", "P1", "S1");
  broken.code = Code::DUPLICATE_POSITION;
  EXPECT_EQ(found(masks, {dicom("1.1", "P1", "S1"), broken}), (Texts{"ambiguous", "ambiguous"}));
  // A series that has its own does not give the patient's to the other one.
  EXPECT_EQ(found(with({"P1.nii.gz", "1.1.nii.gz"}),
                  {dicom("1.1", "P1", "S1"), dicom("1.2", "P1", "S1")}),
            (Texts{"1.1.nii.gz", "ambiguous"}));
  EXPECT_EQ(found(with({"S2.nii.gz"}), {dicom("1.1", "P1", "S1"), dicom("1.2", "P1", "S2")}),
            (Texts{"", "S2.nii.gz"}));
  // Folders tell two sites of one numbering apart.
  EXPECT_EQ(found(with({"siteA/7.nii.gz"}),
                  {dicom("1.1", "7", "S1", "siteA/7/IM1"), dicom("1.2", "7", "S2", "siteB/7/IM1")}),
            (Texts{"siteA/7.nii.gz", ""}));
  EXPECT_EQ(found(with({"siteB/7.nii.gz"}),
                  {dicom("1.1", "7", "S1", "siteA/7/IM1"), dicom("1.2", "8", "S2", "siteB/8/IM1")}),
            (Texts{"", ""}));
}

TEST_F(MaskNames, PartsOfASeries) {
  Series first = dicom("1.2", "P1", "S1"), second = first;
  first.key = "1.2#1";
  second.key = "1.2#2";
  EXPECT_EQ(found(with({"1.2#2.nii.gz"}), {first, second}), (Texts{"", "1.2#2.nii.gz"}));
  EXPECT_EQ(found(with({"1.2.nii.gz"}), {first, second}), (Texts{"ambiguous", "ambiguous"}));
  // One part alone can be used, and goes by the UID.
  first.key = "1.2";
  second.code = Code::TOO_FEW_SLICES;
  EXPECT_EQ(found(with({"1.2.nii.gz"}), {first, second}), (Texts{"1.2.nii.gz", ""}));
  second.code = Code::DUPLICATE_POSITION;
  EXPECT_EQ(found(with({"1.2.nii.gz"}), {first, second}), (Texts{"ambiguous", "ambiguous"}));
}

// Of several series of one study the one on whose grid alone the mask lies, however its file turns
// the axes. Grids prove nothing across studies.
TEST_F(MaskNames, OneStudysGridsTell) {
  const auto on = [](Series s, double z0) {
    s.columns = 6;
    s.rows = 5;
    s.pixel_x_mm = 2;
    s.pixel_y_mm = 3;
    for (int k = 0; k < 4; ++k) {
      Plane plane;
      plane.position_mm = {-10, -20, z0 + 5 * k};
      s.planes.push_back(plane);
    }
    return s;
  };
  Geometry flipped;  // x from the left, planes from the head, y first
  flipped.size = {5, 6, 4};
  flipped.spacing_mm = {3, 2, 5};
  flipped.origin_mm = {-10 + 5 * 2, -20, 100 + 3 * 5};
  flipped.axis = {{{0, 1, 0}, {-1, 0, 0}, {0, 0, -1}}};
  fs::remove_all(here_.path());
  fs::create_directories(here_.path());
  write_nifti(here_.path() / "P1.nii.gz", flipped, std::vector<std::uint8_t>(120, 1));
  const MaskDirectory masks(here_.path());
  const Series a = dicom("1.1", "P1", "S1"), b = dicom("1.2", "P1", "S1");
  const Series c = dicom("1.3", "P1", "S2");
  EXPECT_EQ(found(masks, {on(a, 100), on(b, 101)}), (Texts{"P1.nii.gz", ""}));
  EXPECT_EQ(found(masks, {on(a, 99), on(b, 100)}), (Texts{"", "P1.nii.gz"}));
  EXPECT_EQ(found(masks, {on(a, 100), on(b, 100)}), (Texts{"ambiguous", "ambiguous"}));
  EXPECT_EQ(found(masks, {on(a, 99), on(b, 101)}), (Texts{"ambiguous", "ambiguous"}));
  EXPECT_EQ(found(masks, {on(a, 100), on(c, 101)}), (Texts{"ambiguous", "ambiguous"}));
}

TEST_F(MaskNames, TwoFilesForOneCase) {
  const auto masks = with({"masks/P1.nii.gz", "P1_seg.nii.gz"});
  EXPECT_EQ(found(masks, dicom("1.2", "P1")), "ambiguous");
  EXPECT_EQ(masks.ambiguous(), (Texts{"P1_seg.nii.gz", "masks/P1.nii.gz"}));
}

// Masks in the export itself, as in LiTS: images are no masks of themselves or of others.
TEST_F(MaskNames, InTheExport) {
  const auto masks = with({"volume-1.nii", "segmentation-1.nii", "001.nii.gz", "siteA/001.nii.gz",
                           "P3.nii", "P3_seg.nii"});
  Scan scan;
  scan.root = here_.path();
  for (const char* path : {"001.nii.gz", "P3.nii", "P3_seg.nii", "segmentation-1.nii",
                           "siteA/001.nii.gz", "volume-1.nii"})
    scan.series.push_back(nifti(path));
  Texts texts;
  for (const MaskMatch& match : masks.match(scan))
    texts.push_back(match.files.empty() ? match.problem : match.files[0].filename().string());
  EXPECT_EQ(texts, (Texts{"", "P3_seg.nii", "", "", "", "segmentation-1.nii"}));
  EXPECT_TRUE(masks.unused().empty());
}

TEST_F(MaskNames, ATableSaysWhose) {
  (void)with({"x.nii", "y.nii", "z.nii", "P1.nii"});
  const auto row = [&](const char* volume, const char* file) {
    return MaskRow{volume, here_.path() / file};
  };
  const std::vector<Series> series{dicom("1.1", "P1", "S1"), dicom("1.2", "P1", "S1"),
                                   nifti("siteA/001.nii.gz"), nifti("siteB/001.nii.gz")};
  const MaskDirectory masks(
      here_.path(), {row("1.2", "x.nii"), row("siteB/001.nii.gz", "y.nii"), row("nobody", "z.nii")},
      true);
  EXPECT_EQ(found(masks, series), (Texts{"", "x.nii", "", "y.nii"}));
  EXPECT_EQ(masks.unknown_rows(), std::vector<std::size_t>{2});
  EXPECT_EQ(masks.unused(), (Texts{"P1.nii", "z.nii"}));
  EXPECT_EQ(
      found(MaskDirectory(here_.path(), {row("P1", "x.nii"), row("001", "y.nii")}, false), series),
      Texts(4, "ambiguous"));
  EXPECT_EQ(
      found(MaskDirectory(here_.path(), {row("1.1", "x.nii"), row("1.1", "y.nii")}, false), series),
      (Texts{"ambiguous", "", "", ""}));
}

// Whatever names are shuffled: a file serves at most the series of one study, and only one that its
// name or its folder names.
TEST_F(MaskNames, NeverSomebodyElses) {
  const unsigned seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  const auto pick = [&](const Texts& all) { return all[random() % all.size()]; };
  const Texts patients{"1", "01", "2", "P1", "ANON"}, folders{"", "siteA/", "siteB/", "masks/"};
  for (int round = 0; round < 200; ++round) {
    std::vector<Series> series;
    std::set<std::string> paths;
    for (int i = 0; i < 8; ++i) {
      const std::string patient = pick(patients), folder = pick(folders);
      if (random() % 2 == 0)
        series.push_back(dicom("9." + std::to_string(i), patient,
                               "8." + std::to_string(random() % 6),
                               folder + "IM" + std::to_string(i)));
      else if (paths.insert(folder + patient).second)
        series.push_back(nifti(folder + patient + ".nii.gz"));
    }
    Texts files;
    for (int i = 0; i < 5; ++i)
      files.push_back(pick(folders) +
                      (random() % 3 == 0 ? "9." + std::to_string(random() % 8) : pick(patients)) +
                      pick({".nii.gz", "_seg.nii", "/liver.nii.gz"}));
    const auto masks = with(files);
    const Texts got = found(masks, series);
    std::map<std::string, std::size_t> owner;
    for (std::size_t s = 0; s < series.size(); ++s) {
      if (got[s].empty() || got[s] == "ambiguous") continue;
      SCOPED_TRACE(got[s] + " for " + series[s].key + " of " + series[s].patient_id);
      EXPECT_TRUE(owner.emplace(got[s], s).second) << "one file serves two series";
      std::string name = got[s];
      for (const char* end : {"/liver.nii.gz", ".nii.gz", "_seg.nii"})
        if (name.ends_with(end)) name.resize(name.size() - std::string(end).size());
      const std::string folder = fs::path(name).parent_path().generic_string();
      name = fs::path(name).filename().string();
      const Series& its = series[s];
      EXPECT_TRUE(name == its.series_uid || (name == its.patient_id && name != "ANON") ||
                  (!its.is_dicom &&
                   name == fs::path(its.relative_path).filename().string().substr(0, name.size())));
      if (name == its.series_uid) continue;
      // By a patient's ID: the patient has no other series that it could mean in that folder.
      const std::string own = fs::path(its.relative_path).parent_path().generic_string();
      const bool exported = std::any_of(series.begin(), series.end(), [&](const Series& o) {
        return fs::path(o.relative_path).parent_path() == folder;
      });
      EXPECT_FALSE(folder.starts_with("site") && own != folder &&
                   (exported || (!its.is_dicom && own.starts_with("site"))))
          << "of another site";
      for (std::size_t o = 0; o < series.size(); ++o)
        EXPECT_FALSE(o != s && its.is_dicom && series[o].patient_id == its.patient_id &&
                     (folder.empty() || fs::path(series[o].relative_path).parent_path() == folder))
            << "the patient has another series";
    }
  }
}

}  // namespace
}  // namespace wsp

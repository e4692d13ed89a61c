// Which files of a --masks directory belong to which series.
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <random>
#include <set>

#include "io/core/error.hpp"
#include "io/medical/image_file.hpp"
#include "io/medical/masks.hpp"
#include "medical_support.hpp"
#include "support/test_data.hpp"

namespace wsp {
namespace {

namespace fs = std::filesystem;

class MaskNames : public testing::Test {
 protected:
  void touch(const std::string& name) const {
    fs::create_directories((here_.path() / name).parent_path());
    std::ofstream(here_.path() / name) << "x";
  }
  [[nodiscard]] MaskDirectory with(const std::vector<std::string>& names) const {
    fs::remove_all(here_.path());
    fs::create_directories(here_.path());
    for (const std::string& name : names) touch(name);
    return MaskDirectory(here_.path());
  }
  // What every series of an export gets: its file, or "ambiguous".
  [[nodiscard]] std::vector<std::string> found(const MaskDirectory& masks,
                                               std::vector<Series> series) const {
    Scan scan;
    scan.root = "/export";
    for (Series& one : series) {
      FileEntry file;
      file.relative_path = one.relative_path;
      file.code = one.code;
      scan.files.push_back(file);
      for (Plane& plane : one.planes) plane.file = scan.files.size() - 1;
      if (one.planes.empty()) {
        Plane plane;
        plane.file = scan.files.size() - 1;
        one.planes.push_back(plane);
      }
    }
    scan.series = std::move(series);
    std::vector<std::string> texts;
    for (const MaskMatch& match : masks.match(scan)) {
      std::string text = match.problem.empty() ? "" : "ambiguous";
      for (const fs::path& path : match.files)
        text += fs::relative(path, here_.path()).generic_string();
      texts.push_back(text);
    }
    return texts;
  }
  [[nodiscard]] std::string found(const MaskDirectory& masks, const Series& series) const {
    return found(masks, std::vector<Series>{series}).front();
  }
  using Texts = std::vector<std::string>;
  static Series dicom(const std::string& series_uid, const std::string& patient) {
    Series s;
    s.series_uid = s.key = series_uid;
    s.patient_id = patient;
    s.relative_path = "a/b/IM0001";
    return s;
  }
  static Series dicom(const std::string& series_uid, const std::string& patient,
                      const std::string& study, const std::string& path = "a/b/IM0001") {
    Series s = dicom(series_uid, patient);
    s.study_uid = study;
    s.relative_path = path;
    return s;
  }
  static Series nifti(const std::string& path) {
    Series s;
    s.is_dicom = false;
    s.key = s.relative_path = path;
    return s;
  }
  test::TemporaryDirectory here_;
};

TEST_F(MaskNames, BySeriesAndPatient) {
  const auto masks = with({"1.2.3.nii.gz", "1.2.30.nii.gz", "seg/masks/P7_seg.nrrd", "P8.nii",
                           "P9-mask.nhdr", "notes.txt", "._1.2.3.nii.gz", "P10/liver.nii.gz"});
  EXPECT_EQ(masks.size(), 6U);
  EXPECT_EQ(
      found(masks, {dicom("1.2.3", "P1"), dicom("9.1", "P7"), dicom("9.2", "P8"),
                    dicom("9.3", "P9"), dicom("9.4", "P10"), dicom("9.5", "P"), dicom("", "")}),
      (Texts{"1.2.3.nii.gz", "seg/masks/P7_seg.nrrd", "P8.nii", "P9-mask.nhdr", "P10/liver.nii.gz",
             "", ""}));
  EXPECT_EQ(masks.unused(), Texts{"1.2.30.nii.gz"});
}

TEST_F(MaskNames, AFileWithoutANameBelongsToNobody) {
  const auto masks = with({"_seg.nii.gz", "_mask.nii", "liver.nii.gz", "ANON.nii.gz", "000.nii"});
  EXPECT_EQ(
      found(masks, {dicom("", ""), dicom("1.2", "P"), dicom("1.3", "ANON"), dicom("1.4", "000")}),
      Texts(4));
  EXPECT_EQ(masks.unused().size(), 5U);
}

TEST_F(MaskNames, StemsAreWhole) {
  const auto masks = with({"1.nii.gz", "1.2.nii", "Case.7.NII.GZ", "case8.seg.nrrd"});
  EXPECT_EQ(found(masks, {dicom("1.2.840", "1.2.840"), nifti("1.2.840.nii.gz"), nifti("Case.7.nii"),
                          nifti("case8.nrrd"), nifti("Case.nii")}),
            (Texts{"", "", "Case.7.NII.GZ", "case8.seg.nrrd", ""}));
}

TEST_F(MaskNames, OfDataSetsThatAreWellKnown) {
  const auto lits = with({"segmentation-1.nii", "segmentation-10.nii", "segmentation-0.nii.gz"});
  EXPECT_EQ(found(lits, {nifti("volume-1.nii"), nifti("batch/volume-10.nii.gz")}),
            (Texts{"segmentation-1.nii", "segmentation-10.nii"}));
  EXPECT_EQ(lits.unused(), Texts{"segmentation-0.nii.gz"});
  const auto nnunet = with({"liver_3.nii.gz", "liver_30.nii.gz"});
  EXPECT_EQ(found(nnunet, nifti("imagesTr/liver_3_0000.nii.gz")), "liver_3.nii.gz");
  EXPECT_EQ(found(nnunet, nifti("imagesTr/liver_3.nii.gz")), "liver_3.nii.gz");  // MSD
  EXPECT_EQ(nnunet.unused(), Texts{"liver_30.nii.gz"});
}

// --masks at the root of a task: the labels are found, the images are no masks, and a test image
// takes no training label of its number.
TEST_F(MaskNames, TheRootOfATask) {
  const auto masks = with({"imagesTr/liver_0_0000.nii.gz", "imagesTr/liver_1_0000.nii.gz",
                           "labelsTr/liver_0.nii.gz", "labelsTr/liver_1.nii.gz",
                           "imagesTs/liver_1_0000.nii.gz", "imagesTs/liver_2_0000.nii.gz"});
  EXPECT_EQ(
      found(masks, {nifti("imagesTr/liver_0_0000.nii.gz"), nifti("imagesTr/liver_1_0000.nii.gz"),
                    nifti("imagesTs/liver_1_0000.nii.gz"), nifti("imagesTs/liver_2_0000.nii.gz")}),
      (Texts{"labelsTr/liver_0.nii.gz", "labelsTr/liver_1.nii.gz", "", ""}));
}

TEST_F(MaskNames, TotalSegmentatorsFolders) {
  const auto masks = with({"s0001/liver.nii.gz", "s0001/spleen.nii.gz",
                           "s0002/segmentations/liver.nii.gz", "s0003/liver.nii.gz"});
  EXPECT_EQ(
      found(masks, {nifti("s0001/ct.nii.gz"), nifti("s0002.nii.gz"), nifti("s0004/ct.nii.gz")}),
      (Texts{"s0001/liver.nii.gz", "s0002/segmentations/liver.nii.gz", ""}));
  EXPECT_EQ(masks.unused(), (Texts{"s0001/spleen.nii.gz", "s0003/liver.nii.gz"}));
}

// The data set as it is published, images and masks together: no case takes another's image, and
// one that nobody has segmented takes nothing from the others.
TEST_F(MaskNames, TotalSegmentatorsImagesAreNoMasks) {
  const auto masks =
      with({"s1/ct.nii.gz", "s1/segmentations/liver.nii.gz", "s1/segmentations/spleen.nii.gz",
            "s2/ct.nii.gz", "s2/segmentations/liver.nii.gz", "s3/ct.nii.gz"});
  EXPECT_EQ(found(masks, {nifti("s1/ct.nii.gz"), nifti("s2/ct.nii.gz"), nifti("s3/ct.nii.gz"),
                          nifti("other/spleen.nii.gz")}),
            (Texts{"s1/segmentations/liver.nii.gz", "s2/segmentations/liver.nii.gz", "", ""}));
}

// Several volumes in one CASE folder: nothing says which of them liver.nii.gz was drawn on.
TEST_F(MaskNames, AFoldersLiverIsOneVolumes) {
  const auto masks = with({"P1/liver.nii.gz"});
  EXPECT_EQ(found(masks, {nifti("P1/arterial.nii.gz"), nifti("P1/portal.nii.gz")}),
            (Texts{"ambiguous", "ambiguous"}));
  EXPECT_EQ(masks.ambiguous(), Texts{"P1/liver.nii.gz"});
  EXPECT_TRUE(masks.unused().empty());
}

TEST_F(MaskNames, FoldersCount) {
  const Series a = nifti("siteA/001.nii.gz"), b = nifti("siteB/001.nii.gz");
  EXPECT_EQ(found(with({"siteA/001.nii.gz"}), {a, b}), (Texts{"siteA/001.nii.gz", ""}));
  EXPECT_EQ(found(with({"masks_siteA/001_seg.nii.gz"}), {a, b}),
            (Texts{"masks_siteA/001_seg.nii.gz", ""}));
  EXPECT_EQ(found(with({"001.nii.gz"}), {a, b}), (Texts{"ambiguous", "ambiguous"}));
  EXPECT_EQ(found(with({"siteA/001.nii.gz", "siteB/001.nii.gz"}), {a, b}),
            (Texts{"siteA/001.nii.gz", "siteB/001.nii.gz"}));
  // A file that is siteA's by its path does not make the other one siteB's.
  EXPECT_EQ(found(with({"siteA/001.nii.gz", "001.nii.gz"}), {a, b}),
            (Texts{"siteA/001.nii.gz", "ambiguous"}));
  // The other site's volume is not in the export, or cannot be read: its mask is not this one's.
  const auto other = with({"siteB/001.nii.gz"});
  EXPECT_EQ(found(other, a), "");
  EXPECT_EQ(other.elsewhere(), 1U);
  Series broken = b;
  broken.code = Code::TRUNCATED_FILE;
  EXPECT_EQ(found(with({"001.nii.gz"}), {a, broken}), (Texts{"ambiguous", "ambiguous"}));
  // One folder more on either side says nothing against it.
  EXPECT_EQ(found(with({"readers/siteA/001.nii.gz"}), {a, b}),
            (Texts{"readers/siteA/001.nii.gz", ""}));
  EXPECT_EQ(found(with({"annotations/001.nii.gz"}), nifti("images/001.nii.gz")),
            "annotations/001.nii.gz");
  EXPECT_EQ(found(with({"001.nii.gz"}), {nifti("001.nii.gz"), a}), (Texts{"001.nii.gz", ""}));
}

// A folder that names somebody whom neither the volume's path, its header nor the export's own
// place knows: another site's numbering, and nothing that competes.
TEST_F(MaskNames, AStrangersFolderServesNobody) {
  const Series flat = nifti("001.nii.gz");
  for (const char* file : {"siteB/001.nii.gz", "siteB/labelsTr/001_seg.nii.gz",
                           "siteB/001/liver.nii.gz", "siteB/masks/001.nii.gz"}) {
    const auto masks = with({file});
    EXPECT_EQ(found(masks, flat), "") << file;
    EXPECT_EQ(masks.elsewhere(), 1U) << file;
  }
  EXPECT_EQ(found(with({"siteB/001.nii.gz"}), nifti("images/001.nii.gz")), "");
  EXPECT_EQ(found(with({"siteB/001.nii.gz"}), nifti("imagesTr/001.nii.gz")), "");
  for (const char* file : {"001.nii.gz", "masks/001.nii.gz", "predictions/001.nii.gz",
                           "labelsTr/001.nii.gz", "train/001.nii.gz", "001/liver.nii.gz"})
    EXPECT_EQ(found(with({file}), flat), file);
  // The export lies in a folder of that name.
  Scan scan;
  scan.root = "/data/siteB/images";
  scan.series.push_back(flat);
  EXPECT_EQ(with({"siteB/001.nii.gz"}).match(scan)[0].files.size(), 1U);
  scan.root = "/data/siteA/images";
  EXPECT_TRUE(with({"siteB/001.nii.gz"}).match(scan)[0].files.empty());
  // Patients' numbers repeat between sites as well; UIDs do not.
  const Series scan_of_p1 = dicom("1.1", "P1", "S1", "DICOM/0001/IM1");
  const auto masks = with({"siteB/P1.nii.gz"});
  EXPECT_EQ(found(masks, scan_of_p1), "");
  EXPECT_EQ(masks.elsewhere(), 1U);
  for (const char* file : {"P1.nii.gz", "masks/P1.nii.gz", "train/P1.nii.gz", "P1/P1.nii.gz",
                           "0001/P1.nii.gz", "siteB/1.1.nii.gz", "siteB/S1.nii.gz"})
    EXPECT_EQ(found(with({file}), scan_of_p1), file);
}

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

TEST_F(MaskNames, VariantsOfAStem) {
  for (const char* end : {"", "_seg", "_mask", "_liver", "-seg", "-mask"}) {
    const std::string name = "case7" + std::string(end) + ".nii.gz";
    EXPECT_EQ(found(with({name, "case70.nii.gz"}), nifti("images/case7.nii")), name);
  }
  EXPECT_EQ(found(with({"segmentation-case7.nii"}), nifti("case7.nii")), "segmentation-case7.nii");
}

TEST_F(MaskNames, DirectoriesThatAreNone) {
  EXPECT_THROW(MaskDirectory(here_.path() / "nowhere"), Error);
  touch("file.nii");
  EXPECT_THROW(MaskDirectory(here_.path() / "file.nii"), Error);
  EXPECT_EQ(with({}).size(), 0U);
  // A link that leads nowhere, or back up, is named.
  const auto masks = with({"P1.nii"});
  fs::create_symlink(here_.path() / "gone.nii", here_.path() / "P2.nii");
  fs::create_directory_symlink(here_.path(), here_.path() / "loop");
  const MaskDirectory again(here_.path());
  EXPECT_EQ(again.size(), 1U);
  std::map<std::string, Code> others;
  for (const FileEntry& file : again.others()) others[file.relative_path] = file.code;
  EXPECT_EQ(others["P2.nii"], Code::DANGLING_LINK);
  EXPECT_TRUE(others.contains("loop"));
}

}  // namespace
}  // namespace wsp

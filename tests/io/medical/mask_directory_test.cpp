// Which files of a --masks directory belong to which series: by names of files and folders.
#include <gtest/gtest.h>

#include <map>

#include "io/core/error.hpp"
#include "io/medical/image_file.hpp"
#include "io/medical/masks.hpp"
#include "mask_names_support.hpp"

namespace wsp {
namespace {

namespace fs = std::filesystem;
using test::MaskNames;

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

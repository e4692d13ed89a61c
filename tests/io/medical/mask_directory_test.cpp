// Which files of a --masks directory belong to which series.
#include <gtest/gtest.h>

#include <fstream>

#include "io/core/error.hpp"
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
  [[nodiscard]] std::string found(const MaskDirectory& masks, const Series& series) const {
    std::string text;
    for (const fs::path& path : masks.find(series))
      text += (text.empty() ? "" : " ") + fs::relative(path, here_.path()).generic_string();
    return text;
  }
  static Series dicom(const std::string& series_uid, const std::string& patient) {
    Series s;
    s.series_uid = s.key = series_uid;
    s.patient_id = patient;
    s.relative_path = "a/b/IM0001";
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
  const auto masks = with({"1.2.3.nii.gz", "1.2.30.nii.gz", "deep/er/P7_seg.nrrd", "P8.nii",
                           "P9-mask.nhdr", "notes.txt", "._1.2.3.nii.gz", "P10/liver.nii.gz"});
  EXPECT_EQ(masks.size(), 6U);
  EXPECT_EQ(found(masks, dicom("1.2.3", "P1")), "1.2.3.nii.gz");
  EXPECT_EQ(found(masks, dicom("9", "P7")), "deep/er/P7_seg.nrrd");
  EXPECT_EQ(found(masks, dicom("9", "P8")), "P8.nii");
  EXPECT_EQ(found(masks, dicom("9", "P9")), "P9-mask.nhdr");
  EXPECT_EQ(found(masks, dicom("9", "P10")), "P10/liver.nii.gz");
  EXPECT_EQ(found(masks, dicom("9", "P")), "");
  EXPECT_EQ(found(masks, dicom("", "")), "");
  EXPECT_EQ(masks.unused(), std::vector<std::string>{"1.2.30.nii.gz"});
}

TEST_F(MaskNames, AFileWithoutANameBelongsToNobody) {
  const auto masks = with({"_seg.nii.gz", "_mask.nii", "liver.nii.gz"});
  EXPECT_EQ(found(masks, dicom("", "")), "");
  EXPECT_EQ(found(masks, dicom("1.2", "P")), "");
  EXPECT_EQ(masks.unused().size(), 3U);
}

TEST_F(MaskNames, OfDataSetsThatAreWellKnown) {
  const auto lits = with({"segmentation-1.nii", "segmentation-10.nii", "segmentation-0.nii.gz"});
  EXPECT_EQ(found(lits, nifti("volume-1.nii")), "segmentation-1.nii");
  EXPECT_EQ(found(lits, nifti("batch/volume-10.nii.gz")), "segmentation-10.nii");
  EXPECT_EQ(lits.unused(), std::vector<std::string>{"segmentation-0.nii.gz"});
  const auto nnunet = with({"liver_3.nii.gz", "liver_30.nii.gz"});
  EXPECT_EQ(found(nnunet, nifti("imagesTr/liver_3_0000.nii.gz")), "liver_3.nii.gz");
  EXPECT_EQ(found(nnunet, nifti("imagesTr/liver_3.nii.gz")), "liver_3.nii.gz");  // MSD
  EXPECT_EQ(nnunet.unused(), std::vector<std::string>{"liver_30.nii.gz"});
}

TEST_F(MaskNames, TotalSegmentatorsFolders) {
  const auto masks = with({"s0001/liver.nii.gz", "s0001/spleen.nii.gz",
                           "s0002/segmentations/liver.nii.gz", "s0003/liver.nii.gz"});
  EXPECT_EQ(found(masks, nifti("s0001/ct.nii.gz")), "s0001/liver.nii.gz");
  EXPECT_EQ(found(masks, nifti("s0002.nii.gz")), "s0002/segmentations/liver.nii.gz");
  EXPECT_EQ(found(masks, nifti("s0004/ct.nii.gz")), "");
  EXPECT_EQ(masks.unused(),
            (std::vector<std::string>{"s0001/spleen.nii.gz", "s0003/liver.nii.gz"}));
}

// The data set as it is published, images and masks together: no case takes another's image.
TEST_F(MaskNames, TotalSegmentatorsImagesAreNoMasks) {
  const auto masks =
      with({"s1/ct.nii.gz", "s1/segmentations/liver.nii.gz", "s1/segmentations/spleen.nii.gz",
            "s2/ct.nii.gz", "s2/segmentations/liver.nii.gz"});
  EXPECT_EQ(found(masks, nifti("s1/ct.nii.gz")), "s1/segmentations/liver.nii.gz");
  EXPECT_EQ(found(masks, nifti("s2/ct.nii.gz")), "s2/segmentations/liver.nii.gz");
  EXPECT_EQ(found(masks, nifti("other/spleen.nii.gz")), "");
}

TEST_F(MaskNames, TwoCandidatesAreBothShownInOrder) {
  const auto masks = with({"b/P1.nii.gz", "a/P1_seg.nii.gz", "1.2.nrrd"});
  EXPECT_EQ(found(masks, dicom("1.2", "P1")), "1.2.nrrd a/P1_seg.nii.gz b/P1.nii.gz");
  EXPECT_TRUE(masks.unused().empty());
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
  // A link that leads nowhere, or back up, is passed over.
  const auto masks = with({"P1.nii"});
  fs::create_symlink(here_.path() / "gone.nii", here_.path() / "P2.nii");
  fs::create_directory_symlink(here_.path(), here_.path() / "loop");
  EXPECT_EQ(MaskDirectory(here_.path()).size(), 1U);
}

}  // namespace
}  // namespace wsp

// What is no CT volume, by code: refusals of the shared data's MANIFEST.md.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "io/core/error.hpp"
#include "io/medical/scan.hpp"
#include "support/test_data.hpp"

namespace wsp {
namespace {

struct ExpectedCode {
  const char* path;
  Code code;
};
void PrintTo(const ExpectedCode& e, std::ostream* out) { *out << e.path; }

class RefusedFile : public testing::TestWithParam<ExpectedCode> {};

TEST_P(RefusedFile, HasItsCode) {
  WSP_REQUIRE_TEST_DATA(data);
  ScanOptions options;
  options.min_slices = 1;
  const Scan scan = scan_export(data / GetParam().path, options);
  ASSERT_EQ(scan.files.size(), 1U);
  EXPECT_EQ(to_string(scan.files.front().code), to_string(GetParam().code))
      << scan.files.front().detail;
  for (const Series& s : scan.series) {
    const bool usable = GetParam().code == Code::USED;
    EXPECT_EQ(s.code == Code::USED, usable);
    EXPECT_EQ(read_series(scan, s, {}).ok(), usable);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Manifest, RefusedFile,
    testing::Values(
        ExpectedCode{"geometry/philips_surview_localizer/I10", Code::LOCALIZER},
        ExpectedCode{"geometry/philips_surview_localizer/DIRFILE", Code::DICOMDIR},
        ExpectedCode{"geometry/philips_exam_summary_mixed_sizes/I10", Code::SECONDARY_CAPTURE},
        ExpectedCode{"geometry/philips_exam_summary_mixed_sizes/I40", Code::BURNED_IN},
        ExpectedCode{"geometry/philips_exam_summary_mixed_sizes/I50", Code::SECONDARY_CAPTURE},
        ExpectedCode{"transfer_syntax/jpegxl_unsupported/will-jxl.dcm",
                     Code::UNSUPPORTED_TRANSFER_SYNTAX},
        ExpectedCode{"transfer_syntax/small_pydicom/MR_small.dcm", Code::NOT_CT},
        ExpectedCode{"transfer_syntax/bits/signed-raw-9bit.dcm", Code::SECONDARY_CAPTURE},
        ExpectedCode{"multiframe/emri_small.dcm", Code::NOT_CT},
        ExpectedCode{"seg_rt/lungfcp_modality_SEG_stored_as_CT/1-040.dcm", Code::NOT_CT},
        ExpectedCode{"seg_rt/pydicom_rt/rtplan.dcm", Code::NO_PIXELS},
        ExpectedCode{"seg_rt/pydicom_rt/rtdose.dcm", Code::NOT_CT},
        ExpectedCode{"corrupt/dicom/MR_truncated.dcm", Code::TRUNCATED_FILE},
        ExpectedCode{"corrupt/dicom/badVR.dcm", Code::BAD_HEADER},
        ExpectedCode{"corrupt/dicom/no_meta.dcm", Code::UNREADABLE},
        ExpectedCode{"corrupt/dicom/ExplVR_BigEndNoMeta.dcm", Code::NO_PIXELS},
        ExpectedCode{"corrupt/dicom/ExplVR_LitEndNoMeta.dcm", Code::NO_PIXELS},
        ExpectedCode{"corrupt/dicom/no_meta_group_length.dcm", Code::NO_PIXELS},
        ExpectedCode{"corrupt/dicom/rtplan_truncated.dcm", Code::UNREADABLE},
        ExpectedCode{"corrupt/dicom/UN_sequence.dcm", Code::NO_PIXELS},
        ExpectedCode{"corrupt/dicom/bad_sequence.dcm", Code::USED},
        ExpectedCode{"corrupt/dicom_fo/GH220.dcm", Code::NO_PIXELS},
        ExpectedCode{"corrupt/dicom_fo/1403-OB.dcm", Code::SECONDARY_CAPTURE},
        ExpectedCode{"charset/chrSQEncoding.dcm", Code::NO_PIXELS},
        ExpectedCode{"charset/chrH31.dcm", Code::SECONDARY_CAPTURE},
        ExpectedCode{"dicomdir/pydicom_dicomdirtests/DICOMDIR", Code::DICOMDIR},
        ExpectedCode{"dicomdir/pydicom_dicomdirtests/DICOMDIR-bigEnd", Code::DICOMDIR},
        ExpectedCode{"dicomdir/pydicom_dicomdirtests/DICOMDIR-empty.dcm", Code::DICOMDIR},
        ExpectedCode{"dicomdir/pydicom_dicomdirtests/DICOMDIR-implicit", Code::DICOMDIR},
        ExpectedCode{"junk/DS_Store", Code::NOT_DICOM},
        ExpectedCode{"junk/crayons.icc", Code::NOT_DICOM},
        ExpectedCode{"junk/zipMR.gz", Code::ARCHIVE},
        ExpectedCode{"junk/test1.json", Code::NOT_DICOM}));

TEST(RefusedSeries, FourSlicesAtOnePlaceAreNoVolume) {
  WSP_REQUIRE_TEST_DATA(data);
  ScanOptions options;
  options.min_slices = 1;
  const Scan scan =
      scan_export(data / "geometry/siemens_not_a_volume_4_slices_same_position", options);
  ASSERT_EQ(scan.series.size(), 1U);
  EXPECT_EQ(scan.series.front().code, Code::DUPLICATE_POSITION);
  for (const FileEntry& file : scan.files) EXPECT_EQ(file.code, Code::DUPLICATE_POSITION);
}

TEST(RefusedSeries, ExamSummaryGivesNothing) {
  WSP_REQUIRE_TEST_DATA(data);
  const Scan scan = scan_export(data / "geometry/philips_exam_summary_mixed_sizes", {});
  for (const FileEntry& file : scan.files) EXPECT_EQ(info(file.code).kind, CodeKind::ignored);
  for (const Series& s : scan.series) EXPECT_NE(s.code, Code::USED);
}

TEST(Walk, FindsTheCtSeriesBesideEveryDicomdir) {
  WSP_REQUIRE_TEST_DATA(data);
  ScanOptions options;
  options.min_slices = 1;
  const Scan scan = scan_export(data / "dicomdir", options);
  EXPECT_EQ(scan.files.size(), 39U);
  std::vector<std::size_t> volumes;
  int directories = 0;
  for (const Series& s : scan.series) {
    if (s.code == Code::USED) volumes.push_back(s.planes.size());
  }
  for (const FileEntry& file : scan.files) directories += file.code == Code::DICOMDIR ? 1 : 0;
  EXPECT_EQ(volumes, (std::vector<std::size_t>{5, 4}));
  EXPECT_EQ(directories, 7);
  EXPECT_TRUE(std::is_sorted(
      scan.files.begin(), scan.files.end(),
      [](const FileEntry& a, const FileEntry& b) { return a.relative_path < b.relative_path; }));
}

TEST(Walk, MasksAreFoundBesideTheirSeries) {
  WSP_REQUIRE_TEST_DATA(data);
  ScanOptions options;
  options.min_slices = 1;
  const Scan scan = scan_export(data / "liver/dcmqi_ct3slice_with_dicomseg", options);
  ASSERT_EQ(scan.masks.size(), 1U);
  EXPECT_EQ(scan.files[scan.masks.front().file].relative_path, "liver.dcm");
  EXPECT_FALSE(scan.masks.front().is_rtstruct);
}

TEST(Walk, NoExportIsAnError) { EXPECT_THROW((void)scan_export("/nonexistent/export", {}), Error); }

}  // namespace
}  // namespace wsp

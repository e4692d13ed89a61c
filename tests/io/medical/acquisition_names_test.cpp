// Whose the parts of a series are, what they are called, and parts of an enhanced object.
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "dicom_writer.hpp"
#include "io/medical/scan.hpp"
#include "passes_of_a_series.hpp"

namespace wsp {
namespace {

using test::Acquisitions;
using test::body;
using test::DicomSlice;
using test::put;
using test::Sizes;
using test::write_dicom;

TEST_F(Acquisitions, PersonsWithoutAnIdAreTwo) {
  struct Two {
    const char* name;
    DcmTagKey tag;
    std::string first, second;
    bool split;
  };
  const std::vector<Two> pairs{{"sex", DCM_PatientSex, "F", "M", true},
                               {"birth", DCM_PatientBirthDate, "19500101", "19310405", true},
                               {"name", DCM_PatientName, "A^B", "C^D", true},
                               {"issuer", DCM_IssuerOfPatientID, "ONE", "TWO", true},
                               {"case", DCM_PatientSex, "f", "F", false},
                               {"blank in half of the slices", DCM_PatientSex, "", "F", false}};
  for (const Two& two : pairs) {
    SCOPED_TRACE(two.name);
    std::filesystem::remove_all(directory_.path());
    // One behind the other: positions alone would not tell.
    for (int n = 0; n < 2; ++n)
      write({60.0 * n, 5, 12, 60, [&two, n](DcmDataset& d, int) {
               for (const DcmTagKey& tag :
                    {DCM_PatientID, DCM_StudyInstanceUID, DCM_SeriesInstanceUID})
                 put(d, tag, "");
               put(d, two.tag, n == 0 ? two.first : two.second);
             }});
    EXPECT_EQ(usable(), two.split ? (Sizes{12, 12}) : Sizes{24});
    const Scan found = scan();
    for (const Series& s : found.series) EXPECT_EQ(s.several_persons, two.split);
    EXPECT_EQ(found.series.front().key != found.series.back().key, two.split);
  }
}

TEST_F(Acquisitions, ANameIsNoPersonOfItsOwnBesideIdAndBirthDate) {
  for (int n = 0; n < 2; ++n)
    write({60.0 * n, 5, 12, 60, [n](DcmDataset& d, int) {
             put(d, DCM_PatientBirthDate, "19500101");
             put(d, DCM_PatientName, n == 0 ? "A^B" : "A-C^B");
           }});
  EXPECT_EQ(usable(), Sizes{24});
}

TEST_F(Acquisitions, KeysAndPartsDoNotDependOnValues) {
  // The order is that of the files, not of what the header says.
  for (const bool swapped : {false, true}) {
    std::filesystem::remove_all(directory_.path());
    count_ = 0;
    for (int n = 0; n < 2; ++n)
      write({2.0 * n, 5, 12, 60 + 40 * n, [=](DcmDataset& d, int) {
               put(d, DCM_AcquisitionNumber, (n == 0) == swapped ? "2" : "1");
             }});
    const Scan found = scan();
    ASSERT_EQ(found.series.size(), 2U);
    EXPECT_EQ(found.series[0].key, "1.2.3#1");
    EXPECT_NEAR(found.series[0].planes.front().z_mm, 0, 1e-9);
    EXPECT_NEAR(found.series[1].planes.front().z_mm, 2, 1e-9);
  }
}

/// What one frame says of itself.
struct Frame {
  double z = 0;
  int hu = 60;
  std::function<void(DcmItem& group)> says;
};

DcmItem& item_of(DcmItem& parent, const DcmTagKey& sequence) {
  DcmItem* item = nullptr;
  parent.findOrCreateSequenceItem(sequence, item, -2);
  return *item;
}

void write_enhanced(const std::filesystem::path& path, const std::vector<Frame>& frames) {
  DicomSlice s;
  s.columns = s.rows = 24;
  s.sop_class = UID_EnhancedCTImageStorage;
  for (std::size_t f = 0; f < frames.size(); ++f) {
    s.position[2] = frames[f].z;
    const auto words = body(s, frames[f].hu, static_cast<std::uint32_t>(f));
    s.pixels.insert(s.pixels.end(), words.begin(), words.end());
  }
  s.edit = [&](DcmDataset& d) {
    for (const DcmTagKey& tag : {DCM_ImagePositionPatient, DCM_ImageOrientationPatient,
                                 DCM_PixelSpacing, DCM_SliceThickness})
      delete d.remove(tag);
    put(d, DCM_NumberOfFrames, std::to_string(frames.size()));
    DcmItem& shared = item_of(d, DCM_SharedFunctionalGroupsSequence);
    item_of(shared, DCM_PlaneOrientationSequence)
        .putAndInsertString(DCM_ImageOrientationPatient, "1\\0\\0\\0\\1\\0");
    item_of(shared, DCM_PixelMeasuresSequence).putAndInsertString(DCM_PixelSpacing, "1\\1");
    item_of(shared, DCM_PixelMeasuresSequence).putAndInsertString(DCM_SliceThickness, "5");
    for (const Frame& frame : frames) {
      DcmItem& group = item_of(d, DCM_PerFrameFunctionalGroupsSequence);
      item_of(group, DCM_PlanePositionSequence)
          .putAndInsertString(DCM_ImagePositionPatient, test::decimals({0, 0, frame.z}).c_str());
      frame.says(group);
    }
  };
  write_dicom(path, s);
}

TEST_F(Acquisitions, FramesOfAnEnhancedObjectAreToldApartByTheirGroups) {
  struct Group {
    const char* name;
    std::function<void(DcmItem&, int n)> says;
    bool stations_are_one;
  };
  const auto text = [](const DcmTagKey& macro, const DcmTagKey& tag, const char* a, const char* b) {
    return [=](DcmItem& group, int n) {
      DcmItem* item = nullptr;
      group.findOrCreateSequenceItem(macro, item, 0);
      item->putAndInsertString(tag, n == 0 ? a : b);
    };
  };
  const std::vector<Group> groups{
      {"StackID", text(DCM_FrameContentSequence, DCM_StackID, "1", "2"), true},
      {"AcquisitionNumber",
       [](DcmItem& group, int n) {
         item_of(group, DCM_FrameContentSequence)
             .putAndInsertUint16(DCM_FrameAcquisitionNumber, static_cast<Uint16>(n + 1));
       },
       true},
      {"AcquisitionTime",
       text(DCM_FrameContentSequence, DCM_FrameAcquisitionDateTime, "20200101100100",
            "20200101100200"),
       true},
      {"ImageType",
       text(DCM_CTImageFrameTypeSequence, DCM_FrameType, "ORIGINAL\\PRIMARY\\VOLUME\\NONE",
            "ORIGINAL\\PRIMARY\\VOLUME\\X"),
       true},
      {"contrast phase",
       text(DCM_ContrastBolusUsageSequence, DCM_ContrastBolusAgentPhase, "ARTERIAL", "DELAYED"),
       false},
      {"ContrastBolusAgent",
       text(DCM_ContrastBolusUsageSequence, DCM_ContrastBolusAgentAdministered, "NO", "YES"),
       false},
      {"ConvolutionKernel",
       text(DCM_CTReconstructionSequence, DCM_ConvolutionKernel, "B30f", "B70f"), false},
      {"KVP", text(DCM_CTXRayDetailsSequence, DCM_KVP, "80", "120"), false},
      {"IrradiationEventUID",
       text(DCM_IrradiationEventIdentificationSequence, DCM_IrradiationEventUID, "1.3.1", "1.3.2"),
       true}};
  for (const Group& group : groups) {
    SCOPED_TRACE(group.name);
    for (const double shift : {2.0, 60.0}) {
      std::vector<Frame> frames;
      for (int n = 0; n < 2; ++n)
        for (int k = 0; k < 12; ++k)
          frames.push_back({5.0 * k + n * shift, shift == 60 ? 60 : 60 + 40 * n,
                            [&group, n](DcmItem& item) { group.says(item, n); }});
      write_enhanced(directory_.path() / "enhanced", frames);
      const bool one = shift == 60 && group.stations_are_one;
      EXPECT_EQ(usable(), one ? Sizes{24} : (Sizes{12, 12}));
      if (!one) {
        EXPECT_EQ(told_by(), std::vector<std::string>{group.name});
      }
    }
  }
}

}  // namespace
}  // namespace wsp

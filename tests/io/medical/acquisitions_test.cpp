// Series that hold more than one acquisition, and sound ones that only look like it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "dicom_writer.hpp"
#include "io/medical/interleave.hpp"
#include "io/medical/scan.hpp"
#include "support/test_data.hpp"

namespace wsp {
namespace {

using test::DicomSlice;
using test::TemporaryDirectory;
using test::write_dicom;

/// One pass of a scanner: where its slices lie, what its liver measures, what its header says.
struct Pass {
  double first_mm = 0, step_mm = 5;
  int slices = 12;
  int liver_hu = 60;
  std::function<void(DcmDataset&, int k)> says;
};

void put(DcmDataset& d, const DcmTagKey& tag, const std::string& value) {
  d.putAndInsertString(tag, value.c_str());
}

/// A body of 40 HU with noise and a liver, which changes with z.
std::vector<std::uint16_t> body(const DicomSlice& s, int liver_hu, std::uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<std::uint16_t> words;
  for (std::int64_t y = 0; y < s.rows; ++y)
    for (std::int64_t x = 0; x < s.columns; ++x) {
      const double u = (static_cast<double>(x) - 12) / 11, v = (static_cast<double>(y) - 12) / 9;
      const double w = (static_cast<double>(x) - 8 - s.position[2] / 40) / 5;
      double hu = u * u + v * v > 1 ? -1000 : w * w + v * v < 1 ? liver_hu : 40;
      hu += static_cast<double>(random() % 9) - 4;
      words.push_back(static_cast<std::uint16_t>(std::lround(hu)));
    }
  return words;
}

class Acquisitions : public testing::Test {
 protected:
  void write(const Pass& pass, double thickness_mm = 5, const std::string& folder = ".") {
    std::filesystem::create_directories(directory_.path() / folder);
    for (int k = 0; k < pass.slices; ++k) {
      DicomSlice s;
      s.columns = s.rows = 24;
      s.thickness_mm = thickness_mm;
      s.position = {0, 0, pass.first_mm + k * pass.step_mm};
      s.sop_uid = "1.2.3." + std::to_string(++count_);
      s.pixels = body(s, pass.liver_hu, static_cast<std::uint32_t>(count_));
      if (pass.says) s.edit = [&pass, k](DcmDataset& d) { pass.says(d, k); };
      write_dicom(directory_.path() / folder / ("f" + std::to_string(1000 + count_)), s);
    }
  }
  [[nodiscard]] Scan scan() const {
    ScanOptions options;
    options.min_slices = 1;
    return scan_export(directory_.path(), options);
  }
  /// Slices of each volume, as the scan and then the reader see it.
  [[nodiscard]] std::vector<std::size_t> usable() const {
    std::vector<std::size_t> slices;
    const Scan found = scan();
    for (const Series& s : found.series) {
      EXPECT_EQ(s.code, Code::USED) << to_string(s.code) << " " << s.detail;
      const auto loaded = read_series(found, s, {});
      EXPECT_TRUE(loaded.ok()) << (loaded ? "" : loaded.rejection().detail);
      slices.push_back(s.planes.size());
      const bool flagged =
          std::find(s.flags.begin(), s.flags.end(), Code::SERIES_SPLIT) != s.flags.end();
      EXPECT_EQ(flagged, found.series.size() > 1);
      EXPECT_EQ(s.split_by.empty(), found.series.size() == 1);
    }
    std::sort(slices.begin(), slices.end());
    return slices;
  }
  [[nodiscard]] std::vector<std::string> told_by() const {
    return scan().series.front().split_by.front().attributes;
  }

  TemporaryDirectory directory_;
  int count_ = 0;
};

using Sizes = std::vector<std::size_t>;

struct Attribute {
  const char* name;
  DcmTagKey tag;
  std::vector<std::string> values;
};

std::vector<Attribute> attributes() {
  return {
      {"AcquisitionNumber", DCM_AcquisitionNumber, {"1", "2", "3"}},
      {"SeriesNumber", DCM_SeriesNumber, {"3", "4", "5"}},
      {"ImageType",
       DCM_ImageType,
       {"ORIGINAL\\PRIMARY\\AXIAL\\A", "ORIGINAL\\PRIMARY\\AXIAL\\B", "ORIGINAL\\PRIMARY\\AXIAL"}},
      {"TemporalPosition", DCM_TemporalPositionIdentifier, {"1", "2", "3"}},
      {"contrast phase", DCM_ContrastBolusAgentPhase, {"ARTERIAL", "PORTAL", "DELAYED"}},
      {"ContrastBolusAgent", DCM_ContrastBolusAgent, {"", "IOHEXOL", "IOHEXOL 2"}},
      {"AcquisitionTime", DCM_AcquisitionTime, {"102000", "102045.5", "102300"}},
      {"ConvolutionKernel", DCM_ConvolutionKernel, {"B30f", "B70f", "B20f"}},
      {"KVP", DCM_KVP, {"80", "100", "120"}},
      {"SeriesDescription", DCM_SeriesDescription, {"ABD ART", "ABD PV", "ABD LATE"}},
      {"SliceThickness", DCM_SliceThickness, {"5", "3", "1"}},
      {"AcquisitionUID", DCM_AcquisitionUID, {"1.2.1", "1.2.2", "1.2.3"}},
      {"IrradiationEventUID", DCM_IrradiationEventUID, {"1.3.1", "1.3.2", "1.3.3"}},
      {"ScanOptions", DCM_ScanOptions, {"HELICAL MODE", "AXIAL MODE", "CINE"}},
      {"FrameOfReferenceUID", DCM_FrameOfReferenceUID, {"1.4.1", "1.4.2", "1.4.3"}},
  };
}

Pass pass_of(const Attribute& a, std::size_t n, double first_mm, int slices = 12) {
  return {first_mm, 5, slices, 60 + 30 * static_cast<int>(n),
          [&a, n](DcmDataset& d, int) { put(d, a.tag, a.values[n]); }};
}

TEST_F(Acquisitions, EveryAttributeAloneTellsInterleavedPassesApart) {
  for (const Attribute& a : attributes()) {
    SCOPED_TRACE(a.name);
    for (const double shift : {2.0, 2.5}) {
      std::filesystem::remove_all(directory_.path());
      write(pass_of(a, 0, 0));
      write(pass_of(a, 1, shift));
      EXPECT_EQ(usable(), (Sizes{12, 12}));
      EXPECT_EQ(told_by(), std::vector<std::string>{a.name});
      // The pixels agree: one liver in each volume.
      const Scan found = scan();
      for (const Series& s : found.series) {
        EXPECT_NEAR(s.spacing_mm, 5, 1e-6);
        EXPECT_FALSE(s.irregular);
      }
    }
  }
}

TEST_F(Acquisitions, ThreePassesAndPassesOfOtherLength) {
  for (const Attribute& a : attributes()) {
    SCOPED_TRACE(a.name);
    std::filesystem::remove_all(directory_.path());
    write(pass_of(a, 0, 0, 14));
    write(pass_of(a, 1, 1.5, 8));
    write(pass_of(a, 2, 23, 10));  // reaches beyond both
    EXPECT_EQ(usable(), (Sizes{8, 10, 14}));
  }
}

TEST_F(Acquisitions, APartialOverlapIsAnOverlap) {
  for (const Attribute& a : attributes()) {
    SCOPED_TRACE(a.name);
    std::filesystem::remove_all(directory_.path());
    write(pass_of(a, 0, 0));
    write(pass_of(a, 1, 42));  // 0..55 and 42..97
    EXPECT_EQ(usable(), (Sizes{12, 12}));
  }
}

TEST_F(Acquisitions, SeveralAttributesAreNamedTogetherOrOneAfterTheOther) {
  const auto says = [](const std::string& number, const std::string& kernel) {
    return [=](DcmDataset& d, int) {
      put(d, DCM_AcquisitionNumber, number);
      put(d, DCM_ConvolutionKernel, kernel);
    };
  };
  write({0, 5, 10, 60, says("1", "B30f")});
  write({2, 5, 12, 90, says("2", "B70f")});
  EXPECT_EQ(told_by(), (std::vector<std::string>{"AcquisitionNumber", "ConvolutionKernel"}));
  write({3.5, 5, 14, 120, says("2", "B30f")});
  EXPECT_EQ(usable(), (Sizes{10, 12, 14}));
}

TEST_F(Acquisitions, StationsThatContinueEachOtherAreOneVolume) {
  for (const char* name : {"AcquisitionNumber", "SeriesNumber", "ImageType", "AcquisitionTime",
                           "AcquisitionUID", "IrradiationEventUID", "ScanOptions"}) {
    SCOPED_TRACE(name);
    const auto all = attributes();
    const Attribute& a = *std::find_if(all.begin(), all.end(), [&](const Attribute& one) {
      return std::string(one.name) == name;
    });
    std::filesystem::remove_all(directory_.path());
    for (std::size_t n = 0; n < 3; ++n) {
      Pass pass = pass_of(a, n, 60.0 * static_cast<double>(n));
      pass.liver_hu = 60;
      write(pass);
    }
    EXPECT_EQ(usable(), Sizes{36});
  }
}

TEST_F(Acquisitions, StationsThatDifferInWhatWasDoneAreNot) {
  for (const char* name :
       {"TemporalPosition", "contrast phase", "ContrastBolusAgent", "ConvolutionKernel", "KVP",
        "SeriesDescription", "FrameOfReferenceUID"}) {
    SCOPED_TRACE(name);
    const auto all = attributes();
    const Attribute& a = *std::find_if(all.begin(), all.end(), [&](const Attribute& one) {
      return std::string(one.name) == name;
    });
    std::filesystem::remove_all(directory_.path());
    write(pass_of(a, 0, 0));
    write(pass_of(a, 1, 60));
    EXPECT_EQ(usable(), (Sizes{12, 12}));
  }
}

TEST_F(Acquisitions, StationsBesideAJumpAreNotGlued) {
  const auto station = [](int n, double first) {
    return Pass{first, 5, 12, 60,
                [n](DcmDataset& d, int) { put(d, DCM_AcquisitionNumber, std::to_string(n)); }};
  };
  write(station(1, 0));
  write(station(2, 100));  // 45 mm after the last
  EXPECT_EQ(usable(), (Sizes{12, 12}));
  // One lost slice is a gap, as it is anywhere else.
  std::filesystem::remove_all(directory_.path());
  write(station(1, 0));
  write(station(2, 65));
  const Scan found = scan();
  ASSERT_EQ(found.series.size(), 1U);
  EXPECT_EQ(found.series[0].flags, std::vector<Code>{Code::GAP});
}

TEST_F(Acquisitions, WhatEverySliceHasForItselfSplitsNothing) {
  write({0, 5, 30, 60, [](DcmDataset& d, int k) {
           put(d, DCM_AcquisitionNumber, std::to_string(k + 1));
           put(d, DCM_AcquisitionTime, "1020" + std::to_string(10 + k) + ".5");
           put(d, DCM_ImageComments, "slice " + std::to_string(k));
           put(d, DCM_FrameOfReferenceUID, "1.9." + std::to_string((k * 7919) % 101 + 1));
           put(d, DCM_IrradiationEventUID, "1.8." + std::to_string((k * 104729) % 97 + 1));
           put(d, DCM_XRayTubeCurrent, std::to_string(200 + (k * 31) % 50));
         }});
  EXPECT_EQ(usable(), Sizes{30});
}

TEST_F(Acquisitions, StepAndShootIsOneVolume) {
  // Four slices at every position of the table, each position an acquisition of its own; and a
  // slip of the clock at a seam.
  write({0, 5, 40, 60, [](DcmDataset& d, int k) {
           put(d, DCM_AcquisitionNumber, std::to_string(k / 4 + 1));
           const int t = 10 + 2 * (k / 4) + (k == 7 ? 2 : k == 8 ? -2 : 0);
           put(d, DCM_AcquisitionTime, "1020" + std::to_string(t));
           put(d, DCM_IrradiationEventUID, "1.8." + std::to_string(k / 4 + 1));
         }});
  EXPECT_EQ(usable(), Sizes{40});
}

TEST_F(Acquisitions, TimesInAnyOrderSplitNothing) {
  write({0, 5, 30, 60, [](DcmDataset& d, int k) {
           put(d, DCM_AcquisitionTime, "1020" + std::to_string(10 + (k * 17) % 30));
         }});
  EXPECT_EQ(usable(), Sizes{30});
}

TEST_F(Acquisitions, StepAndShootInTwoPhasesIsTwo) {
  const auto phase = [](int n, double first) {
    return Pass{first, 5, 24, 60 + 40 * n, [n](DcmDataset& d, int k) {
                  put(d, DCM_AcquisitionNumber, std::to_string(6 * n + k / 4 + 1));
                }};
  };
  write(phase(0, 0));
  write(phase(1, 2));
  EXPECT_EQ(usable(), (Sizes{24, 24}));
}

TEST_F(Acquisitions, TimesThatStartAgainAtTheFootAreTwoPasses) {
  // Every slice has its own time; the second pass runs the same way, or back, after a pause or not.
  for (const bool back : {false, true}) {
    for (const int pause : {1, 45}) {
      for (const double shift : {0.0, 2.0}) {  // 0: positions collide
        SCOPED_TRACE(testing::Message() << back << " " << pause << " " << shift);
        std::filesystem::remove_all(directory_.path());
        for (int n = 0; n < 2; ++n)
          write({n * shift, 5, 12, 60 + 40 * n, [=](DcmDataset& d, int k) {
                   const int along = n == 1 && back ? 11 - k : k;
                   const int t = 600 + along + n * (11 + pause);
                   put(d, DCM_AcquisitionTime,
                       "10" + std::to_string(t / 60 + 10) + std::to_string(100 + t % 60).substr(1));
                 }});
        EXPECT_EQ(usable(), (Sizes{12, 12}));
      }
    }
  }
}

TEST_F(Acquisitions, OddSlicesFirstIsOneAcquisition) {
  // Sequential scanners sweep twice: 5 mm slices every 10 mm, then those between. Neither half is
  // whole, and the pixels of neighbours agree.
  for (const DcmTagKey& tag : {DCM_AcquisitionNumber, DCM_AcquisitionTime}) {
    for (const bool same : {true, false}) {
      std::filesystem::remove_all(directory_.path());
      for (int n = 0; n < 2; ++n)
        write({5.0 * n, 10, 12, same ? 60 : 60 + 40 * n, [=](DcmDataset& d, int k) {
                 put(d, tag,
                     tag == DCM_AcquisitionNumber ? std::to_string(n + 1)
                                                  : "1020" + std::to_string(10 + 20 * n + k));
               }});
      // Phases alternate when the second sweep came after the contrast agent.
      EXPECT_EQ(usable(), same ? Sizes{24} : (Sizes{12, 12}));
    }
  }
}

TEST_F(Acquisitions, WhatNothingTellsApartIsRefused) {
  struct Weave {
    std::vector<double> firsts;
    double thickness_mm;
    bool same_hu;
  };
  const std::vector<Weave> weaves{
      {{0, 2}, 5, true},      // distances 2, 3: two regular grids
      {{0, 1}, 5, true},      // 1, 4: multiples of each other
      {{0, 2}, 1, true},      // thin slices
      {{0, 1, 3}, 5, true},   // three grids
      {{0, 42}, 5, true},     // a partial overlap
      {{0, 2.5}, 5, false},   // evenly spaced: only the pixels show it
      {{0, 2.5}, 2.5, false}  // and the thickness says that all is well
  };
  for (const Weave& weave : weaves) {
    SCOPED_TRACE(testing::PrintToString(weave.firsts));
    std::filesystem::remove_all(directory_.path());
    int n = 0;
    for (const double first : weave.firsts)
      write({first, 5, 12, weave.same_hu ? 60 : 60 + 40 * n++, {}}, weave.thickness_mm);
    const Scan found = scan();
    ASSERT_EQ(found.series.size(), 1U);
    EXPECT_EQ(found.series[0].code, Code::INTERLEAVED) << found.series[0].detail;
    EXPECT_FALSE(found.series[0].detail.empty());
    for (const FileEntry& file : found.files) EXPECT_EQ(file.code, Code::INTERLEAVED);
    EXPECT_FALSE(read_series(found, found.series[0], {}).ok());
  }
}

TEST_F(Acquisitions, AlternationBeyondTheSampleIsFoundByTheReader) {
  // The middle is of one phase; 12 slices at the head are of two.
  write({0, 2.5, 40, 60, {}}, 2.5);
  write({100, 5, 6, 60, {}}, 2.5);
  write({102.5, 5, 6, 110, {}}, 2.5);
  const Scan found = scan();
  ASSERT_EQ(found.series.size(), 1U);
  EXPECT_EQ(found.series[0].code, Code::USED);
  const auto loaded = read_series(found, found.series[0], {});
  ASSERT_FALSE(loaded.ok());
  EXPECT_EQ(loaded.rejection().code, Code::INTERLEAVED);
}

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

// --- enhanced CT ---------------------------------------------------------------------------------

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

// --- positions -----------------------------------------------------------------------------------

std::vector<double> join(std::initializer_list<std::array<double, 3>> grids) {
  std::vector<double> z;
  for (const auto& [first, step, count] : grids)
    for (int k = 0; k < count; ++k) z.push_back(first + k * step);
  std::sort(z.begin(), z.end());
  return z;
}

TEST(WovenGrids, SoundStacksAreNoWeave) {
  using dicom::woven_grids;
  EXPECT_TRUE(woven_grids(join({{0, 5, 40}}), 5).empty());
  EXPECT_TRUE(woven_grids(join({{0, 2.5, 40}}), 5).empty());                // overlapping slices
  EXPECT_TRUE(woven_grids(join({{0, 5, 20}, {105, 5, 20}}), 5).empty());    // a hole
  EXPECT_TRUE(woven_grids(join({{0, 5, 20}, {97, 5, 20}}), 5).empty());     // a slip at a seam
  EXPECT_TRUE(woven_grids(join({{0, 5, 20}, {93, 5, 20}}), 5).empty());     // one slice's overlap
  EXPECT_TRUE(woven_grids(join({{0, 4, 14}, {53.08, 7, 14}}), 4).empty());  // two distances
  EXPECT_TRUE(woven_grids(join({{0, 5, 20}, {42, 5, 1}}), 5).empty());      // a slice too many
  EXPECT_TRUE(woven_grids(join({{0, 11, 20}, {5, 11, 20}}), 5).empty());    // pairs of slices
  EXPECT_TRUE(woven_grids({}, 5).empty());
  std::vector<double> tenths, whole, breath;
  std::mt19937 random(7);
  for (int k = 0; k < 60; ++k) {
    tenths.push_back(std::floor(k * 6.5 + 0.5) / 10);
    whole.push_back(std::floor(k * 2.5 + 0.5));
    breath.push_back(k * 5 + static_cast<double>(random() % 1000) / 1000);
  }
  EXPECT_TRUE(woven_grids(tenths, 1).empty());   // 0.6, 0.7, 0.6, 0.7
  EXPECT_TRUE(woven_grids(whole, 2.5).empty());  // 2, 3, 2, 3 of a slice of 2.5 mm
  EXPECT_TRUE(woven_grids(breath, 5).empty());
  // Any slices of a sound stack may be lost.
  for (std::uint32_t seed = 0; seed < 200; ++seed) {
    std::mt19937 lose(seed);
    std::vector<double> z;
    for (int k = 0; k < 60; ++k)
      if (lose() % 8 != 0) z.push_back(k * 3.0);
    EXPECT_TRUE(woven_grids(z, 3).empty()) << "seed " << seed;
  }
}

TEST(WovenGrids, WeavesAreFound) {
  const auto slices = [](const std::vector<double>& z, double thickness) {
    std::vector<std::size_t> n;
    for (const dicom::Grid& grid : dicom::woven_grids(z, thickness)) n.push_back(grid.slices);
    std::sort(n.begin(), n.end());
    return n;
  };
  EXPECT_EQ(slices(join({{0, 5, 20}, {2, 5, 20}}), 5), (Sizes{20, 20}));
  EXPECT_EQ(slices(join({{0, 5, 20}, {0.7, 5, 12}}), 0), (Sizes{12, 20}));
  EXPECT_EQ(slices(join({{0, 5, 20}, {41.5, 3, 15}}), 5), (Sizes{15, 20}));  // other distance
  EXPECT_EQ(slices(join({{-178.329, 5, 35}, {-176.1, 5, 35}}), 5), (Sizes{35, 35}));
  EXPECT_EQ(slices(join({{0, 6, 20}, {1, 6, 20}, {3.5, 6, 20}}), 6), (Sizes{20, 20, 20}));
  EXPECT_EQ(slices(join({{0, 5, 10}, {55, 5, 10}, {2, 5, 20}}), 5), (Sizes{20, 20}));  // one lost
}

// --- pixels --------------------------------------------------------------------------------------

TEST(Alternation, SeriesOfPatientsShowNone) {
  WSP_REQUIRE_TEST_DATA(data);
  ScanOptions options;
  options.min_slices = 1;
  for (const char* folder : {"liver/cptac_pda_C3L-00189_ge_5mm_portal_dicom",
                             "liver/lidc_0314_philips_1mm_FFS_dicom_lower60",
                             "geometry/ge_hispeed_tilt+18.5_variable_spacing",
                             "geometry/philips_ingenuity_tilt-18.5_phantom_16of54",
                             "seg_rt/ibsi_sts008_ct_rtstruct_nifti/dicom_ct"}) {
    const Scan scan = scan_export(data / folder, options);
    for (const Series& s : scan.series) {
      if (s.code != Code::USED) continue;
      const auto loaded = read_series(scan, s, {});
      ASSERT_TRUE(loaded.ok()) << folder;
      const Volume& volume = loaded.value().volume;
      // Of every n-th slice too: 1 to 28 mm apart.
      for (std::int64_t step = 1; step <= 4; ++step) {
        std::vector<std::span<const std::int16_t>> slices;
        for (std::int64_t z = 0; z < volume.geometry.size[2]; z += step)
          slices.push_back(volume.slice(z));
        EXPECT_EQ(dicom::find_alternation(slices, s.spacing_mm * static_cast<double>(step)), "")
            << folder << " every " << step;
      }
    }
  }
}

TEST(Alternation, ContrastInEverySecondSliceOfAPatientIsSeen) {
  WSP_REQUIRE_TEST_DATA(data);
  ScanOptions options;
  const Scan scan = scan_export(data / "liver/cptac_pda_C3L-00189_ge_5mm_portal_dicom", options);
  auto loaded = read_series(scan, scan.series.at(0), {});
  ASSERT_TRUE(loaded.ok());
  Volume volume = loaded.value().volume;
  // Every second slice as before the contrast agent came, by 20 HU.
  for (std::int64_t z = 0; z < volume.geometry.size[2]; z += 2)
    for (std::int64_t i = 0; i < volume.geometry.slice_voxels(); ++i) {
      auto& hu = volume.hu[static_cast<std::size_t>(z * volume.geometry.slice_voxels() + i)];
      if (hu > 40 && hu < 200) hu = static_cast<std::int16_t>(hu - 20);
    }
  EXPECT_NE(dicom::find_alternation(volume), "");
}

TEST(Alternation, StepsAndSingleBadSlicesAreNone) {
  std::mt19937 random(3);
  std::vector<std::vector<std::int16_t>> hu;
  for (int k = 0; k < 24; ++k) {
    hu.emplace_back();
    for (int i = 0; i < 1024; ++i)
      hu.back().push_back(static_cast<std::int16_t>(40 + k + (i + 7 * k) % 90 + random() % 40));
  }
  const auto seen = [&](const std::function<int(int)>& added) {
    auto copy = hu;
    std::vector<std::span<const std::int16_t>> slices;
    for (int k = 0; k < 24; ++k) {
      for (auto& v : copy[static_cast<std::size_t>(k)]) v = static_cast<std::int16_t>(v + added(k));
      slices.emplace_back(copy[static_cast<std::size_t>(k)]);
    }
    return dicom::find_alternation(slices, 5);
  };
  EXPECT_EQ(seen([](int) { return 0; }), "");
  EXPECT_EQ(seen([](int k) { return k == 11 ? 60 : 0; }), "");  // an artefact
  EXPECT_EQ(seen([](int k) { return k >= 12 ? 60 : 0; }), "");  // heart or breath
  EXPECT_EQ(seen([](int k) { return k / 4 % 2 * 40; }), "");    // blocks
  EXPECT_NE(seen([](int k) { return k % 2 * 20; }), "");
  EXPECT_NE(seen([](int k) { return k >= 10 && k < 20 ? k % 2 * 40 : 0; }), "");
}

}  // namespace
}  // namespace wsp

// Series that hold more than one acquisition, and sound ones that only look like it.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "io/medical/scan.hpp"
#include "passes_of_a_series.hpp"

namespace wsp {
namespace {

using test::Acquisitions;
using test::Pass;
using test::put;
using test::Sizes;

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

}  // namespace
}  // namespace wsp

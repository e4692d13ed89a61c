// The phase of contrast that words and times of a header name.
#include <dcmtk/config/osconfig.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "four_slices.hpp"
#include "io/medical/scan.hpp"
#include "support/test_data.hpp"

namespace wsp {
namespace {

using test::scan_all;
using test::stack;
using test::TemporaryDirectory;

struct Texts {
  const char *description = "", *protocol = "", *comments = "";
  const char *acquired = "", *injected = "";
};

Series scored(const Texts& texts) {
  const TemporaryDirectory directory;
  return stack(directory,
               [&](int, DcmDataset& d) {
                 d.putAndInsertString(DCM_SeriesDescription, texts.description);
                 d.putAndInsertString(DCM_ProtocolName, texts.protocol);
                 d.putAndInsertString(DCM_ImageComments, texts.comments);
                 d.putAndInsertString(DCM_AcquisitionTime, texts.acquired);
                 d.putAndInsertString(DCM_ContrastBolusStartTime, texts.injected);
               })
      .series.at(0);
}

std::string phase_reason(const Series& s) {
  for (const ScoreReason& reason : s.reasons)
    if (reason.criterion == "phase") return reason.why;
  return "none";
}

TEST(Phase, TheMostTellingSourceSpeaksFirst) {
  const char* protocol = "LIVER ART / PORTAL / DELAY";
  EXPECT_EQ(phase_reason(scored({"PORTAL VENOUS PHASE", protocol})),
            "portal from the series description");
  EXPECT_EQ(phase_reason(scored({"ABDOMEN", protocol, "", "101510", "101400"})),
            "portal from the delay of 70 s after the bolus");
  EXPECT_EQ(phase_reason(scored({"ABDOMEN", "ARTERIAL", "PORTAL", "101510", "101400"})),
            "portal from the delay of 70 s after the bolus");
  EXPECT_EQ(phase_reason(scored({"ABDOMEN", "ARTERIAL", "PORTAL"})),
            "arterial from the protocol name");
  EXPECT_EQ(phase_reason(scored({"ABDOMEN", protocol, "portal"})),
            "portal from the image comments");
  EXPECT_EQ(phase_reason(scored({protocol, "ARTERIAL"})), "arterial from the protocol name");
  EXPECT_EQ(phase_reason(scored({protocol})),
            "unknown from several phases in the series description");
  EXPECT_EQ(phase_reason(scored({"ABDOMEN 5.0 70s"})),
            "portal from a delay in the series description");
  EXPECT_EQ(phase_reason(scored({"ABDOMEN"})), "unknown from nothing in the header");
  // Over midnight.
  EXPECT_EQ(scored({"", "", "", "000020", "235910"}).phase, Phase::portal);
}

TEST(Phase, WordsMeanWhatTheyMeanWhereTheyStand) {
  const std::vector<std::pair<const char*, Phase>> texts{
      {"LATE ARTERIAL", Phase::arterial},
      {"Art\xE9riel tardif", Phase::arterial},
      {"SPAETARTERIELL", Phase::arterial},
      {"EARLY ARTERIAL", Phase::arterial},
      {"LATE PORTAL", Phase::portal},
      {"PORTAL VENOUS", Phase::portal},
      {"LIVER LATE", Phase::delayed},
      {"DELAY 5 MIN", Phase::delayed},
      {"DELAY 180S", Phase::delayed},
      {"PORTAL DELAY 70S", Phase::portal},
      {"DELAY 70 S", Phase::portal},
      {"35 SEC DELAY", Phase::arterial},
      {"ART 35S / PV 70S", Phase::unknown},
      {"ART / LATE", Phase::unknown},
      {"WITHOUT CONTRAST", Phase::unenhanced},
      {"ABD W/O", Phase::unenhanced},
      {"ABD W/O CONTRAST", Phase::unenhanced},
      {"NON CONTRAST", Phase::unenhanced},
      {"non-con", Phase::unenhanced},
      {"NONCONTRAST", Phase::unenhanced},
      {"SANS IV", Phase::unenhanced},
      {"SENZA MDC", Phase::unenhanced},
      {"SIN CONTRASTE", Phase::unenhanced},
      {"LIVER PRE", Phase::unenhanced},
      {"PRE CONTRAST", Phase::unenhanced},
      {"PREP", Phase::unknown},
      {"SMART PREP", Phase::unknown},
      {"PREMONITORING", Phase::unknown},
      {"PRE MONITORING", Phase::unknown},
      {"PRE TACE", Phase::unknown},
      {"PRE-OP PORTAL", Phase::portal},
      {"POST CONTRAST", Phase::unknown},
      {"PRE AND POST CONTRAST", Phase::unknown},
      {"W WO CONTRAST", Phase::unknown},
      {"WITH AND WITHOUT CONTRAST", Phase::unknown},
      {"NON IONIC", Phase::unknown},
      {"WITHOUT ORAL", Phase::unknown},
      {"TC DEL ABDOMEN", Phase::unknown},
      {"Abd_Routine 5.0 B31s", Phase::unknown},
      {"ABD 0.35 S", Phase::unknown},
      {"PORTABLE", Phase::unknown},
      {"LATERAL", Phase::unknown}};
  for (const auto& [text, phase] : texts) {
    const Series s = scored({text});
    EXPECT_EQ(to_string(s.phase), to_string(phase)) << text << ": " << phase_reason(s);
  }
}

TEST(Phase, APortalSeriesIsChosenThoughTheProtocolNamesAllPhases) {
  WSP_REQUIRE_TEST_DATA(data);
  const Scan scan = scan_all(data / "reported/r-proto/export");
  ASSERT_EQ(scan.series.size(), 3U);
  const auto best =
      std::max_element(scan.series.begin(), scan.series.end(),
                       [](const Series& a, const Series& b) { return a.score < b.score; });
  EXPECT_EQ(best->phase, Phase::portal);
  EXPECT_EQ(best->relative_path, "1/IM0000");
}

TEST(Phase, AConventionalImageGoesBeforeAMonoenergeticOne) {
  const Series plain = scored({"PORTAL"}), mono = scored({"PORTAL 70 KEV"});
  EXPECT_EQ(mono.phase, Phase::portal);
  EXPECT_GT(plain.score, mono.score);
}

}  // namespace
}  // namespace wsp

// What wsp-qa says of one case: a sound one, and one changed in a single fact on either side of
// each limit of the default rules.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "judge_support.hpp"

namespace wsp::qa {
namespace {

using test::codes_of;
using test::sound_case;

using Change = std::function<void(CaseFacts&, CaseDepth&)>;

std::vector<std::string> said(const Change& change, const DatasetKind& kind = {},
                              const DepthAudit& audit = {}) {
  CaseFacts facts = sound_case("case-1", "sub-1");
  CaseDepth depth;
  depth.shape = 1.2;
  change(facts, depth);
  const Rules rules = load_rules({}, nlohmann::json());
  Judge judge(rules);
  judge_case(facts, depth, audit, kind, judge);
  return codes_of(judge.take());
}

TEST(JudgeCase, SaysNothingOfASoundCase) {
  EXPECT_EQ(said([](CaseFacts&, CaseDepth&) {}), std::vector<std::string>{});
}

struct Fault {
  const char* what;
  const char* code;  ///< the one finding
  Change beyond;     ///< the limit
  Change within;
};

class JudgeCaseOf : public testing::TestWithParam<Fault> {};

TEST_P(JudgeCaseOf, FindsWhatIsBeyondALimitAndThatAlone) {
  EXPECT_EQ(said(GetParam().beyond), std::vector<std::string>{GetParam().code});
  EXPECT_EQ(said(GetParam().within), std::vector<std::string>{});
}

#define WSP_SET(expression) [](CaseFacts& f, CaseDepth& d) { (void)f, (void)d, expression; }

const Fault kFaults[] = {
    {"FatTooDense", "HU_OFFSET", WSP_SET(f.fat_hu = -56), WSP_SET(f.fat_hu = -58)},
    {"FatTooThin", "HU_OFFSET", WSP_SET(f.fat_hu = -148), WSP_SET(f.fat_hu = -146)},
    {"AirOfStoredValues", "HU_OFFSET", WSP_SET(f.air_hu = 24), WSP_SET(f.air_hu = -953)},
    {"NoHounsfieldUnits", "HU_OFFSET", WSP_SET(f.contradiction = "no HU"),
     WSP_SET(f.contradiction = "")},
    {"CutAtTheTop", "HU_CLIPPED", WSP_SET((f.stored_max_hu = 400, f.top_pile = 4.1)),
     WSP_SET((f.stored_max_hu = 400, f.top_pile = 3.9))},
    {"ElevenBits", "HU_CLIPPED", WSP_SET((f.stored_max_hu = 999, f.top_pile = 9)),
     WSP_SET((f.stored_max_hu = 1023, f.top_pile = 9))},
    {"CutAtTheBottom", "HU_CLIPPED", WSP_SET((f.stored_min_hu = -100, f.low_pile = 4.1)),
     WSP_SET((f.stored_min_hu = -1024, f.low_pile = 4.1))},
    {"Unenhanced", "NOT_PORTAL", WSP_SET((f.hu_phase = "unenhanced", f.liver_median_hu = 55)),
     WSP_SET((f.hu_phase = "portal", f.phase = "arterial"))},
    {"ArterialByBoth", "NOT_PORTAL", WSP_SET((f.hu_phase = "arterial", f.phase = "arterial")),
     WSP_SET((f.hu_phase = "arterial", f.phase = "portal"))},
    {"SharpKernel", "KERNEL_SHARP", WSP_SET(f.kernel = "sharp"), WSP_SET(f.kernel = "soft")},
    {"Noise", "NOISE_HIGH", WSP_SET(f.noise_hu = 25.1), WSP_SET(f.noise_hu = 24.9)},
    {"Interpolated", "SLICE_INTERPOLATED", WSP_SET(f.pixels.interpolated = 1),
     WSP_SET(f.pixels.interpolated = 0)},
    {"SlicesFarApart", "SPACING_OUTLIER",
     WSP_SET(f.spacing_mm = f.spacing_min_mm = f.spacing_max_mm = 7.2),
     WSP_SET(f.spacing_mm = f.spacing_min_mm = f.spacing_max_mm = 7)},
    {"LargePixels", "SPACING_OUTLIER", WSP_SET(f.pixel_mm[1] = 1.2), WSP_SET(f.pixel_mm[1] = 1.18)},
    {"AHole", "GAP", WSP_SET((f.gap_mm = 10, f.spacing_max_mm = 10)), WSP_SET(f.gap_mm = 0)},
    {"Irregular", "SPACING_IRREGULAR", WSP_SET(f.spacing_max_mm = 5.6),
     WSP_SET(f.spacing_max_mm = 5.4)},
    {"Tilted", "TILT", WSP_SET(f.tilt_deg = -0.6), WSP_SET(f.tilt_deg = -0.4)},
    {"CutLiver", "LIVER_TRUNCATED", WSP_SET(f.end_area_share = 0.06),
     WSP_SET(f.end_area_share = 0.04)},
    {"SmallLiver", "LIVER_SMALL", WSP_SET(f.liver_ml = 499), WSP_SET(f.liver_ml = 501)},
    {"MaskOfTheBody", "MASK_MISALIGNED", WSP_SET(f.liver_ml = 4501), WSP_SET(f.liver_ml = 4499)},
    {"OddMask", "MASK_MISALIGNED",
     WSP_SET((f.pixels.odd_share = 0.26, f.pixels.odd_share_shifted = 0.26)),
     WSP_SET((f.pixels.odd_share = 0.24, f.pixels.odd_share_shifted = 0.24))},
    {"MovedMask", "MASK_MISALIGNED",
     WSP_SET((f.pixels.odd_share = 0.05, f.pixels.odd_share_shifted = 0.019)),
     WSP_SET((f.pixels.odd_share = 0.05, f.pixels.odd_share_shifted = 0.021))},
    {"LiverOnTheLeft", "ORIENTATION_FLIPPED", WSP_SET(f.pixels.liver_left = 0.16),
     WSP_SET(f.pixels.liver_left = 0.14)},
    {"SpineInFront", "ORIENTATION_FLIPPED", WSP_SET(f.pixels.spine_back = -0.31),
     WSP_SET(f.pixels.spine_back = -0.29)},
    {"LungBelow", "DEPTH_FLIPPED", WSP_SET((f.lung_low = 0.09, f.lung_high = 0.03)),
     WSP_SET((f.lung_low = 0.09, f.lung_high = 0.04))},
    {"AnatomyUpsideDown", "DEPTH_FLIPPED",
     WSP_SET((d.judged = true, d.correlation = -0.6, f.lung_low = kUnset)),
     WSP_SET((d.judged = true, d.correlation = -0.4, f.lung_low = kUnset))},
    {"DepthUnlikeAnatomy", "DEPTH_UNEXPLAINED", WSP_SET((d.judged = true, d.rmse = 0.26)),
     WSP_SET((d.judged = true, d.rmse = 0.24))},
    {"FlatLiver", "DEPTH_SPACING", WSP_SET(d.shape = 0.59), WSP_SET(d.shape = 0.61)},
    {"TallLiver", "DEPTH_SPACING", WSP_SET(d.shape = 2.41), WSP_SET(d.shape = 2.39)},
    {"NoLabel", "LABEL_MISSING", WSP_SET(f.labels[0] = -1), WSP_SET(f.labels[0] = 0)},
    {"DamagedShard", "SHARD_CORRUPT", WSP_SET(f.pixels.damage = "chunk 3"),
     WSP_SET(f.pixels.damage = "")},
    {"FlagOfTheIngest", "MASK_UNSURE", WSP_SET(f.flags = {Code::MASK_UNSURE}),
     WSP_SET(f.flags = {})},
};

INSTANTIATE_TEST_SUITE_P(DefaultRules, JudgeCaseOf, testing::ValuesIn(kFaults),
                         [](const auto& fault) { return std::string(fault.param.what); });

TEST(JudgeCase, KnowsSideAndPhaseOfTheLiverAlone) {
  const Change liver_like = WSP_SET((f.pixels.liver_left = 2, f.hu_phase = "unenhanced"));
  EXPECT_EQ(said(liver_like).size(), 2U);
  DatasetKind spleen;
  spleen.organ = "spleen";
  EXPECT_EQ(said(liver_like, spleen), std::vector<std::string>{});
}

TEST(JudgeCase, BlamesNoCaseWhereTheDatasetHasNoLabels) {
  DatasetKind kind;
  kind.without_labels = true;
  EXPECT_EQ(said(WSP_SET(f.labels[0] = -1), kind), std::vector<std::string>{});
}

TEST(JudgeCase, SetsTheShapeBesideTheDatasetsOwn) {
  DepthAudit audit;
  audit.judged = true;
  audit.shape_median = 1.2;
  const std::vector<std::string> odd{"DEPTH_SPACING"}, none;
  EXPECT_EQ(said(WSP_SET(d.shape = 0.71), {}, audit), odd);   // 0.59 of the median
  EXPECT_EQ(said(WSP_SET(d.shape = 0.74), {}, audit), none);  // 0.62
  EXPECT_EQ(said(WSP_SET(d.shape = 1.95), {}, audit), odd);   // 1.63
  // A liver that is cut is flat for another reason.
  EXPECT_EQ(said(WSP_SET((d.shape = 0.3, f.end_area_share = 0.5)), {}, audit),
            std::vector<std::string>{"LIVER_TRUNCATED"});
}

TEST(JudgeCase, SaysAHoleOnce) {
  EXPECT_EQ(said(WSP_SET((f.flags = {Code::GAP}, f.gap_mm = 15, f.spacing_max_mm = 15))),
            std::vector<std::string>{"GAP"});
}

}  // namespace
}  // namespace wsp::qa

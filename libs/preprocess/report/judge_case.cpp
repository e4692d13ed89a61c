#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "io/core/hu_scale.hpp"
#include "preprocess/report/judge.hpp"

namespace wsp::qa {
namespace {

// Findings on one case, each in the words of what was found and what was expected.
class CaseJudge {
 public:
  CaseJudge(const CaseFacts& f, const CaseDepth& depth, const DepthAudit& audit,
            const DatasetKind& kind, Judge& judge)
      : f_(f),
        depth_(depth),
        audit_(audit),
        kind_(kind),
        judge_(judge),
        limits_(judge.limits()),
        is_liver_(kind.organ == "liver") {}

  void all() {
    damage();
    hu_scale();
    clipping();
    phase();
    reconstruction();
    spacing();
    liver();
    mask();
    orientation();
    depth();
    flags();
  }

 private:
  void add(Code code, std::string detail, double value = std::numeric_limits<double>::quiet_NaN(),
           double limit = std::numeric_limits<double>::quiet_NaN()) {
    judge_.add(code, f_.name, f_.subject, std::move(detail),
               std::isnan(value) ? std::nullopt : std::optional(value),
               std::isnan(limit) ? std::nullopt : std::optional(limit));
  }

  [[nodiscard]] bool flagged(Code code) const { return has_flag(f_.flags, code); }

  void damage() {
    if (!f_.pixels.damage.empty())
      add(Code::SHARD_CORRUPT,
          fmt::format("{} of {} kept slices could be read: {}", f_.pixels.slices, f_.kept,
                      first_line(f_.pixels.damage)));
  }

  static std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

  // By the limits of the ingest, and finer where fat tells: fat stands near -100 in everybody,
  // while the air of sound scanners lies up to -950.
  void hu_scale() {
    constexpr double kLung = -500;  // a crop can be surrounded by lung
    const double fat_limit = 1.5 * limits_.number("hu_offset");
    if (!f_.contradiction.empty())
      add(Code::HU_OFFSET, f_.contradiction);
    else if (f_.air_share > kAirSeen && (f_.air_hu < kAirLowHu || f_.air_hu > kLung))
      add(Code::HU_OFFSET,
          fmt::format("what surrounds the body is at {:.0f} HU, expected air "
                      "from {:.0f} to {:.0f}",
                      f_.air_hu, kAirLowHu, kAirHighHu),
          f_.air_hu + 1000, 1000 + (f_.air_hu < kAirLowHu ? kAirLowHu : kAirHighHu));
    else if (f_.fat_share > kFatSeen && std::abs(f_.fat_hu - kFatHu) > fat_limit)
      add(Code::HU_OFFSET,
          fmt::format("fat peaks at {:.0f} HU, expected {:.0f} within {:.0f}", f_.fat_hu, kFatHu,
                      fat_limit),
          f_.fat_hu - kFatHu, fat_limit);
  }

  // Where nothing was cut off, values thin out towards both ends: a crop without air does. Above
  // 1000 stand dense bone and metal alone: exports of 11 bits cut there, and no organ with it.
  void clipping() {
    constexpr double kLowest = -850, kBone = 1000;
    if (f_.stored_min_hu > kLowest && f_.low_pile > limits_.number("top_pile"))
      add(Code::HU_CLIPPED,
          fmt::format("nothing lies below {:.0f} HU, and {:.0f} times as many voxels stand there "
                      "as just above",
                      f_.stored_min_hu, f_.low_pile),
          f_.low_pile, limits_.number("top_pile"));
    else if (f_.stored_max_hu < kBone && f_.top_pile > limits_.number("top_pile"))
      add(Code::HU_CLIPPED,
          fmt::format(
              "{:.0f} times as many voxels stand at the maximum of {:.0f} HU as just below it",
              f_.top_pile, f_.stored_max_hu),
          f_.top_pile, limits_.number("top_pile"));
  }

  void phase() {
    if (f_.hu_phase.empty() || !is_liver_) return;
    const bool header_other =
        f_.phase == "arterial" || f_.phase == "unenhanced" || f_.phase == "delayed";
    constexpr double kEnhanced = 80;
    if (f_.hu_phase == "unenhanced" || (f_.hu_phase != "portal" && header_other) ||
        (f_.hu_phase != "portal" && f_.liver_median_hu < kEnhanced))
      add(Code::NOT_PORTAL,
          fmt::format(
              "liver {:.0f} HU, its vessels {:.0f} HU ({}), header says {}; expected a liver of "
              "80 HU or more and vessels at least 35 HU above it",
              f_.liver_median_hu, f_.vessel_hu, f_.hu_phase,
              f_.phase.empty() ? "nothing" : f_.phase),
          f_.liver_median_hu, kEnhanced);
  }

  void reconstruction() {
    if (f_.kernel == "sharp") add(Code::KERNEL_SHARP, "a sharp (lung or bone) kernel");
    if (f_.pixels.liver_sd_hu > 0 && f_.noise_hu > limits_.number("noise_hu"))
      add(Code::NOISE_HIGH,
          fmt::format("noise of {:.0f} HU over 5 mm in the {}", f_.noise_hu, kind_.organ),
          f_.noise_hu, limits_.number("noise_hu"));
    if (flagged(Code::LOSSY_SOURCE)) add(Code::LOSSY_SOURCE, "the source was compressed with loss");
    if (f_.pixels.interpolated > 0)
      add(Code::SLICE_INTERPOLATED,
          fmt::format("{} of {} kept slices are the mean or a copy of their neighbours",
                      f_.pixels.interpolated, f_.kept),
          static_cast<double>(f_.pixels.interpolated));
  }

  static std::string percent(double share) {
    return std::isnan(share) ? "an unknown part" : fmt::format("{:.0f} %", 100 * share);
  }

  static bool outside(double value, const Range& range) {
    return value < range.first || value > range.second;
  }

  void spacing() {
    if (outside(f_.spacing_mm, limits_.range("spacing_mm")))
      add(Code::SPACING_OUTLIER,
          fmt::format("slices are {:.2f} mm apart, expected {} to {}", f_.spacing_mm,
                      limits_.range("spacing_mm").first, limits_.range("spacing_mm").second),
          f_.spacing_mm);
    for (const double pixel : {f_.pixel_mm[0], f_.pixel_mm[1]})
      if (outside(pixel, limits_.range("pixel_mm"))) {
        add(Code::SPACING_OUTLIER,
            fmt::format("pixels of {:.3f} mm, expected {} to {}", pixel,
                        limits_.range("pixel_mm").first, limits_.range("pixel_mm").second),
            pixel);
        break;
      }
    // A hole is said once, as a gap.
    const bool gap = f_.gap_mm > 0 || flagged(Code::GAP);
    if (gap)
      add(Code::GAP,
          fmt::format(
              "slices are missing: the largest hole is {:.2f} mm at a distance of {:.2f} mm",
              std::max(f_.gap_mm, f_.spacing_max_mm), f_.spacing_mm),
          std::max(f_.gap_mm, f_.spacing_max_mm), f_.spacing_mm);
    const double jitter = f_.spacing_mm > 0 ? std::max(gap ? 0 : f_.spacing_max_mm - f_.spacing_mm,
                                                       f_.spacing_mm - f_.spacing_min_mm) /
                                                  f_.spacing_mm
                                            : 0;
    if (flagged(Code::SPACING_IRREGULAR) || jitter > limits_.number("spacing_jitter"))
      add(Code::SPACING_IRREGULAR,
          fmt::format("slices are {:.2f} to {:.2f} mm apart, median {:.2f}", f_.spacing_min_mm,
                      f_.spacing_max_mm, f_.spacing_mm),
          jitter, limits_.number("spacing_jitter"));
    if (std::abs(f_.tilt_deg) > limits_.number("tilt_deg") || flagged(Code::TILT_RESAMPLED))
      add(Code::TILT, fmt::format("a gantry tilt of {:.1f} degrees was resampled", f_.tilt_deg),
          f_.tilt_deg, limits_.number("tilt_deg"));
  }

  void liver() {
    if (flagged(Code::LIVER_TRUNCATED) || f_.end_area_share > limits_.number("end_area_share"))
      add(Code::LIVER_TRUNCATED,
          fmt::format("the {} reaches the end of the volume with {:.0f} % of its largest area",
                      kind_.organ, 100 * f_.end_area_share),
          f_.end_area_share, limits_.number("end_area_share"));
    if (f_.liver_ml < limits_.range("liver_ml").first)
      add(Code::LIVER_SMALL,
          fmt::format("the mask holds {:.0f} ml, expected {:.0f} or more", f_.liver_ml,
                      limits_.range("liver_ml").first),
          f_.liver_ml, limits_.range("liver_ml").first);
    else if (f_.liver_ml > limits_.range("liver_ml").second)
      add(Code::MASK_MISALIGNED,
          fmt::format("the mask holds {:.0f} ml, more than any {} ({:.0f})", f_.liver_ml,
                      kind_.organ, limits_.range("liver_ml").second),
          f_.liver_ml, limits_.range("liver_ml").second);
    if (flagged(Code::LIVER_FRAGMENTED))
      add(Code::LIVER_FRAGMENTED, "a second piece holds over a tenth of the mask");
  }

  // Odd blocks alone can be a fatty tumour or a cyst; that they vanish elsewhere cannot.
  void mask() {
    const PixelFacts& p = f_.pixels;
    const bool vanish =
        p.odd_share > limits_.number("odd_share_moved") && p.odd_share_shifted < 0.4 * p.odd_share;
    if (p.odd_share > limits_.number("odd_share") || vanish)
      add(Code::MASK_MISALIGNED,
          fmt::format("{:.1f} % of the mask holds fat, air or bone; moved by ({:.0f}, {:.0f}, "
                      "{:.0f}) mm it "
                      "would be {:.1f} %",
                      100 * p.odd_share, p.shift_mm[0], p.shift_mm[1], p.shift_mm[2],
                      100 * p.odd_share_shifted),
          p.odd_share, limits_.number("odd_share_moved"));
  }

  // x runs to the patient's left: the liver stands at smaller x than the body's middle.
  void orientation() {
    constexpr double kLeft = 0.15, kFront = -0.3;
    if (is_liver_ && f_.pixels.liver_left > kLeft)
      add(Code::ORIENTATION_FLIPPED,
          fmt::format("the liver lies {:.1f} body SDs to the patient's left", f_.pixels.liver_left),
          f_.pixels.liver_left, kLeft);
    else if (f_.pixels.spine_back < kFront)
      add(Code::ORIENTATION_FLIPPED,
          fmt::format("the bone lies {:.1f} body SDs in front of the body's middle",
                      -f_.pixels.spine_back),
          f_.pixels.spine_back, kFront);
  }

  void depth() {
    const bool lung = f_.lung_low > limits_.number("flip_lung") && f_.lung_high < 0.4 * f_.lung_low;
    const bool anatomy = depth_.judged && depth_.correlation < limits_.number("flip_correlation") &&
                         !(f_.lung_low < f_.lung_high);
    if (lung || anatomy) {
      add(Code::DEPTH_FLIPPED,
          fmt::format("lung fills {} of the body's lowest third and {} of its highest{}",
                      percent(f_.lung_low), percent(f_.lung_high),
                      depth_.judged ? fmt::format("; anatomy and depth correlate by {:.2f}",
                                                  depth_.correlation)
                                    : std::string()),
          depth_.judged ? depth_.correlation : f_.lung_high - f_.lung_low);
    } else if (depth_.judged && depth_.rmse > limits_.number("depth_rmse")) {
      add(Code::DEPTH_UNEXPLAINED,
          fmt::format("depth predicted from the anatomy is off by {:.2f}", depth_.rmse),
          depth_.rmse, limits_.number("depth_rmse"));
    }
    const bool cut =
        flagged(Code::LIVER_TRUNCATED) || f_.end_area_share > limits_.number("end_area_share");
    constexpr double kFewer = 0.6, kMore = 1.6;
    const double ratio =
        audit_.judged && audit_.shape_median > 0 ? depth_.shape / audit_.shape_median : 1;
    if (!cut && depth_.shape > 0 && std::isfinite(limits_.range("liver_shape").second) &&
        (outside(depth_.shape, limits_.range("liver_shape")) || ratio < kFewer || ratio > kMore))
      add(Code::DEPTH_SPACING,
          fmt::format("the {} is {:.0f} mm high, {:.2f} times the square root of its largest "
                      "area; expected "
                      "{} to {}{}",
                      kind_.organ, f_.liver_height_mm, depth_.shape,
                      limits_.range("liver_shape").first, limits_.range("liver_shape").second,
                      audit_.judged ? fmt::format(", in this dataset {:.2f}", audit_.shape_median)
                                    : std::string()),
          depth_.shape);
  }

  void flags() {
    const bool unknown = flagged(Code::LABEL_MISSING) || (!f_.labels.empty() && f_.labels[0] < 0);
    if (unknown && !kind_.without_labels) add(Code::LABEL_MISSING, "the weak label is unknown");
    // The ingest's other flags in its own words; the rules say which of them matter.
    for (const CodeInfo& code : all_codes()) {
      const auto judged = {Code::TILT_RESAMPLED,    Code::GAP,
                           Code::SPACING_IRREGULAR, Code::LIVER_SMALL,
                           Code::LIVER_TRUNCATED,   Code::LIVER_FRAGMENTED,
                           Code::LOSSY_SOURCE,      Code::LABEL_MISSING};
      if (code.kind == CodeKind::flag && flagged(code.code) &&
          std::find(judged.begin(), judged.end(), code.code) == judged.end())
        add(code.code, std::string(code.meaning));
    }
  }

  const CaseFacts& f_;
  const CaseDepth& depth_;
  const DepthAudit& audit_;
  const DatasetKind& kind_;
  Judge& judge_;
  const Limits& limits_;
  const bool is_liver_;  ///< phase and side are known of the liver alone
};

}  // namespace

void judge_case(const CaseFacts& facts, const CaseDepth& depth, const DepthAudit& audit,
                const DatasetKind& kind, Judge& judge) {
  CaseJudge(facts, depth, audit, kind, judge).all();
}

}  // namespace wsp::qa

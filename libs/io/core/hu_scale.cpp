#include "io/core/hu_scale.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace wsp {

std::int64_t ValueHistogram::total() const {
  return std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
}

double ValueHistogram::centre(std::size_t at) const {
  return low + (static_cast<double>(at) + 0.5) * width;
}

std::size_t ValueHistogram::bin(double value) const {
  const double at = std::floor((value - low) / width);
  return static_cast<std::size_t>(std::clamp(at, 0.0, static_cast<double>(counts.size()) - 1));
}

std::int64_t ValueHistogram::count(double first, double last) const {
  const auto edge = [&](double value) {
    const double at = std::round((value - low) / width);
    return counts.begin() +
           static_cast<std::ptrdiff_t>(std::clamp(at, 0.0, static_cast<double>(counts.size())));
  };
  return last <= first ? 0 : std::accumulate(edge(first), edge(last), std::int64_t{0});
}

std::optional<FatPeak> fat_peak(const ValueHistogram& body) {
  const auto three = [&](std::size_t i) {
    return static_cast<double>(body.counts[i - 1] + body.counts[i] + body.counts[i + 1]);
  };
  std::optional<FatPeak> peak;
  double highest = 0;
  for (std::size_t i = body.bin(-250); i <= body.bin(-1); ++i) {
    if (i < 2 || i + 2 >= body.counts.size()) continue;
    const double value = three(i);
    if (value <= highest || value < three(i - 1) || value < three(i + 1)) continue;
    highest = value;
    const double tilt = static_cast<double>(body.counts[i + 1] - body.counts[i - 1]);
    peak = FatPeak{body.centre(i) + tilt / value * body.width, 0};
  }
  if (!peak) return peak;
  std::int64_t near = 0;
  for (std::size_t i = body.bin(peak->hu - 40); i <= body.bin(peak->hu + 40); ++i)
    near += body.counts[i];
  peak->share =
      static_cast<double>(near) / static_cast<double>(std::max<std::int64_t>(1, body.total()));
  return peak;
}

namespace {

constexpr double kEnd = 1e9;        // beyond every value
constexpr double kTissueHu = -300;  // body above, air and lung below
constexpr double kShiftSeen = 90;   // a smaller shift is the QA's to judge

std::string number(double value) { return std::to_string(std::lround(value)); }
std::string percent(double share) { return number(100 * share) + " %"; }

/// Without what no tissue made: values cut off at the lower end, and the zeros around images that
/// were turned or fitted to others.
ValueHistogram without_filling(ValueHistogram h) {
  const std::size_t zero = h.bin(0);
  h.counts[zero] = std::min(h.counts[zero], 2 * (h.counts[zero - 1] + h.counts[zero + 1]));
  for (std::size_t i = 0; i < h.counts.size(); ++i) {
    if (h.counts[i] == 0) continue;
    if (h.centre(i) > kAirHighHu) h.counts[i] = 0;
    break;
  }
  return h;
}

/// The shares of a body's voxels that stand where fat and where muscle and organs would if the
/// scale were shifted by `shift`.
struct Tissue {
  double fat = 0, muscle = 0;
  Tissue(const ValueHistogram& h, double shift) {
    const auto body = static_cast<double>(h.count(kTissueHu + shift, kEnd));
    if (10 * body < static_cast<double>(h.total())) return;
    fat = static_cast<double>(h.count(-130 + shift, -70 + shift)) / body;
    muscle = static_cast<double>(h.count(10 + shift, 100 + shift)) / body;
  }
  [[nodiscard]] double both() const { return fat + muscle; }
  [[nodiscard]] double pair() const { return (fat + 0.02) * (muscle + 0.02); }
};

/// Whether the tissue stands clearly better on a scale that is shifted. Of lungs, which look like
/// air that is shifted by 150, of bowel gas and of noise it does not.
bool tissue_agrees(const Tissue& here, const Tissue& there) {
  return there.both() >= 0.4 && there.both() >= 1.25 * here.both() &&
         there.pair() >= 2 * here.pair();
}

/// A shift of the scale of which air and tissue tell alike; or tissue alone, where air is cut off
/// at the lower end; or 0.
double common_shift(const ValueHistogram& h, const Surroundings& around) {
  const double all = static_cast<double>(h.total());
  const ValueHistogram tissue = without_filling(h);
  const Tissue here(tissue, 0);
  const std::size_t floor = h.bin(kFloorHu);
  const auto near = [&](std::size_t i) {
    std::int64_t sum = 0;
    for (std::size_t k = i < 2 ? 0 : i - 2; k <= i + 2 && k < h.counts.size(); ++k)
      if (k != floor) sum += h.counts[k];
    return static_cast<double>(sum) / all;
  };
  double best = 0, most = 0;
  for (std::size_t i = 3; i + 1 < h.counts.size(); ++i) {
    const double shift = h.centre(i) + 1000;
    if (i == floor || std::abs(shift) <= kShiftSeen || shift > 1400) continue;
    // What looks like shifted air can be lung: it must stand outside too.
    const bool lung = shift > 0 && shift < 500;
    if (lung && !(around.outside && std::abs(*around.outside - h.centre(i)) < 60)) continue;
    const double air = near(i);
    if (air < 0.05 || air < near(i - 1) || air < near(i + 1)) continue;
    const Tissue there(tissue, shift);
    const double fit = air * there.both();
    if (fit <= most || !tissue_agrees(here, there)) continue;
    most = fit;
    best = shift;
  }
  if (best != 0) return best;
  for (double shift = -500; shift < 0; shift += 10) {
    const Tissue there(tissue, shift);
    if (there.fat < kFatSeen || there.pair() <= most || !tissue_agrees(here, there)) continue;
    most = there.pair();
    best = shift;
  }
  return best < -kShiftSeen ? best : 0;
}

/// Where air peaks that is noisy, as air is and padding is not, and the share of it.
struct NoisyAir {
  double hu = 0, share = 0.02;
};
NoisyAir noisy_air(const ValueHistogram& h) {
  const std::size_t floor = h.bin(kFloorHu);
  const auto total = static_cast<double>(h.total());
  NoisyAir air;
  for (std::size_t i = 3; i <= h.bin(-700); ++i) {
    const auto at = [&](std::size_t k) { return k == floor ? 0 : h.counts[k]; };
    const std::int64_t three = at(i - 1) + at(i) + at(i + 1);
    const std::int64_t fullest = std::max({at(i - 1), at(i), at(i + 1)});
    const double share = static_cast<double>(three) / total;
    if (4 * fullest > 3 * three || share <= air.share) continue;
    air = {h.centre(i), share};
  }
  return air;
}

}  // namespace

std::string hu_contradiction(const ValueHistogram& h, const Surroundings& around) {
  const double all = static_cast<double>(h.total());
  if (all == 0) return "";
  const auto share = [&](double first, double last) {
    return static_cast<double>(h.count(first, last)) / all;
  };
  // 1. Denser than any organ: stored values without their offset, electron density, inverted air.
  // Of bone much lies between 300 and 700.
  const double dense = share(700, kEnd);
  if (dense >= 0.05 && dense >= 0.9 * share(300, kEnd))
    return percent(dense) + " of the voxels lie above 700 and next to none between 300 and 700";
  for (double from = 850; from <= 1200; from += 20)
    if (share(from, from + 100) >= 0.2)
      return percent(share(from, from + 100)) + " of the voxels lie within 100 of " +
             number(from + 50) + ", where no tissue does";
  // 2. Air and tissue moved alike.
  if (const double shift = common_shift(h, around); shift != 0)
    return "air, fat and tissue stand about " + number(std::abs(shift)) +
           (shift > 0 ? " higher" : " lower") + " than in Hounsfield units";
  // 3. Nothing is thinner than air.
  const NoisyAir air = noisy_air(h);
  const bool in_place = share(kAirLowHu, kAirHighHu) >= air.share && Tissue(h, 0).both() >= 0.3;
  if (air.hu < kAirLowHu && !in_place)
    return "air stands at " + number(air.hu) + ", expected -1000";
  // 4. Air only, and what was below it cut off.
  if (share(-150, 250) < 0.01 && share(-kEnd, -1020) >= 0.2)
    return "no tissue: next to nothing lies between -150 and 250, and " +
           percent(share(-kEnd, -1020)) + " below -1020";
  // 5. No body of this width is without fat and gas.
  if (around.field_mm >= kField && share(-kEnd, -50) < 0.001)
    return "no fat and no air in a field of " + number(around.field_mm) +
           " mm: nothing lies below -50";
  if (around.field_mm >= kField / 2 && share(-kEnd, -10) < 0.001 && share(-10, 30) >= 0.15 &&
      share(150, kEnd) >= 0.05)
    return "nothing lies below -10, but " + percent(share(-10, 30)) + " of the voxels about 0";
  return "";
}

}  // namespace wsp

#include "io/medical/value_proof.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numeric>
#include <span>

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
  peak->share = static_cast<double>(near) / static_cast<double>(std::max<std::int64_t>(1, body.total()));
  return peak;
}

namespace {

constexpr double kEnd = 1e9;          // beyond every value
constexpr double kFloorHu = -1024;    // padding, and the end of a 12-bit scale: says nothing
constexpr double kPaddingHu = -1450;  // GE's is -1500, others' lie below; air of no scanner does
constexpr double kTissueHu = -300;    // body above, air and lung below
constexpr double kShiftSeen = 80;     // a smaller shift is the QA's to judge
constexpr double kField = 200;        // mm; so wide a part of a body is never of one tissue

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
  double best = 0, most = 0;
  for (std::size_t i = 1; i + 1 < h.counts.size(); ++i) {
    const double shift = h.centre(i) + 1000;
    if (i == floor || std::abs(shift) <= kShiftSeen || shift > 1400) continue;
    // What looks like shifted air can be lung: it must stand outside too.
    const bool lung = shift > 0 && shift < 500;
    if (lung && !(around.outside && std::abs(*around.outside - h.centre(i)) < 60)) continue;
    std::int64_t near = 0;
    for (std::size_t k = std::max<std::size_t>(i, 3) - 2; k <= i + 2 && k < h.counts.size(); ++k)
      if (k != floor) near += h.counts[k];
    const double air = static_cast<double>(near) / all;
    if (air < 0.05) continue;
    const Tissue there(tissue, shift);
    const double fit = air * there.both();
    if (fit <= most || !tissue_agrees(here, there)) continue;
    most = fit;
    best = shift;
  }
  if (best != 0) return best;
  for (double shift = -500; shift < -kShiftSeen; shift += 10) {
    const Tissue there(tissue, shift);
    if (there.fat < kFatSeen || there.pair() <= most || !tissue_agrees(here, there)) continue;
    most = there.pair();
    best = shift;
  }
  return best;
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
    return "no tissue: next to nothing lies between -150 and 250, and " + percent(share(-kEnd, -1020)) +
           " below -1020";
  // 5. No body of this width is without fat and gas.
  if (around.field_mm >= kField && share(-kEnd, -50) < 0.001)
    return "no fat and no air in a field of " + number(around.field_mm) +
           " mm: nothing lies below -50";
  if (around.field_mm >= kField / 2 && share(-kEnd, -10) < 0.001 && share(-10, 30) >= 0.15 &&
      share(150, kEnd) >= 0.05)
    return "nothing lies below -10, but " + percent(share(-10, 30)) + " of the voxels about 0";
  return "";
}

namespace {

constexpr std::int64_t kFewest = 4096;  // voxels that can prove something

/// Labels from 0 in even regions; or two values, as masks that were stored as CT have.
template <class T>
bool labels(std::span<const T> values, std::int64_t nx) {
  constexpr std::size_t kMost = 256;
  if (values.empty()) return false;
  std::vector<T> found;
  T last = values.front();
  found.push_back(last);
  for (const T value : values) {
    if (value == last) continue;
    last = value;
    const auto at = std::lower_bound(found.begin(), found.end(), value);
    if (at != found.end() && *at == value) continue;
    if (found.size() == kMost) return false;
    found.insert(at, value);
  }
  const std::int64_t lowest = found.front(), highest = found.back();
  const auto kinds = static_cast<std::int64_t>(found.size());
  if (kinds == 1) return lowest == 0;
  const bool two = kinds == 2 && (lowest == 0 || (lowest <= -1000 && highest - lowest <= 255));
  if (!two && (lowest != 0 || 4 * kinds < highest + 1)) return false;
  // Of neighbours that are not both background, most are alike. In an image few are.
  const auto n = static_cast<std::int64_t>(values.size());
  for (const std::int64_t step : {std::int64_t{1}, nx}) {
    std::int64_t pairs = 0, alike = 0;
    for (std::int64_t i = step; i < n; ++i) {
      const T a = values[static_cast<std::size_t>(i - step)];
      const T b = values[static_cast<std::size_t>(i)];
      if (a == lowest && b == lowest) continue;
      ++pairs;
      if (a == b) ++alike;
    }
    if (2 * alike < pairs) return false;
  }
  return true;
}

/// 10 HU wide over all of int16: bins of a multiple of 10 begin at multiples of 10.
constexpr int kLow = -32770, kWidth = 10, kBins = 6554;

ValueHistogram empty_histogram() { return {kLow, kWidth, std::vector<std::int64_t>(kBins)}; }

void add(ValueHistogram& h, std::int16_t value) {
  ++h.counts[static_cast<std::size_t>((static_cast<int>(value) - kLow) / kWidth)];
}

/// What stands around the body: the peak of a ring along the edge of every slice, floor and padding
/// aside, and how much of the ring and of the middle is near it.
struct Outside {
  double hu = 0;
  double ring_share = 0, core_share = 0;
  double least_share = 0;  ///< of the ring's voxels that are exactly the least value
};

std::optional<Outside> measure_outside(const Volume& volume, std::int64_t least) {
  const auto [nx, ny, nz] = volume.geometry.size;
  const std::int64_t edge = std::max<std::int64_t>(1, std::min(nx, ny) / 16);
  ValueHistogram ring = empty_histogram(), core = ring;
  std::int64_t all = 0, at_least = 0;
  for (std::int64_t z = 0; z < nz; ++z) {
    const auto slice = volume.slice(z);
    for (std::int64_t y = 0; y < ny; ++y)
      for (std::int64_t x = 0; x < nx; ++x) {
        const std::int16_t value = slice[static_cast<std::size_t>(y * nx + x)];
        const bool floor = value <= kPaddingHu || value == kFloorHu;
        if (std::min({x, y, nx - 1 - x, ny - 1 - y}) < edge) {
          ++all;
          if (!floor) add(ring, value);
          if (value == least) ++at_least;
        } else if (4 * x >= nx && 4 * x < 3 * nx && 4 * y >= ny && 4 * y < 3 * ny) {
          if (!floor) add(core, value);
        }
      }
  }
  const std::int64_t ring_all = ring.total();
  if (20 * ring_all < all) return std::nullopt;  // padding all round
  const auto peak = std::max_element(ring.counts.begin(), ring.counts.end());
  Outside outside;
  outside.hu = ring.centre(static_cast<std::size_t>(peak - ring.counts.begin()));
  const auto near = [&](const ValueHistogram& h) {
    return static_cast<double>(h.count(outside.hu - 35, outside.hu + 35)) /
           static_cast<double>(std::max<std::int64_t>(1, h.total()));
  };
  outside.ring_share = near(ring);
  outside.core_share = near(core);
  outside.least_share = static_cast<double>(at_least) / static_cast<double>(all);
  return outside;
}

/// What surrounds a body evenly and is not in it is air. Where air is in its place a ring of another
/// value is padding.
std::string outside_contradiction(const std::optional<Outside>& outside,
                                  const ValueHistogram& values, std::int64_t least,
                                  double field_mm) {
  const auto all = static_cast<double>(values.total());
  const auto share = [&](double first, double last) {
    return static_cast<double>(values.count(first, last)) / all;
  };
  if (!outside || outside->ring_share < 0.8 || share(kAirLowHu, kAirHighHu) >= kAirSeen) return "";
  const double hu = outside->hu;
  const bool surrounds = outside->core_share <= 0.5 * outside->ring_share;
  // A crop can end in fat all round, in one organ or in fluid, which is noisy about 0.
  const bool wide = field_mm >= kField;
  const bool zero = std::abs(hu) < 10 && (wide || share(-kEnd, -10) < 0.001);
  const bool tissue = hu > -150 && hu < 150;
  // Values that were cut off below, at a round number, keep their scale; the QA says that they were.
  const bool cut = outside->least_share >= 0.8 && hu < 0 && hu > kAirHighHu &&
                   (least > -600 || least % 50 == 0);
  const bool wrong = tissue ? zero && (surrounds || wide) : surrounds && !cut;
  return wrong ? "what surrounds the body stands at " + number(hu) + ", expected air near -1000"
               : "";
}

}  // namespace

ValueVerdict judge_values(const Volume& volume, const StoredStatistics& stored) {
  const std::int64_t nx = volume.geometry.size[0], ny = volume.geometry.size[1];
  if (volume.geometry.voxels() < kFewest || nx < 16 || ny < 16) return {};
  const std::span<const std::int16_t> hu(volume.hu);
  const std::string range =
      "values from " + std::to_string(stored.minimum) + " to " + std::to_string(stored.maximum);
  if (stored.whole && labels(hu, nx)) return {Code::LABEL_MAP, range + " in even regions"};
  ValueHistogram values = empty_histogram();
  for (const std::int16_t value : hu) add(values, value);
  // Padding that the header names stands at -1024.
  auto& floor = values.counts[values.bin(kFloorHu)];
  floor -= std::min(floor, stored.padding_voxels);
  const auto all = static_cast<double>(std::max<std::int64_t>(1, values.total()));
  const Vec3& mm = volume.geometry.spacing_mm;
  const double field_mm =
      std::min(static_cast<double>(nx) * mm[0], static_cast<double>(ny) * mm[1]);
  std::string why;
  if (static_cast<double>(values.count(-20, 20)) >= 0.999 * all && stored.maximum > stored.minimum)
    why = "scaled; a body spans hundreds of Hounsfield units";
  if (why.empty() && std::abs(stored.minimum) <= 5 &&
      static_cast<double>(std::count(hu.begin(), hu.end(), static_cast<std::int16_t>(stored.minimum))) >= 0.2 * all)
    why = "nothing lies below, and a fifth of the voxels or more exactly there";
  const auto outside = measure_outside(volume, stored.minimum);
  Surroundings around;
  around.field_mm = field_mm;
  if (outside && outside->ring_share >= 0.25) around.outside = outside->hu;
  if (why.empty()) why = hu_contradiction(values, around);
  if (why.empty()) why = outside_contradiction(outside, values, stored.minimum, field_mm);
  if (why.empty()) return {};
  return {Code::NOT_HU, range + ": " + why};
}

bool looks_like_labels(const LabelImage& image) {
  return image.whole &&
         labels(std::span<const std::int32_t>(image.values), image.geometry.size[0]);
}

Outcome<bool> is_label_map(const std::filesystem::path& path) {
  const auto image = read_label_image(path);
  if (!image) return image.rejection();
  return looks_like_labels(image.value());
}

}  // namespace wsp

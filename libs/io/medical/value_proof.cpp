#include "io/medical/value_proof.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <span>

#include "io/core/hu_scale.hpp"

namespace wsp {
namespace {

constexpr double kPaddingHu = -1450;    // GE's is -1500, others' lie below; air of no scanner does
constexpr std::int64_t kFewest = 4096;  // voxels that can prove something

constexpr std::size_t kMostLabels = 256;

/// Labels from 0 in even regions; or two values, as masks that were stored as CT have.
template <class T>
bool labels(std::span<const T> values, std::int64_t nx) {
  if (values.empty()) return false;
  std::vector<T> found;
  T last = values.front();
  found.push_back(last);
  for (const T value : values) {
    if (value == last) continue;
    last = value;
    const auto at = std::lower_bound(found.begin(), found.end(), value);
    if (at != found.end() && *at == value) continue;
    if (found.size() == kMostLabels) return false;
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

ValueHistogram histogram_of(const ValueCounts& counts, bool with_floor) {
  ValueHistogram h = empty_histogram();
  counts.for_each([&](std::int16_t value, std::int64_t count) {
    if (!with_floor && (value <= kPaddingHu || value == kFloorHu)) return;
    h.counts[static_cast<std::size_t>((static_cast<int>(value) - kLow) / kWidth)] += count;
  });
  return h;
}

/// What stands around the body: the peak of a ring along the edge of every slice, floor and padding
/// aside, and how much of the ring and of the middle is near it.
struct Outside {
  double hu = 0;
  double ring_share = 0, core_share = 0;
  double least_share = 0;  ///< of the ring's voxels that are exactly the least value
};

std::optional<Outside> measure_outside(const PlaceCounts& counts, std::int64_t least) {
  const ValueHistogram ring = histogram_of(counts.ring, false);
  const ValueHistogram core = histogram_of(counts.core, false);
  const std::int64_t all = counts.ring.total(), at_least = counts.ring.at(least);
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

/// What surrounds a body evenly and is not in it is air. Where air is in its place a ring of
/// another value is padding.
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
  const bool zero = std::abs(hu) < 10 && (wide || share(-1e9, -10) < 0.001);
  const bool tissue = hu > -150 && hu < 150;
  // Values that were cut off below, at a round number, keep their scale; the QA says that they
  // were.
  const bool cut =
      outside->least_share >= 0.8 && hu < 0 && hu > kAirHighHu && (least > -600 || least % 50 == 0);
  const bool wrong = tissue ? zero && (surrounds || wide) : surrounds && !cut;
  return wrong ? "what surrounds the body stands at " + std::to_string(std::lround(hu)) +
                     ", expected air near -1000"
               : "";
}

}  // namespace

ValueVerdict judge_values(const Volume& volume, const StoredStatistics& stored) {
  return judge_values(volume, stored, count_places(volume));
}

ValueVerdict judge_values(const Volume& volume, const StoredStatistics& stored,
                          const PlaceCounts& counts) {
  const std::int64_t nx = volume.geometry.size[0], ny = volume.geometry.size[1];
  if (volume.geometry.voxels() < kFewest || nx < 16 || ny < 16) return {};
  const std::string range =
      "values from " + std::to_string(stored.minimum) + " to " + std::to_string(stored.maximum);
  const ValueCounts occurring = counts.all();
  std::size_t kinds = 0;
  occurring.for_each([&](std::int16_t, std::int64_t) { ++kinds; });
  if (stored.whole && kinds <= kMostLabels && labels(std::span<const std::int16_t>(volume.hu), nx))
    return {Code::LABEL_MAP, range + " in even regions"};
  ValueHistogram values = histogram_of(occurring, true);
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
      static_cast<double>(occurring.at(stored.minimum)) >= 0.2 * all)
    why = "nothing lies below, and a fifth of the voxels or more exactly there";
  const auto outside = measure_outside(counts, stored.minimum);
  Surroundings around;
  around.field_mm = field_mm;
  if (outside && outside->ring_share >= 0.25) around.outside = outside->hu;
  if (why.empty()) why = hu_contradiction(values, around);
  if (why.empty()) why = outside_contradiction(outside, values, stored.minimum, field_mm);
  if (why.empty()) return {};
  return {Code::NOT_HU, range + ": " + why};
}

}  // namespace wsp

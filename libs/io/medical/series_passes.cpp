#include "io/medical/series_passes.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <string>

#include "io/medical/dicom_text.hpp"
#include "io/medical/series_group.hpp"

namespace wsp::dicom {
namespace {

/// A counting value as a number; nothing when it is none.
std::optional<double> count_of(const std::string& text, bool time) {
  if (time) return seconds_of_day(text);
  try {
    return std::stod(text);
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

/// Parts in the order of their counter, put together while they move on along z: passes.
std::vector<Part> chain(const std::vector<Part>& parts) {
  std::vector<Part> passes;
  double direction = 0, step = 0;
  for (const Part& part : parts) {
    if (!passes.empty()) {
      Part& last = passes.back();
      const bool up = part.low > last.high + kSamePositionMm;
      const bool down = part.high < last.low - kSamePositionMm;
      const double way = up ? part.low - last.high : part.high - last.low;
      // Single slices of one pass keep their distance; where a pass turns they do not.
      const bool regular = step == 0 || std::abs(std::abs(way) - step) <= 0.3 * step;
      if ((up || down) && way * direction >= 0 && (regular || part.planes.size() > 1)) {
        direction = way;
        if (step == 0) step = std::abs(way);
        last.low = std::min(last.low, part.low);
        last.high = std::max(last.high, part.high);
        last.planes.insert(last.planes.end(), part.planes.begin(), part.planes.end());
        continue;
      }
    }
    passes.push_back(part);
    direction = step = 0;
  }
  return passes;
}

/// Parts of one counter each, in its order, and how far each is from the one before.
struct Counted {
  std::vector<Part> parts;
  std::vector<double> steps;
};

/// Nothing where a plane has no number.
Counted count(const Planes& planes, const Key& key) {
  const bool time = is_time(key);
  std::map<double, Planes> by_count;
  for (const PlaneRef& plane : planes) {
    const auto count = count_of(key.value(plane), time);
    if (!count) return {};
    by_count[*count].push_back(plane);
  }
  Counted counted;
  double last = 0;
  for (auto& [count, members] : by_count) {
    if (!counted.parts.empty()) counted.steps.push_back(count - last);
    last = count;
    counted.parts.push_back(make_part(std::move(members)));
  }
  return counted;
}

/// The parts between pauses put together: passes lie further apart in time than the slices of each.
std::vector<Part> between_pauses(const Counted& counted) {
  std::vector<double> sorted = counted.steps;
  std::sort(sorted.begin(), sorted.end());
  const double pause = 5 * sorted[(sorted.size() - 1) / 2];
  std::vector<Part> joined;
  for (std::size_t i = 0; i < counted.parts.size(); ++i) {
    if (i == 0 || counted.steps[i - 1] > pause) {
      joined.push_back(counted.parts[i]);
      continue;
    }
    Planes members = std::move(joined.back().planes);
    members.insert(members.end(), counted.parts[i].planes.begin(), counted.parts[i].planes.end());
    joined.back() = make_part(std::move(members));
  }
  return joined;
}

}  // namespace

std::size_t changes(const std::vector<Part>& parts) {
  std::vector<std::pair<double, std::size_t>> order;
  for (std::size_t i = 0; i < parts.size(); ++i)
    for (const PlaneRef& plane : parts[i].planes) order.emplace_back(height(plane), i);
  std::sort(order.begin(), order.end());
  std::size_t count = 0;
  for (std::size_t k = 1; k < order.size(); ++k)
    if (order[k].second != order[k - 1].second) ++count;
  return count;
}

std::vector<Part> passes_of(const Planes& planes, const Key& key) {
  const Counted counted = count(planes, key);
  if (counted.steps.empty()) return {};
  for (const auto& parts : {between_pauses(counted), counted.parts}) {
    auto passes = chain(parts);
    // A slip of one slice at a seam changes the pass three times.
    if (passes.size() > 1 && 3 * passes.size() <= planes.size() &&
        changes(passes) >= 2 * passes.size())
      return passes;
  }
  return {};
}

}  // namespace wsp::dicom

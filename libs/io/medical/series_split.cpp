#include "io/medical/series_split.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>

#include "io/medical/dicom_text.hpp"
#include "io/medical/interleave.hpp"
#include "io/medical/series_group.hpp"

namespace wsp::dicom {
namespace {

/// How far a header value tells acquisitions apart.
enum class Says {
  what,    ///< what was done: parts of different value are never one
  which,   ///< which acquisition it was: parts that continue each other may be one
  counts,  ///< the same, as a number that may rise from slice to slice
};

constexpr const char* kOrigin = "the planes' origin";
constexpr const char* kTime = "AcquisitionTime";

struct Key {
  const char* name;
  Says says;
  std::function<std::string(const PlaneRef&)> value;
};

std::string whole(double value, double unit) { return std::to_string(std::llround(value / unit)); }

std::string whole(const std::string& text, double unit) {
  try {
    return text.empty() ? text : whole(std::stod(text), unit);
  } catch (const std::exception&) {
    return text;
  }
}

std::vector<Key> keys_of(const PlaneRef& first) {
  const Vec3 origin = first.frame->position;
  return {
      {"AcquisitionNumber", Says::counts, [](const auto& p) { return p.frame->acquisition; }},
      {"TemporalPosition", Says::what, [](const auto& p) { return p.frame->temporal; }},
      {"contrast phase", Says::what, [](const auto& p) { return p.frame->phase; }},
      {"ContrastBolusAgent", Says::what,
       [](const auto& p) { return p.header->contrast_agent + p.frame->contrast; }},
      {"SeriesDescription", Says::what, [](const auto& p) { return p.header->description; }},
      {"ConvolutionKernel", Says::what, [](const auto& p) { return p.frame->kernel; }},
      // Tubes are set in steps of ten and more; some write what they measured.
      {"KVP", Says::what, [](const auto& p) { return whole(p.frame->kvp, 5); }},
      {"SeriesNumber", Says::which, [](const auto& p) { return p.header->series_number; }},
      {"StackID", Says::which, [](const auto& p) { return p.frame->stack; }},
      {"AcquisitionUID", Says::which, [](const auto& p) { return p.header->acquisition_uid; }},
      {"IrradiationEventUID", Says::which, [](const auto& p) { return p.frame->event_uid; }},
      {"ImageType", Says::which, [](const auto& p) { return p.frame->image_type; }},
      {"SliceThickness", Says::which,
       [](const auto& p) { return whole(p.frame->thickness_mm, 0.01); }},
      {"ScanOptions", Says::which, [](const auto& p) { return p.header->scan_options; }},
      {"SOPClassUID", Says::which, [](const auto& p) { return p.header->sop_class_uid; }},
      {"FrameOfReferenceUID", Says::what,
       [](const auto& p) { return p.header->frame_of_reference_uid; }},
      {kOrigin, Says::which,
       [origin](const auto& p) {
         const Vec3 moved = p.frame->position - origin;
         return whole(dot(moved, p.frame->row_axis), 1) + "," +
                whole(dot(moved, p.frame->column_axis), 1);
       }},
      {kTime, Says::counts, [](const auto& p) { return p.frame->time; }},
  };
}

/// Planes of one value, and where they lie.
struct Part {
  Planes planes;
  double low = 0, high = 0;
};

Part make_part(Planes planes) {
  Part part;
  part.low = std::numeric_limits<double>::max();
  part.high = std::numeric_limits<double>::lowest();
  for (const PlaneRef& plane : planes) {
    part.low = std::min(part.low, height(plane));
    part.high = std::max(part.high, height(plane));
  }
  part.planes = std::move(planes);
  return part;
}

std::vector<double> heights(const Planes& planes) {
  std::vector<double> z;
  for (const PlaneRef& plane : planes) z.push_back(height(plane));
  std::sort(z.begin(), z.end());
  return z;
}

double median_distance(const Planes& planes) {
  const auto z = heights(planes);
  std::vector<double> gaps;
  for (std::size_t k = 0; k + 1 < z.size(); ++k)
    if (z[k + 1] - z[k] > kSamePositionMm) gaps.push_back(z[k + 1] - z[k]);
  if (gaps.empty()) return 0;
  std::sort(gaps.begin(), gaps.end());
  return gaps[(gaps.size() - 1) / 2];
}

bool overlap(const Part& a, const Part& b) {
  return a.low <= b.high + kSamePositionMm && b.low <= a.high + kSamePositionMm;
}

bool any_overlap(const std::vector<Part>& parts) {
  for (std::size_t i = 0; i < parts.size(); ++i)
    for (std::size_t j = i + 1; j < parts.size(); ++j)
      if (overlap(parts[i], parts[j])) return true;
  return false;
}

/// Whether most planes lie in parts of several positions: else the parts are no stacks, and the key
/// is one that every slice has for itself.
bool are_stacks(const std::vector<Part>& parts) {
  std::size_t stacked = 0, all = 0;
  for (const Part& part : parts) {
    all += part.planes.size();
    if (part.high - part.low > kSamePositionMm) stacked += part.planes.size();
  }
  return 2 * stacked > all;
}

std::vector<Part> parts_by(const Planes& planes, const Key& key) {
  std::map<std::string, Planes> values;
  for (const PlaneRef& plane : planes) values[key.value(plane)].push_back(plane);
  std::vector<Part> parts;
  for (auto& [value, members] : values) parts.push_back(make_part(std::move(members)));
  return parts;
}

/// Join what follows one another with at most one slice missing in between.
std::vector<Part> cut_at_jumps(std::vector<Part> parts, double distance) {
  std::sort(parts.begin(), parts.end(), [](const Part& a, const Part& b) { return a.low < b.low; });
  std::vector<Part> joined;
  for (Part& part : parts) {
    if (!joined.empty()) {
      Part& last = joined.back();
      double step = std::max(median_distance(last.planes), median_distance(part.planes));
      if (step == 0) step = distance;
      if (part.low - last.high <= 2.5 * step) {
        last.high = std::max(last.high, part.high);
        last.planes.insert(last.planes.end(), part.planes.begin(), part.planes.end());
        continue;
      }
    }
    joined.push_back(std::move(part));
  }
  return joined;
}

bool is_time(const Key& key) { return std::string_view(key.name) == kTime; }

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

/// How often the pass changes from slice to slice along z.
std::size_t changes(const std::vector<Part>& passes) {
  std::vector<std::pair<double, std::size_t>> order;
  for (std::size_t i = 0; i < passes.size(); ++i)
    for (const PlaneRef& plane : passes[i].planes) order.emplace_back(height(plane), i);
  std::sort(order.begin(), order.end());
  std::size_t count = 0;
  for (std::size_t k = 1; k < order.size(); ++k)
    if (order[k].second != order[k - 1].second) ++count;
  return count;
}

/// Passes of a counter that rises within one acquisition too. Empty when it tells nothing: a single
/// pass, passes one behind the other, or a value without order.
std::vector<Part> passes_of(const Planes& planes, const Key& key) {
  const bool time = is_time(key);
  std::map<double, Planes> by_count;
  for (const PlaneRef& plane : planes) {
    const auto count = count_of(key.value(plane), time);
    if (!count) return {};
    by_count[*count].push_back(plane);
  }
  const auto woven = [&](const std::vector<Part>& passes) {
    // A slip of one slice at a seam changes the pass three times.
    return passes.size() > 1 && 3 * passes.size() <= planes.size() &&
           changes(passes) >= 2 * passes.size();
  };
  std::vector<Part> single, pauses;
  std::vector<double> steps;
  double last = 0;
  for (const auto& [count, members] : by_count) {
    if (!single.empty()) steps.push_back(count - last);
    last = count;
    single.push_back(make_part(members));
  }
  if (steps.empty()) return {};
  // Passes lie further apart in time than the slices of each.
  std::vector<double> sorted = steps;
  std::sort(sorted.begin(), sorted.end());
  const double pause = 5 * sorted[(sorted.size() - 1) / 2];
  for (std::size_t i = 0; i < single.size(); ++i) {
    if (i == 0 || steps[i - 1] > pause) {
      pauses.push_back(single[i]);
      continue;
    }
    Planes members = std::move(pauses.back().planes);
    members.insert(members.end(), single[i].planes.begin(), single[i].planes.end());
    pauses.back() = make_part(std::move(members));
  }
  for (const auto* parts : {&pauses, &single}) {
    auto passes = chain(*parts);
    if (woven(passes)) return passes;
  }
  return {};
}

/// Parts by one key, or nothing where it tells none apart.
std::vector<Part> candidate(const Planes& planes, const Key& key) {
  std::vector<Part> parts = parts_by(planes, key);
  if (parts.size() < 2) return {};
  const bool stacks = are_stacks(parts);
  if (key.says == Says::counts && (!stacks || parts.size() > 2)) {
    // Several blocks of one pass are one.
    if (auto passes = passes_of(planes, key); !passes.empty()) return passes;
  }
  if (!stacks) return {};
  // A single slice beside the others' line is no acquisition.
  if (std::string_view(key.name) == kOrigin &&
      std::any_of(parts.begin(), parts.end(),
                  [](const Part& part) { return part.low == part.high; }))
    return {};
  if (any_overlap(parts)) {
    const bool slips = is_time(key) && changes(parts) < 2 * parts.size();
    const bool scraps = key.says == Says::counts && 3 * parts.size() > planes.size();
    return parts.size() > 2 && (slips || scraps) ? std::vector<Part>{} : parts;
  }
  const bool all_say = std::none_of(planes.begin(), planes.end(), [&](const PlaneRef& plane) {
    return key.value(plane).empty();
  });
  // No agent is a value; elsewhere a blank says nothing.
  const bool says = all_say || std::string_view(key.name) == "ContrastBolusAgent";
  if (key.says == Says::what && says) return parts;
  // Of blocks at every position of the table none is a station of its own.
  if (parts.size() > 2 && 8 * parts.size() > planes.size()) return {};
  parts = cut_at_jumps(std::move(parts), median_distance(planes));
  return parts.size() > 1 ? parts : std::vector<Part>{};
}

bool is_even(const Planes& planes) {
  const auto z = heights(planes);
  const double step = median_distance(planes);
  for (std::size_t k = 0; k + 1 < z.size(); ++k)
    if (std::abs(z[k + 1] - z[k] - step) > 0.02 + 0.02 * step) return false;
  return true;
}

std::vector<std::size_t> files_of(const Part& part) {
  std::vector<std::size_t> files;
  for (const PlaneRef& plane : part.planes)
    files.push_back(plane.file * 100000 + static_cast<std::size_t>(plane.frame->frame));
  std::sort(files.begin(), files.end());
  return files;
}

std::set<std::vector<std::size_t>> partition(const std::vector<Part>& parts) {
  std::set<std::vector<std::size_t>> all;
  for (const Part& part : parts) all.insert(files_of(part));
  return all;
}

SplitReason reason_of(std::vector<std::string> attributes, const std::vector<Part>& parts) {
  SplitReason reason;
  reason.attributes = std::move(attributes);
  for (const Part& part : parts) {
    reason.slices.push_back(part.planes.size());
    reason.spacing_mm.push_back(median_distance(part.planes));
  }
  return reason;
}

/// By the order of files: that of the value would carry it into names.
void sort_parts(std::vector<Part>& parts) {
  for (Part& part : parts)
    std::sort(part.planes.begin(), part.planes.end(), [](const PlaneRef& a, const PlaneRef& b) {
      return std::tie(a.file, a.frame->frame) < std::tie(b.file, b.frame->frame);
    });
  std::sort(parts.begin(), parts.end(), [](const Part& a, const Part& b) {
    const auto rank = [](const Part& p) {
      return std::tuple(p.planes.front().file, p.planes.front().frame->frame);
    };
    return rank(a) < rank(b);
  });
}

}  // namespace

double height(const PlaneRef& plane) {
  Vec3 normal = cross(plane.frame->row_axis, plane.frame->column_axis);
  if (normal[2] < 0) normal = -1.0 * normal;
  return dot(plane.frame->position, normal);
}

std::vector<Planes> positions_of(const Planes& planes) {
  std::vector<std::pair<double, std::size_t>> order;
  for (std::size_t i = 0; i < planes.size(); ++i) order.emplace_back(height(planes[i]), i);
  std::sort(order.begin(), order.end());
  std::vector<Planes> runs;
  double last = 0;
  for (const auto& [z, i] : order) {
    if (runs.empty() || z - last > kSamePositionMm) {
      runs.emplace_back();
      last = z;
    }
    runs.back().push_back(planes[i]);
  }
  for (Planes& run : runs) {
    std::sort(run.begin(), run.end(), [](const PlaneRef& a, const PlaneRef& b) {
      return std::tie(a.file, a.frame->frame) < std::tie(b.file, b.frame->frame);
    });
  }
  return runs;
}

bool collides(const Planes& planes) {
  const auto runs = positions_of(planes);
  return std::any_of(runs.begin(), runs.end(), [](const Planes& run) { return run.size() > 1; });
}

std::vector<Acquisition> split_acquisitions(const Planes& planes,
                                            const std::function<bool(const Planes&)>& alternate) {
  struct Candidate {
    Key key;
    std::vector<Part> parts;
  };
  std::vector<Candidate> found;
  const bool one_position_each = !collides(planes);
  for (Key& key : keys_of(planes.front())) {
    auto parts = candidate(planes, key);
    if (parts.empty()) continue;
    if (key.says != Says::what && one_position_each) {
      std::vector<std::vector<double>> z;
      for (const Part& part : parts) z.push_back(heights(part.planes));
      if (any_overlap(parts) &&
          parts_complete_each_other(heights(planes), planes.front().frame->thickness_mm, z) &&
          !alternate(planes))
        continue;
    }
    sort_parts(parts);
    found.push_back({std::move(key), std::move(parts)});
  }
  if (found.empty()) return {{planes, {}}};
  // Best is a key that leaves even stacks; else the first.
  const auto best = std::find_if(found.begin(), found.end(), [](const Candidate& c) {
    return std::all_of(c.parts.begin(), c.parts.end(),
                       [](const Part& part) { return is_even(part.planes); });
  });
  const Candidate& chosen = best == found.end() ? found.front() : *best;
  const auto same = partition(chosen.parts);
  std::vector<std::string> attributes;
  for (const Candidate& c : found)
    if (partition(c.parts) == same) attributes.emplace_back(c.key.name);
  const SplitReason reason = reason_of(std::move(attributes), chosen.parts);
  std::vector<Acquisition> result;
  for (const Part& part : chosen.parts) {
    for (Acquisition& acquisition : split_acquisitions(part.planes, alternate)) {
      acquisition.reasons.insert(acquisition.reasons.begin(), reason);
      result.push_back(std::move(acquisition));
    }
  }
  return result;
}

std::vector<Acquisition> split_persons(const Planes& planes) {
  using Person = std::array<std::string, 4>;
  static const std::array<const char*, 4> kNames{"PatientSex", "PatientBirthDate",
                                                 "IssuerOfPatientID", "PatientName"};
  const auto person_of = [](const Header& header) {
    const bool known = !header.patient_id.empty() && !header.patient_birth_date.empty();
    return Person{upper(header.patient_sex), header.patient_birth_date, header.issuer,
                  known ? "" : header.patient_name};
  };
  std::map<Person, Planes> persons;
  for (const PlaneRef& plane : planes) persons[person_of(*plane.header)].push_back(plane);
  std::vector<std::string> differing;
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    std::set<std::string> values;
    for (const auto& [person, members] : persons)
      if (!person[i].empty()) values.insert(person[i]);
    if (values.size() > 1) differing.emplace_back(kNames[i]);
  }
  if (differing.empty()) return {{planes, {}}};
  std::vector<Part> parts;
  for (auto& [person, members] : persons) parts.push_back(make_part(std::move(members)));
  sort_parts(parts);
  const SplitReason reason = reason_of(std::move(differing), parts);
  std::vector<Acquisition> result;
  for (Part& part : parts) result.push_back({std::move(part.planes), {reason}});
  return result;
}

}  // namespace wsp::dicom

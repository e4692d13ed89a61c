#include "io/medical/series_split.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "io/medical/dicom_text.hpp"
#include "io/medical/interleave.hpp"
#include "io/medical/series_keys.hpp"
#include "io/medical/series_passes.hpp"

namespace wsp::dicom {
namespace {

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
  const bool says = all_say || blank_is_value(key);
  if (key.says == Says::what && says) return parts;
  // Of blocks at every position of the table none is a station of its own.
  if (parts.size() > 2 && 8 * parts.size() > planes.size()) return {};
  parts = cut_at_jumps(std::move(parts), median_distance(planes));
  return parts.size() > 1 ? parts : std::vector<Part>{};
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

}  // namespace

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

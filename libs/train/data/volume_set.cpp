#include "train/data/volume_set.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "io/core/error.hpp"
#include "io/core/hash.hpp"

namespace wsp::train {
namespace {

using Names = std::set<std::string>;

void check(const DatasetReader& reader, const VolumeOptions& options) {
  if (!(options.hold_back >= 0 && options.hold_back < 1))
    throw Error(ErrorCode::usage, fmt::format("the part of the subjects to hold back is {}: "
                                              "expected at least 0 and below 1",
                                              options.hold_back));
  Names present;
  for (const IndexCase& c : reader.cases())
    if (!c.split.empty()) present.insert(c.split);
  for (const std::string& split : options.splits)
    if (!present.contains(split))
      throw Error(
          ErrorCode::usage,
          present.empty()
              ? fmt::format("the dataset has no split '{}', nor any other: leave --split out, "
                            "or give the cases splits when they are ingested",
                            split)
              : fmt::format("the dataset has no split '{}': expected one of '{}'", split,
                            fmt::join(present, "', '")));
  Names unknown(options.exclude.begin(), options.exclude.end());
  for (const IndexCase& c : reader.cases()) unknown.erase(c.name);
  if (!unknown.empty())
    throw Error(ErrorCode::usage, fmt::format("cases to leave out are not in the dataset: {}",
                                              fmt::join(unknown, ", ")));
}

// The same subjects are kept back whatever else the dataset holds in other splits.
Names held_back_of(const Names& subjects, double part) {
  std::vector<std::pair<Digest, std::string>> order;
  for (const std::string& subject : subjects)
    order.emplace_back(sha256("hold back " + subject), subject);
  std::sort(order.begin(), order.end());
  std::size_t count = 0;
  if (part > 0 && order.size() > 1)
    count = std::clamp<std::size_t>(
        static_cast<std::size_t>(std::floor(part * static_cast<double>(order.size()) + 0.5)), 1,
        order.size() - 1);
  Names chosen;
  for (std::size_t i = 0; i < count; ++i) chosen.insert(order[i].second);
  return chosen;
}

std::size_t slices_of(const std::vector<MaskedVolume>& volumes,
                      std::vector<std::uint32_t> MaskedVolume::*kind) {
  std::size_t count = 0;
  for (const MaskedVolume& volume : volumes) count += (volume.*kind).size();
  return count;
}

void need_both_kinds(const VolumeSet& set) {
  const std::size_t liver = slices_of(set.training, &MaskedVolume::liver);
  const std::size_t background = slices_of(set.training, &MaskedVolume::background);
  if (liver > 0 && background > 0) return;
  throw Error(
      ErrorCode::no_input,
      fmt::format("a liver network learns from slices with liver and slices without: expected "
                  "some of both, found {} and {} in {} volumes{}{}; make the dataset with "
                  "wsp-ingest --slices all --masks DIR",
                  liver, background, set.training.size(),
                  set.left_out.empty() ? "" : ", left out: ", fmt::join(set.left_out, "; ")));
}

}  // namespace

std::vector<MaskedVolume> all_volumes(const DatasetReader& reader) {
  std::vector<MaskedVolume> volumes;
  for (std::size_t c = 0; c < reader.cases().size(); ++c) {
    const IndexCase& entry = reader.cases()[c];
    MaskedVolume volume;
    volume.case_id = static_cast<std::int32_t>(c);
    volume.subject = entry.subject;
    volume.first_row = static_cast<std::uint32_t>(entry.first_slice);
    volume.count = entry.slice_count;
    std::vector<double> steps;
    for (std::int64_t i = 0; i < entry.slice_count; ++i) {
      const auto row = static_cast<std::uint32_t>(entry.first_slice + i);
      if (i > 0) steps.push_back(reader.slices()[row].z_mm - reader.slices()[row - 1].z_mm);
      auto& kind = reader.slices()[row].liver_area_mm2 > 0 ? volume.liver : volume.background;
      kind.push_back(row);
    }
    if (!steps.empty()) {
      const auto middle = steps.begin() + std::ssize(steps) / 2;
      std::nth_element(steps.begin(), middle, steps.end());
      volume.spacing_mm = *middle;
    }
    if (volume.count > 0) volumes.push_back(std::move(volume));
  }
  return volumes;
}

VolumeSet select_volumes(const DatasetReader& reader, const VolumeOptions& options) {
  check(reader, options);
  const Names wanted(options.splits.begin(), options.splits.end());
  VolumeSet set;
  std::size_t other_splits = 0, shared = 0, unsure = 0, rated = 0;
  const Names unwanted(options.exclude.begin(), options.exclude.end());
  std::vector<MaskedVolume> validation;
  for (MaskedVolume& volume : all_volumes(reader)) {
    const IndexCase& entry = reader.cases()[static_cast<std::size_t>(volume.case_id)];
    if (unwanted.contains(entry.name)) {
      ++rated;
      continue;
    }
    if (has_flag(entry.flags, Code::MASK_UNSURE)) {
      ++unsure;
      continue;
    }
    const std::string& split = entry.split;
    const bool train = wanted.empty() ? split != "val" && split != "test" : wanted.contains(split);
    if (train)
      set.training.push_back(std::move(volume));
    else if (split == "val")
      validation.push_back(std::move(volume));
    else
      ++other_splits;
  }
  Names subjects;
  for (const MaskedVolume& volume : set.training) subjects.insert(volume.subject);
  if (validation.empty()) {
    const Names chosen = held_back_of(subjects, options.hold_back);
    const auto middle =
        std::stable_partition(set.training.begin(), set.training.end(),
                              [&](const MaskedVolume& v) { return !chosen.contains(v.subject); });
    set.validation.assign(std::make_move_iterator(middle),
                          std::make_move_iterator(set.training.end()));
    set.training.erase(middle, set.training.end());
  } else {
    // Judged on a subject that it has seen, a network would look better than it is.
    for (MaskedVolume& volume : validation) {
      if (subjects.contains(volume.subject))
        ++shared;
      else
        set.validation.push_back(std::move(volume));
    }
  }
  if (rated > 0) set.left_out.push_back(fmt::format("{} volumes rated exclude", rated));
  if (unsure > 0) set.left_out.push_back(fmt::format("{} volumes flagged MASK_UNSURE", unsure));
  if (other_splits > 0)
    set.left_out.push_back(fmt::format("{} volumes of other splits", other_splits));
  if (shared > 0)
    set.left_out.push_back(
        fmt::format("{} volumes of split 'val' whose subjects are also trained on", shared));
  need_both_kinds(set);
  return set;
}

}  // namespace wsp::train

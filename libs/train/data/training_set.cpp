#include "train/data/training_set.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "io/core/error.hpp"
#include "io/core/hash.hpp"

namespace wsp::train {
namespace {

// Classes index the outputs of the supervised baseline: a larger "class" is a measurement.
constexpr std::int64_t kLargestLabel = 65535;
constexpr std::string_view kPosition = "z_mm", kArea = "liver_area_mm2";

std::string count_of(std::size_t n, std::string_view what) {
  return fmt::format("{} {}{}", n, what, n == 1 ? "" : "s");
}

std::size_t label_column(const DatasetLayout& layout, const std::string& name,
                         std::string_view also) {
  const auto& names = layout.label_names;
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end())
    throw Error(ErrorCode::usage,
                fmt::format("the dataset has no label column '{}': expected one of {}{}", name,
                            fmt::join(names, ", "), also));
  return static_cast<std::size_t>(found - names.begin());
}

// Of each slice its position, its area or its case's continuous label; none for another name.
std::optional<std::vector<double>> numbers_of(const DatasetReader& reader,
                                              const std::string& name) {
  std::vector<double> values;
  values.reserve(reader.slices().size());
  if (name == kPosition || name == kArea) {
    for (const IndexRow& row : reader.slices())
      values.push_back(name == kPosition ? row.z_mm : row.liver_area_mm2);
    return values;
  }
  const auto& names = reader.layout().continuous_names;
  const auto found = std::find(names.begin(), names.end(), name);
  if (found == names.end()) return std::nullopt;
  const auto c = static_cast<std::size_t>(found - names.begin());
  for (const IndexRow& row : reader.slices())
    values.push_back(reader.cases().at(static_cast<std::size_t>(row.case_id)).continuous.at(c));
  return values;
}

// As numbers unknown classes are NaN: -1 would make slices of unknown value alike.
std::vector<double> values_of(const DatasetReader& reader, const std::string& name,
                              bool as_numbers) {
  if (auto numbers = numbers_of(reader, name)) {
    if (as_numbers) return *std::move(numbers);
    throw Error(ErrorCode::usage, fmt::format("kernel column {0} is continuous: give its sigma, "
                                              "as in {0}:20",
                                              name));
  }
  std::string also;
  for (const std::string& other : reader.layout().continuous_names) also += ", " + other;
  const std::size_t l = label_column(reader.layout(), name, also + ", z_mm, liver_area_mm2");
  std::vector<double> values;
  values.reserve(reader.slices().size());
  for (const IndexRow& row : reader.slices()) {
    const auto value = reader.cases().at(static_cast<std::size_t>(row.case_id)).labels.at(l);
    values.push_back(as_numbers && value < 0 ? std::numeric_limits<double>::quiet_NaN()
                                             : static_cast<double>(value));
  }
  return values;
}

double depth_of(const IndexRow& row, DepthScale scale) {
  switch (scale) {
    case DepthScale::kept:
      return row.depth_kept;
    case DepthScale::liver:
      return row.depth_liver;
    case DepthScale::volume:
      return row.depth_volume;
  }
  return 0.5;
}

enum class Part { none, train, held_back };

class Selection {
 public:
  Selection(const DatasetReader& reader, const SelectOptions& options)
      : reader_(reader),
        options_(options),
        label_(label_column(reader.layout(), options.label, "")),
        parts_(reader.cases().size(), Part::none) {}

  TrainingSet run() {
    if (!(options_.hold_back >= 0 && options_.hold_back < 1))
      throw Error(ErrorCode::usage, fmt::format("the part of the subjects to hold back is {}: "
                                                "expected at least 0 and below 1",
                                                options_.hold_back));
    for (const KernelColumn& column : options_.columns) {
      set_.columns.push_back(column);
      set_.column_values.push_back(values_of(reader_, column.name, column.sigma.has_value()));
    }
    if (options_.continuous) known_ = values_of(reader_, options_.continuous->name, true);
    choose_splits();
    choose_subjects();
    leave_out_rated();
    leave_out_flagged();
    leave_out_unlabelled();
    hold_back();
    separate_subjects();
    collect();
    if (options_.continuous && options_.continuous->sigma) {
      set_.columns.push_back(*options_.continuous);
      set_.column_values.push_back(std::move(known_));
    } else if (options_.continuous) {
      set_.values = std::move(known_);
    }
    return std::move(set_);
  }

 private:
  [[nodiscard]] const IndexCase& entry(std::size_t c) const { return reader_.cases()[c]; }
  [[nodiscard]] std::int64_t label(std::size_t c) const {
    const std::int64_t y = entry(c).labels.at(label_);
    const auto& positive = options_.positive;
    if (positive.empty() || y < 0) return y;
    return std::find(positive.begin(), positive.end(), y) != positive.end() ? 1 : 0;
  }

  void say(std::size_t count, const std::string& why) {
    if (count > 0) set_.left_out.push_back(count_of(count, "case") + " " + why);
  }

  void choose_splits() {
    std::set<std::string> present;
    for (const IndexCase& c : reader_.cases())
      if (!c.split.empty()) present.insert(c.split);
    const std::set<std::string> wanted(options_.splits.begin(), options_.splits.end());
    for (const std::string& split : wanted)
      if (!present.contains(split))
        throw Error(ErrorCode::usage,
                    present.empty()
                        ? fmt::format("the dataset has no split '{}', nor any other: leave --split "
                                      "out, or give the cases splits when they are ingested",
                                      split)
                        : fmt::format("the dataset has no split '{}': expected one of '{}'", split,
                                      fmt::join(present, "', '")));
    std::map<std::string, std::size_t> out;
    for (std::size_t c = 0; c < parts_.size(); ++c) {
      const std::string& split = entry(c).split;
      // Who asks for subjects by name splits them himself.
      const bool train = !wanted.empty()
                             ? wanted.contains(split)
                             : !options_.subjects.empty() || (split != "val" && split != "test");
      if (train) {
        parts_[c] = Part::train;
      } else if (split == "val") {
        parts_[c] = Part::held_back;
        has_validation_ = true;
      } else {
        ++out[split];
      }
    }
    for (const auto& [split, count] : out) say(count, fmt::format("of split '{}'", split));
  }

  void choose_subjects() {
    if (options_.subjects.empty()) return;
    const std::set<std::string> wanted(options_.subjects.begin(), options_.subjects.end());
    std::size_t count = 0;
    for (std::size_t c = 0; c < parts_.size(); ++c) {
      if (parts_[c] == Part::none || wanted.contains(entry(c).subject)) continue;
      parts_[c] = Part::none;
      ++count;
    }
    say(count, "of subjects that were not asked for");
  }

  void leave_out_rated() {
    std::set<std::string> unknown(options_.exclude.begin(), options_.exclude.end());
    std::size_t count = 0;
    for (std::size_t c = 0; c < parts_.size(); ++c) {
      if (unknown.erase(entry(c).name) == 0 || parts_[c] == Part::none) continue;
      parts_[c] = Part::none;
      ++count;
    }
    if (!unknown.empty())
      throw Error(ErrorCode::usage, fmt::format("cases to leave out are not in the dataset: {}",
                                                fmt::join(unknown, ", ")));
    say(count, "rated exclude");
  }

  void leave_out_flagged() {
    if (options_.include_flagged) return;
    for (const Code flag : kUntrustedDepth) {
      std::size_t count = 0;
      for (std::size_t c = 0; c < parts_.size(); ++c) {
        if (parts_[c] == Part::none || !has_flag(entry(c).flags, flag)) continue;
        parts_[c] = Part::none;
        ++count;
      }
      say(count, "flagged " + std::string(to_string(flag)));
    }
  }

  void leave_out_unlabelled() {
    std::size_t count = 0;
    for (std::size_t c = 0; c < parts_.size(); ++c) {
      if (parts_[c] == Part::none) continue;
      if (label(c) > kLargestLabel)
        throw Error(ErrorCode::usage,
                    fmt::format("label column '{}' is {} in case {}: expected a class of 0 to {}; "
                                "measurements can be kernel columns (NAME:SIGMA)",
                                options_.label, label(c), entry(c).name, kLargestLabel));
      if (is_labelled(c) || options_.include_unlabelled) continue;
      parts_[c] = Part::none;
      ++count;
    }
    say(count, fmt::format("without a value in label column '{}'",
                           options_.continuous ? options_.continuous->name : options_.label));
  }

  // A position or an area is every slice's own, and known.
  [[nodiscard]] bool is_labelled(std::size_t c) const {
    if (!options_.continuous) return label(c) >= 0;
    return entry(c).slice_count == 0 ||
           !std::isnan(known_[static_cast<std::size_t>(entry(c).first_slice)]);
  }

  // A probe needs every class, so each gives its share of subjects; the last one of a class stays.
  void hold_back() {
    if (has_validation_ || options_.hold_back == 0) return;
    std::map<std::string, std::int64_t> class_of;
    for (std::size_t c = 0; c < parts_.size(); ++c) {
      if (parts_[c] != Part::train || label(c) < 0) continue;
      const auto [at, added] = class_of.emplace(entry(c).subject, label(c));
      if (!added) at->second = std::max(at->second, label(c));
    }
    std::map<std::int64_t, std::vector<std::pair<Digest, std::string>>> by_class;
    for (const auto& [subject, y] : class_of)
      by_class[y].emplace_back(sha256("hold back " + subject), subject);
    std::set<std::string> chosen;
    for (auto& [y, subjects] : by_class) {
      std::sort(subjects.begin(), subjects.end());
      const auto share = static_cast<std::size_t>(
          std::floor(options_.hold_back * static_cast<double>(subjects.size()) + 0.5));
      for (std::size_t i = 0; i < std::min(share, subjects.size() - 1); ++i)
        chosen.insert(subjects[i].second);
    }
    for (std::size_t c = 0; c < parts_.size(); ++c)
      if (parts_[c] == Part::train && chosen.contains(entry(c).subject))
        parts_[c] = Part::held_back;
  }

  // A probe on subjects that the encoder has seen would flatter it.
  void separate_subjects() {
    std::set<std::string> trained;
    for (std::size_t c = 0; c < parts_.size(); ++c)
      if (parts_[c] == Part::train) trained.insert(entry(c).subject);
    std::size_t count = 0;
    for (std::size_t c = 0; c < parts_.size(); ++c) {
      if (parts_[c] != Part::held_back || !trained.contains(entry(c).subject)) continue;
      parts_[c] = Part::none;
      ++count;
    }
    say(count, "of split 'val' whose subjects are also trained on");
  }

  void collect() {
    std::map<std::string, std::int32_t> subjects;
    for (std::size_t c = 0; c < parts_.size(); ++c)
      if (parts_[c] != Part::none) subjects.emplace(entry(c).subject, 0);
    for (auto& [name, number] : subjects) {
      number = static_cast<std::int32_t>(set_.subjects.size());
      set_.subjects.push_back(name);
    }
    if (reader_.slices().size() > std::numeric_limits<std::uint32_t>::max())
      throw Error(ErrorCode::usage, "the dataset has more than 2^32 slices: split it");
    for (std::size_t row = 0; row < reader_.slices().size(); ++row) {
      const IndexRow& slice = reader_.slices()[row];
      const auto c = static_cast<std::size_t>(slice.case_id);
      if (parts_[c] == Part::none) continue;
      const double depth = depth_of(slice, options_.depth);
      if (!std::isfinite(depth))
        throw Error(ErrorCode::corrupt,
                    fmt::format("depth_{} of case {}, slice {} is no finite number; run wsp-ingest "
                                "verify, then ingest the case again",
                                to_string(options_.depth), entry(c).name, slice.source_index));
      auto& to = parts_[c] == Part::train ? set_.slices : set_.held_back;
      to.push_back({static_cast<std::uint32_t>(row), subjects.at(entry(c).subject), slice.case_id,
                    std::max<std::int64_t>(label(c), -1), depth});
      set_.classes = std::max(set_.classes, label(c) + 1);
    }
    if (set_.slices.empty())
      throw Error(
          ErrorCode::no_input,
          fmt::format("no slice of {} is left to train on ({})", count_of(parts_.size(), "case"),
                      set_.left_out.empty()
                          ? std::string("the dataset is empty")
                          : fmt::format("left out: {}", fmt::join(set_.left_out, "; "))));
  }

  const DatasetReader& reader_;
  const SelectOptions& options_;
  std::size_t label_;
  std::vector<Part> parts_;  ///< [case]
  bool has_validation_ = false;
  std::vector<double> known_;  ///< [row of the index]: the continuous label, where there is one
  TrainingSet set_;
};

}  // namespace

DepthScale parse_depth_scale(std::string_view name) {
  if (name == "kept") return DepthScale::kept;
  if (name == "liver") return DepthScale::liver;
  if (name == "volume") return DepthScale::volume;
  throw Error(ErrorCode::usage,
              fmt::format("depth scale is '{}': expected kept, liver or volume", name));
}

std::string_view to_string(DepthScale scale) {
  switch (scale) {
    case DepthScale::kept:
      return "kept";
    case DepthScale::liver:
      return "liver";
    case DepthScale::volume:
      return "volume";
  }
  return "";
}

KernelColumn parse_kernel_column(std::string_view text) {
  KernelColumn column;
  const std::size_t colon = text.rfind(':');
  column.name = text.substr(0, colon);
  const auto bad = [&](const char* what) {
    return Error(ErrorCode::usage,
                 fmt::format("kernel column '{}' {}: expected NAME (must be equal) "
                             "or NAME:SIGMA (Gaussian, sigma above 0)",
                             text, what));
  };
  if (column.name.empty()) throw bad("has no name");
  if (colon == std::string_view::npos) return column;
  const std::string_view number = text.substr(colon + 1);
  double sigma = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), sigma);
  if (error != std::errc() || end != number.data() + number.size() || !std::isfinite(sigma) ||
      sigma <= 0)
    throw bad("has no such sigma");
  column.sigma = sigma;
  return column;
}

TrainingSet select_slices(const DatasetReader& reader, const SelectOptions& options) {
  return Selection(reader, options).run();
}

}  // namespace wsp::train

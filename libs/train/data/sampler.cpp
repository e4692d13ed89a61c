#include "train/data/sampler.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

#include "io/core/counter_rng.hpp"
#include "io/core/error.hpp"

namespace wsp::train {
namespace {

constexpr std::uint64_t kStream = 0x5A3B1E;  // apart from other users of the same seed
constexpr std::int32_t kNobody = -1;

// The i-th of the remaining elements, drawn when first asked for: a Fisher-Yates shuffle by need.
class LazyPermutation {
 public:
  explicit LazyPermutation(std::size_t n) : order_(n) {
    std::iota(order_.begin(), order_.end(), std::uint32_t{0});
  }
  [[nodiscard]] std::size_t size() const { return order_.size(); }
  std::uint32_t at(std::size_t i, CounterRng& rng) {
    for (; drawn_ <= i; ++drawn_)
      std::swap(order_[drawn_], order_[drawn_ + rng.below(order_.size() - drawn_)]);
    return order_[i];
  }

 private:
  std::vector<std::uint32_t> order_;
  std::size_t drawn_ = 0;
};

std::string class_name(std::int64_t label) {
  return label < 0 ? "the unlabelled class" : fmt::format("class {}", label);
}

}  // namespace

// One batch in the making. A place in the batch belongs to a class and is to get a subject of it
// that has no other place; where places compete for subjects of several classes, a subject is
// handed on along an augmenting path of the bipartite matching, so that none repeats without need.
class BalancedSampler::Draw {
 public:
  Draw(const BalancedSampler& sampler, const std::vector<std::int64_t>& quota, CounterRng& rng)
      : sampler_(sampler), rng_(rng), place_of_(sampler.subjects_, kNobody) {
    for (std::size_t c = 0; c < quota.size(); ++c) {
      orders_.emplace_back(quota[c] > 0 ? sampler.classes_[c].size() : 0);
      class_of_.insert(class_of_.end(), static_cast<std::size_t>(quota[c]), c);
    }
    for (std::size_t i = class_of_.size(); i > 1; --i)
      std::swap(class_of_[i - 1], class_of_[rng_.below(i)]);
    next_.assign(quota.size(), 0);
    subject_of_.assign(class_of_.size(), kNobody);
  }

  /// Give every place a subject; returns how many places could get none of their own.
  std::size_t match() {
    std::size_t without = 0;
    for (std::size_t place = 0; place < class_of_.size(); ++place) {
      if (take_free(place)) continue;
      seen_.assign(sampler_.subjects_, false);
      if (!take_over(place)) ++without;
    }
    return without;
  }

  std::vector<std::uint32_t> slices() {
    std::vector<std::uint32_t> batch(class_of_.size());
    std::vector<std::vector<int>> uses(orders_.size());
    for (std::size_t place = 0; place < batch.size(); ++place) {
      if (subject_of_[place] == kNobody) continue;
      auto& count = uses[class_of_[place]];
      count.resize(sampler_.classes_[class_of_[place]].size());
      ++count[static_cast<std::size_t>(subject_of_[place])];
      batch[place] = draw_slice(subject(place));
    }
    for (std::size_t place = 0; place < batch.size(); ++place) {
      if (subject_of_[place] != kNobody) continue;
      auto& count = uses[class_of_[place]];
      count.resize(sampler_.classes_[class_of_[place]].size());
      subject_of_[place] = repeated_subject(class_of_[place], count);
      ++count[static_cast<std::size_t>(subject_of_[place])];
      batch[place] = draw_slice(subject(place));
    }
    return batch;
  }

 private:
  [[nodiscard]] const Subject& subject(std::size_t place) const {
    return sampler_.classes_[class_of_[place]][static_cast<std::size_t>(subject_of_[place])];
  }

  void give(std::size_t place, std::uint32_t index) {
    subject_of_[place] = static_cast<std::int32_t>(index);
    place_of_[static_cast<std::size_t>(subject(place).subject)] = static_cast<std::int32_t>(place);
  }

  // Uniform over the subjects of the class that have no place yet.
  bool take_free(std::size_t place) {
    const std::size_t c = class_of_[place];
    while (next_[c] < orders_[c].size()) {
      const std::uint32_t index = orders_[c].at(next_[c]++, rng_);
      const Subject& candidate = sampler_.classes_[c][index];
      if (place_of_[static_cast<std::size_t>(candidate.subject)] != kNobody) continue;
      give(place, index);
      return true;
    }
    return false;
  }

  // Take the subject of another place, which then needs another one itself.
  bool take_over(std::size_t place) {
    const std::size_t c = class_of_[place];
    for (std::size_t i = 0; i < orders_[c].size(); ++i) {
      const std::uint32_t index = orders_[c].at(i, rng_);
      const auto id = static_cast<std::size_t>(sampler_.classes_[c][index].subject);
      if (seen_[id]) continue;
      seen_[id] = true;
      if (place_of_[id] != kNobody && !take_over(static_cast<std::size_t>(place_of_[id]))) continue;
      give(place, index);
      return true;
    }
    return false;
  }

  [[nodiscard]] bool has_unused(const Case& entry) const {
    return std::any_of(entry.slices.begin(), entry.slices.end(),
                       [&](std::uint32_t s) { return !used_.contains(s); });
  }

  // Uniform over those that were drawn the fewest times and have another slice to give.
  std::int32_t repeated_subject(std::size_t c, const std::vector<int>& uses) {
    std::vector<std::int32_t> candidates;
    int fewest = 0;
    for (std::size_t i = 0; i < sampler_.classes_[c].size(); ++i) {
      const auto& cases = sampler_.classes_[c][i].cases;
      if (!candidates.empty() && uses[i] > fewest) continue;
      if (std::none_of(cases.begin(), cases.end(), [&](const Case& e) { return has_unused(e); }))
        continue;
      if (candidates.empty() || uses[i] < fewest) {
        candidates.clear();
        fewest = uses[i];
      }
      candidates.push_back(static_cast<std::int32_t>(i));
    }
    // The constructor has seen that every class holds enough slices.
    return candidates.at(rng_.below(candidates.size()));
  }

  std::uint32_t draw_slice(const Subject& from) {
    std::vector<const Case*> cases;
    for (const Case& entry : from.cases)
      if (has_unused(entry)) cases.push_back(&entry);
    const Case& entry = *cases.at(rng_.below(cases.size()));
    std::vector<std::uint32_t> unused;
    for (const std::uint32_t slice : entry.slices)
      if (!used_.contains(slice)) unused.push_back(slice);
    const std::uint32_t slice = unused.at(rng_.below(unused.size()));
    used_.insert(slice);
    return slice;
  }

  const BalancedSampler& sampler_;
  CounterRng& rng_;
  std::vector<LazyPermutation> orders_;   ///< [class]
  std::vector<std::size_t> next_;         ///< [class]: how far take_free has come
  std::vector<std::size_t> class_of_;     ///< [place]
  std::vector<std::int32_t> subject_of_;  ///< [place]: index within its class
  std::vector<std::int32_t> place_of_;    ///< [subject of the set]
  std::vector<bool> seen_;                ///< [subject of the set]: on the path searched now
  std::set<std::uint32_t> used_;          ///< slices of this batch
};

BalancedSampler::BalancedSampler(const TrainingSet& set, const SamplerOptions& options)
    : options_(options), subjects_(set.subjects.size()) {
  if (options_.batch < 2)
    throw Error(ErrorCode::usage,
                fmt::format("the batch size is {}: expected at least 2", options_.batch));
  if (options_.samples_per_epoch < options_.batch)
    throw Error(ErrorCode::usage,
                fmt::format("{} samples per epoch make no batch of {}: raise the samples per epoch "
                            "or lower the batch size",
                            options_.samples_per_epoch, options_.batch));
  group(set);
  check_classes();
  check_shared_subjects();
}

void BalancedSampler::group(const TrainingSet& set) {
  std::map<std::int64_t, std::map<std::int32_t, std::map<std::int32_t, std::vector<std::uint32_t>>>>
      tree;
  for (std::size_t i = 0; i < set.slices.size(); ++i) {
    const TrainSlice& slice = set.slices[i];
    tree[options_.balanced ? slice.label : 0][slice.subject][slice.case_id].push_back(
        static_cast<std::uint32_t>(i));
  }
  for (auto& [label, subjects] : tree) {
    class_labels_.push_back(label);
    auto& of_class = classes_.emplace_back();
    for (auto& [subject, cases] : subjects) {
      Subject& entry = of_class.emplace_back(Subject{subject, {}});
      for (auto& [case_id, slices] : cases) entry.cases.push_back({case_id, std::move(slices)});
    }
  }
  if (classes_.empty()) throw Error(ErrorCode::usage, "no slice is left to draw batches from");
}

void BalancedSampler::check_classes() {
  const auto classes = static_cast<std::int64_t>(classes_.size());
  const std::int64_t largest = (options_.batch + classes - 1) / classes;
  std::int64_t fewest =
      largest;  // slices of a class: the smallest one decides which batch can be filled
  for (const auto& subjects : classes_) {
    std::int64_t slices = 0;
    for (const Subject& subject : subjects)
      for (const Case& entry : subject.cases) slices += std::ssize(entry.slices);
    fewest = std::min(fewest, slices);
  }
  for (std::size_t c = 0; c < classes_.size(); ++c) {
    std::int64_t slices = 0;
    for (const Subject& subject : classes_[c])
      for (const Case& entry : subject.cases) slices += std::ssize(entry.slices);
    const std::string name =
        options_.balanced ? class_name(class_labels_[c]) : std::string("the training set");
    if (slices < largest)
      throw Error(ErrorCode::usage,
                  fmt::format("{} has {} slices, and a batch of {} over {} classes needs {} of "
                              "them: expected at least as many; lower the batch size to {}, or "
                              "merge or leave out the class",
                              name, slices, options_.batch, classes, largest, fewest * classes));
    if (std::ssize(classes_[c]) < largest)
      warnings_.push_back(
          fmt::format("{} has {} subjects for a quota of {}: they repeat within a batch, with "
                      "other slices",
                      name, classes_[c].size(), largest));
  }
}

void BalancedSampler::check_shared_subjects() {
  std::vector<int> classes_of(subjects_, 0);
  for (const auto& subjects : classes_)
    for (const Subject& subject : subjects)
      ++classes_of.at(static_cast<std::size_t>(subject.subject));
  const auto shared =
      std::count_if(classes_of.begin(), classes_of.end(), [](int n) { return n > 1; });
  if (shared == 0 || !warnings_.empty()) return;
  // Subjects of several classes can be too few together though no class alone is short of them.
  const auto rotations = static_cast<std::int64_t>(classes_.size());
  std::size_t repeats = 0;
  for (std::int64_t r = 0; r < std::min<std::int64_t>(rotations, 64); ++r) {
    CounterRng rng(options_.seed, {kStream});
    repeats = std::max(repeats, Draw(*this, rotated_quota(r), rng).match());
  }
  if (repeats > 0)
    warnings_.push_back(
        fmt::format("{} subjects have cases of several classes: up to {} places of a batch of {} "
                    "repeat a subject, with another slice",
                    shared, repeats, options_.batch));
}

std::vector<std::int64_t> BalancedSampler::rotated_quota(std::int64_t rotation) const {
  const auto classes = static_cast<std::int64_t>(classes_.size());
  std::vector<std::int64_t> quota(classes_.size(), options_.batch / classes);
  for (std::int64_t i = 0; i < options_.batch % classes; ++i)
    ++quota[static_cast<std::size_t>((rotation + i) % classes)];
  return quota;
}

std::vector<std::int64_t> BalancedSampler::quota(std::int64_t epoch, std::int64_t step) const {
  // Each step goes on where the last one ended, so that over `classes` steps all get the same.
  const auto classes = static_cast<std::int64_t>(classes_.size());
  const std::int64_t number = epoch % classes * (steps_per_epoch() % classes) + step % classes;
  return rotated_quota(number % classes * (options_.batch % classes) % classes);
}

std::vector<std::uint32_t> BalancedSampler::batch(std::int64_t epoch, std::int64_t step) const {
  if (epoch < 0 || step < 0)
    throw Error(ErrorCode::failure,
                fmt::format("batch of epoch {}, step {}: expected 0 or more", epoch, step));
  CounterRng rng(options_.seed,
                 {kStream, static_cast<std::uint64_t>(epoch), static_cast<std::uint64_t>(step)});
  Draw draw(*this, quota(epoch, step), rng);
  draw.match();
  return draw.slices();
}

std::vector<std::uint32_t> rank_share(const std::vector<std::uint32_t>& batch, int rank,
                                      int ranks) {
  if (ranks < 1 || rank < 0 || rank >= ranks)
    throw Error(ErrorCode::usage,
                fmt::format("rank {} of {}: expected 0 <= rank < ranks", rank, ranks));
  const auto n = std::ssize(batch);
  const auto begin = batch.begin() + n * rank / ranks;
  return {begin, batch.begin() + n * (rank + 1) / ranks};
}

}  // namespace wsp::train

#include "train/data/sampler.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <set>

#include "io/core/error.hpp"

namespace wsp::train {
namespace {

struct MadeCase {
  int subject = 0;
  int label = 0;
  int slices = 1;
};

TrainingSet make_set(const std::vector<MadeCase>& cases) {
  TrainingSet set;
  for (std::size_t c = 0; c < cases.size(); ++c) {
    const MadeCase& made = cases[c];
    while (std::ssize(set.subjects) <= made.subject)
      set.subjects.push_back("sub-" + std::to_string(set.subjects.size()));
    for (int s = 0; s < made.slices; ++s)
      set.slices.push_back({static_cast<std::uint32_t>(1000 + set.slices.size()), made.subject,
                            static_cast<std::int32_t>(c), made.label, 0.5});
    set.classes = std::max<std::int64_t>(set.classes, made.label + 1);
  }
  return set;
}

// How many places of the quota can have a subject of their own: a plain maximum matching.
std::size_t most_subjects(const TrainingSet& set, const BalancedSampler& sampler,
                          const std::vector<std::int64_t>& quota) {
  std::map<std::int64_t, std::set<int>> subjects;
  for (const TrainSlice& slice : set.slices) subjects[slice.label].insert(slice.subject);
  std::vector<std::int64_t> places;
  for (std::size_t c = 0; c < quota.size(); ++c)
    places.insert(places.end(), static_cast<std::size_t>(quota[c]), sampler.class_labels()[c]);
  std::map<int, std::size_t> owner;
  std::set<int> seen;
  std::function<bool(std::size_t)> place = [&](std::size_t p) {
    for (const int s : subjects[places[p]]) {
      if (!seen.insert(s).second) continue;
      if (owner.contains(s) && !place(owner[s])) continue;
      owner[s] = p;
      return true;
    }
    return false;
  };
  std::size_t matched = 0;
  for (std::size_t p = 0; p < places.size(); ++p) {
    seen.clear();
    matched += place(p) ? 1 : 0;
  }
  return matched;
}

// At least `fewest` cases of 1 to 5 slices; subjects may have cases of several classes.
TrainingSet any_set(int fewest) {
  std::vector<MadeCase> cases;
  const int count = *rc::gen::inRange(fewest, 40);
  for (int c = 0; c < count; ++c)
    cases.push_back({*rc::gen::inRange(0, 14), *rc::gen::inRange(-1, 4), *rc::gen::inRange(1, 6)});
  return make_set(cases);
}

SamplerOptions any_options() {
  SamplerOptions options;
  options.batch = *rc::gen::inRange<std::int64_t>(2, 14);
  options.samples_per_epoch = options.batch * *rc::gen::inRange<std::int64_t>(1, 9) + 1;
  options.seed = *rc::gen::arbitrary<std::uint64_t>();
  return options;
}

RC_GTEST_PROP(Sampler, KeepsQuotasAndRepeatsNoSubjectWithoutNeed, ()) {
  const TrainingSet set = any_set(1);
  const SamplerOptions options = any_options();
  std::map<std::int64_t, std::int64_t> slices;
  for (const TrainSlice& slice : set.slices) ++slices[slice.label];
  const std::int64_t classes = std::ssize(slices);
  const std::int64_t largest = (options.batch + classes - 1) / classes;
  const bool feasible =
      std::all_of(slices.begin(), slices.end(), [&](const auto& s) { return s.second >= largest; });
  if (!feasible) {
    RC_ASSERT_THROWS_AS(BalancedSampler(set, options), Error);
    return;
  }
  const BalancedSampler sampler(set, options);
  RC_ASSERT(std::ssize(sampler.class_labels()) == classes);
  std::map<std::int64_t, std::int64_t> extras;
  bool repeats = false;
  for (std::int64_t step = 0; step < sampler.steps_per_epoch(); ++step) {
    const auto quota = sampler.quota(2, step);
    const auto batch = sampler.batch(2, step);
    RC_ASSERT(std::ssize(batch) == options.batch);
    RC_ASSERT(std::set(batch.begin(), batch.end()).size() == batch.size());
    std::map<std::int64_t, std::int64_t> drawn;
    std::map<std::pair<std::int64_t, int>, int> uses;
    std::set<int> subjects;
    for (const std::uint32_t i : batch) {
      const TrainSlice& slice = set.slices.at(i);
      ++drawn[slice.label];
      ++uses[{slice.label, slice.subject}];
      subjects.insert(slice.subject);
    }
    for (std::size_t c = 0; c < quota.size(); ++c) {
      RC_ASSERT(drawn[sampler.class_labels()[c]] == quota[c]);
      RC_ASSERT(quota[c] == options.batch / classes || quota[c] == options.batch / classes + 1);
    }
    RC_ASSERT(subjects.size() == most_subjects(set, sampler, quota));
    repeats = repeats || subjects.size() < batch.size();
  }
  RC_ASSERT(!repeats || !sampler.warnings().empty());
}

RC_GTEST_PROP(Sampler, IsAFunctionOfSeedEpochAndStep, ()) {
  const TrainingSet set = any_set(12);
  SamplerOptions options = any_options();
  options.batch = 2;
  options.samples_per_epoch = 40;
  options.balanced = *rc::gen::arbitrary<bool>();
  // Two of twelve or more slices, or one per class: always feasible.
  const BalancedSampler one(set, options), other(set, options);
  std::vector<std::vector<std::uint32_t>> whole;
  for (std::int64_t step = 0; step < one.steps_per_epoch(); ++step)
    whole.push_back(one.batch(3, step));
  // Begun in the middle, backwards, by another sampler: the same.
  for (std::int64_t step = one.steps_per_epoch(); step-- > 0;)
    RC_ASSERT(other.batch(3, step) == whole[static_cast<std::size_t>(step)]);
  std::set<std::vector<std::uint32_t>> distinct(whole.begin(), whole.end());
  RC_ASSERT(distinct.size() > 1);
  std::vector<std::vector<std::uint32_t>> next_epoch;
  for (std::int64_t step = 0; step < one.steps_per_epoch(); ++step)
    next_epoch.push_back(one.batch(4, step));
  RC_ASSERT(next_epoch != whole);
}

RC_GTEST_PROP(RankShare, IsDisjointCompleteAndEven, ()) {
  const auto batch =
      *rc::gen::container<std::vector<std::uint32_t>>(rc::gen::arbitrary<std::uint32_t>());
  const int ranks = *rc::gen::inRange(1, 9);
  std::vector<std::uint32_t> joined;
  for (int rank = 0; rank < ranks; ++rank) {
    const auto share = rank_share(batch, rank, ranks);
    RC_ASSERT(share.size() >= batch.size() / static_cast<std::size_t>(ranks));
    RC_ASSERT(share.size() <= batch.size() / static_cast<std::size_t>(ranks) + 1);
    joined.insert(joined.end(), share.begin(), share.end());
  }
  RC_ASSERT(joined == batch);
}

TEST(RankShare, RefusesARankThatDoesNotExist) {
  EXPECT_THROW((void)rank_share({1, 2}, 2, 2), Error);
  EXPECT_THROW((void)rank_share({1, 2}, -1, 2), Error);
  EXPECT_THROW((void)rank_share({1, 2}, 0, 0), Error);
}

TEST(Sampler, RotatesTheRemainderSoThatClassesGetTheSame) {
  std::vector<MadeCase> cases;
  for (int s = 0; s < 60; ++s) cases.push_back({s, s % 5, 2});
  const TrainingSet set = make_set(cases);
  SamplerOptions options;
  options.batch = 8;
  options.samples_per_epoch = 8 * 3;  // not a multiple of the classes: epochs continue the rotation
  const BalancedSampler sampler(set, options);
  EXPECT_TRUE(sampler.warnings().empty());
  std::vector<std::int64_t> drawn(5, 0);
  for (int epoch = 0; epoch < 5; ++epoch)
    for (int step = 0; step < 3; ++step)
      for (const std::uint32_t i : sampler.batch(epoch, step))
        ++drawn[static_cast<std::size_t>(set.slices[i].label)];
  EXPECT_EQ(drawn, std::vector<std::int64_t>(5, 24));
}

TEST(Sampler, DrawsSubjectThenCaseThenSliceEachUniformly) {
  // Subject 0: one case of 1 slice and one of 3; the others: one case of 2.
  const TrainingSet set =
      make_set({{0, 0, 1}, {0, 0, 3}, {1, 0, 2}, {2, 0, 2}, {3, 0, 2}, {4, 1, 9}});
  SamplerOptions options;
  options.batch = 2;
  options.samples_per_epoch = 40000;
  options.seed = 99;
  const BalancedSampler sampler(set, options);
  std::vector<double> share(set.slices.size(), 0);
  for (std::int64_t step = 0; step < sampler.steps_per_epoch(); ++step)
    for (const std::uint32_t i : sampler.batch(0, step)) share[i] += 1.0 / 20000;
  EXPECT_NEAR(share[0], 1 / 8.0, 0.01);
  for (std::size_t i = 1; i < 4; ++i) EXPECT_NEAR(share[i], 1 / 24.0, 0.01);
  for (std::size_t i = 4; i < 10; ++i) EXPECT_NEAR(share[i], 1 / 8.0, 0.01);
  for (std::size_t i = 10; i < 19; ++i) EXPECT_NEAR(share[i], 1 / 9.0, 0.01);
}

TEST(Sampler, PutsClassesInRandomOrderWithinABatch) {
  std::vector<MadeCase> cases;
  for (int s = 0; s < 40; ++s) cases.push_back({s, s % 2, 1});
  const TrainingSet set = make_set(cases);
  SamplerOptions options;
  options.batch = 8;
  options.samples_per_epoch = 8000;
  const BalancedSampler sampler(set, options);
  std::vector<int> ones(8, 0);
  for (int step = 0; step < 1000; ++step) {
    const auto batch = sampler.batch(0, step);
    for (std::size_t i = 0; i < 8; ++i) ones[i] += static_cast<int>(set.slices[batch[i]].label);
  }
  for (const int n : ones) EXPECT_NEAR(n, 500, 80);
}

TEST(Sampler, SaysOnceThatASmallClassRepeats) {
  std::vector<MadeCase> cases;
  for (int s = 0; s < 20; ++s) cases.push_back({s, s < 3 ? 1 : 0, 6});
  const TrainingSet set = make_set(cases);
  SamplerOptions options;
  options.batch = 16;
  const BalancedSampler sampler(set, options);
  ASSERT_EQ(sampler.warnings().size(), 1U);
  EXPECT_THAT(sampler.warnings()[0], testing::HasSubstr("class 1 has 3 subjects for a quota of 8"));
  std::map<int, int> uses;
  for (const std::uint32_t i : sampler.batch(0, 0))
    if (set.slices[i].label == 1) ++uses[set.slices[i].subject];
  for (const auto& [subject, n] : uses) EXPECT_TRUE(n == 2 || n == 3) << subject;  // evenly
}

TEST(Sampler, RefusesWhatCannotBeFilled) {
  const TrainingSet set = make_set({{0, 0, 40}, {1, 1, 40}, {2, 3, 5}});
  const auto refusal = [&](std::int64_t batch, std::int64_t samples, const TrainingSet& of) {
    SamplerOptions options;
    options.batch = batch;
    options.samples_per_epoch = samples;
    try {
      (void)BalancedSampler(of, options);
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::usage);
      return std::string(e.what());
    }
    return std::string();
  };
  EXPECT_THAT(refusal(64, 10000, set), testing::HasSubstr("class 3 has 5 slices"));
  EXPECT_THAT(refusal(64, 10000, set), testing::HasSubstr("lower the batch size to 15"));
  EXPECT_EQ(refusal(15, 10000, set), "");
  // The batch that is named can be filled: by the smallest class, not by the one that is complained
  // of first.
  const TrainingSet two_short = make_set({{0, 0, 20}, {1, 1, 10}, {2, 3, 5}});
  EXPECT_THAT(refusal(64, 10000, two_short), testing::HasSubstr("lower the batch size to 15"));
  EXPECT_THAT(refusal(16, 15, set), testing::HasSubstr("15 samples per epoch"));
  EXPECT_THAT(refusal(1, 15, set), testing::HasSubstr("batch size is 1"));
  EXPECT_THAT(refusal(4, 15, TrainingSet{}), testing::HasSubstr("no slice"));
}

TEST(Sampler, WarnsWhereSubjectsOfSeveralClassesAreTooFew) {
  // Each class has 3 subjects for a quota of 3, but they are the same 3.
  const TrainingSet set =
      make_set({{0, 0, 3}, {0, 1, 3}, {1, 0, 3}, {1, 1, 3}, {2, 0, 3}, {2, 1, 3}});
  SamplerOptions options;
  options.batch = 6;
  const BalancedSampler sampler(set, options);
  ASSERT_EQ(sampler.warnings().size(), 1U);
  EXPECT_THAT(sampler.warnings()[0], testing::HasSubstr("up to 3 places"));
}

TEST(Sampler, DrawsFromAllWhereNotBalanced) {
  std::vector<MadeCase> cases;
  for (int s = 0; s < 30; ++s) cases.push_back({s, s == 0 ? 1 : 0, 2});
  const TrainingSet set = make_set(cases);
  SamplerOptions options;
  options.batch = 10;
  options.samples_per_epoch = 30000;
  options.balanced = false;
  const BalancedSampler sampler(set, options);
  std::vector<int> drawn(30, 0);
  for (int step = 0; step < 3000; ++step) {
    std::set<int> subjects;
    for (const std::uint32_t i : sampler.batch(0, step)) {
      ++drawn[static_cast<std::size_t>(set.slices[i].subject)];
      subjects.insert(set.slices[i].subject);
    }
    ASSERT_EQ(subjects.size(), 10U);
  }
  for (const int n : drawn) EXPECT_NEAR(n, 1000, 150);
}

}  // namespace
}  // namespace wsp::train

// Logistic fits and nearest neighbours at their limits.
#include <gtest/gtest.h>
#include <tbb/global_control.h>

#include <cmath>
#include <functional>
#include <limits>

#include "io/core/error.hpp"
#include "io/core/parallel.hpp"
#include "probe_support.hpp"
#include "support/python.hpp"
#include "train/stats/cross_validation.hpp"
#include "train/stats/folds.hpp"
#include "train/stats/half_samples.hpp"
#include "train/stats/neighbours.hpp"
#include "train/stats/pca.hpp"
#include "train/stats/subject_scores.hpp"

namespace wsp::train {
namespace {

using test::make_probe_set;

TEST(Neighbours, VoteOfTheNearestButNeverOfTheSubjectItself) {
  ProbeSet set;
  set.dimensions = 2;
  set.first = {0, 2, 3, 4};
  set.x = {1, 0, 1, 0.01, 1, 0.2, 0, 1};
  set.positive = {1, 0, 1};
  set.names = {"a", "b", "c"};
  const std::vector<double> weight = {0, 1, 1};
  // The nearest of a's slices among the others is b's, negative; of two neighbours c's vote is
  // exp((cos - cos) / 0.07) beside it.
  EXPECT_EQ(neighbour_probabilities(set, set.positive, weight, 1)[0], 0);
  const double b0 = 1 / std::sqrt(1.04), v0 = std::exp((0 - b0) / 0.07);
  const double n1 = std::sqrt(1.0001), b1 = (1 + 0.002) / (n1 * std::sqrt(1.04)), c1 = 0.01 / n1;
  const double v1 = std::exp((c1 - b1) / 0.07);
  EXPECT_NEAR(neighbour_probabilities(set, set.positive, weight, 5)[0],
              (v0 / (1 + v0) + v1 / (1 + v1)) / 2, 1e-12);
}

TEST(LogisticFits, RefuseWhatHasNoSolution) {
  ProbeSet set = make_probe_set(6, 4, 3, 1);
  set.positive = {1, 1, 1, 0, 0, 0};
  LogisticFits fits(set);
  EXPECT_THROW(fits.prepare(0), Error);
  fits.prepare(1);
  const std::vector<double> weight = {1, 1, 1, 0, 0, 0};
  EXPECT_THROW((void)fits.fit(1, weight, set.positive), Error);
  set.x[4] = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THROW(LogisticFits{set}, Error);
}

// A standardised probe does not see where a feature lies and how wide it is: what hardly varies far
// from 0 gives what the same feature gives around 0.
TEST(LogisticFits, SolveWithFeaturesThatHardlyVary) {
  const std::int64_t d = 20;
  ProbeSet plain = make_probe_set(40, 5, d, 12);
  for (double& x : plain.x) x = std::round(64 * x);  // few digits, so that both are exact as float
  const std::vector<double> all(40, 1.0);
  const auto moved = [&](double offset, double width,
                         const std::function<bool(std::int64_t, std::int64_t)>& which) {
    ProbeSet set = plain;
    for (std::int64_t r = 0; r < set.rows(); ++r)
      for (std::int64_t j = 0; j < d; ++j)
        if (double& x = set.x[static_cast<std::size_t>(r * d + j)]; which(r, j))
          x = offset + width * x;
    return set;
  };
  const auto probabilities = [&](const ProbeSet& set) {
    LogisticFits fits(set);
    return cross_validate(set, fits, set.positive, {.folds = 5, .seed = 2}).probability[0];
  };
  const std::vector<double> expected = probabilities(plain);
  const auto same = [&](const ProbeSet& set, const char* what) {
    const std::vector<double> p = probabilities(set);
    for (std::size_t s = 0; s < p.size(); ++s)
      ASSERT_NEAR(p[s], expected[s], 1e-6) << what << " " << s;
  };
  same(moved(1024, std::ldexp(1, -13), [](auto, std::int64_t j) { return j == 3; }), "one feature");
  same(moved(-3.0e5, std::ldexp(1, -4), [](auto, auto) { return true; }),
       "a collapsed encoder, float");
  same(moved(1e4, std::ldexp(1, -20), [](auto, auto) { return true; }),
       "a collapsed encoder, double");
  // Constant but for noise in all subjects other than one: no part may stop the probe.
  ProbeSet odd = plain;
  for (std::int64_t r = 0; r < odd.rows(); ++r)
    odd.x[static_cast<std::size_t>(r * d + 3)] = r < odd.first[1] ? 1e6 : r % 2 == 0 ? 1 : 1 + 1e-7;
  for (const double p : probabilities(odd)) EXPECT_TRUE(p >= 0 && p <= 1);
}

// Fits beside each other, one of which cannot be: the failure comes out, and the others neither
// hang nor crash.
TEST(LogisticFits, FailWholeWhereOneOfManyFails) {
  const tbb::global_control threads(tbb::global_control::max_allowed_parallelism, 4);
  const ProbeSet set = make_probe_set(60, 12, 256, 3);
  const ProbeSet small = make_probe_set(60, 6, 64, 3);
  for (const ProbeSet* of : {&set, &small}) {
    LogisticFits fits(*of);
    fits.prepare(1);
    const std::vector<double> all(60, 1.0);
    std::vector<double> none(60);
    for (std::size_t s = 0; s < 60; ++s) none[s] = of->positive[s];
    EXPECT_THROW(wsp::parallel_loop(
                     0, 40, [&](int i) { (void)fits.fit(1, i == 9 ? none : all, of->positive); }),
                 Error);
  }
}

}  // namespace
}  // namespace wsp::train

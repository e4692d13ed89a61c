#include "io/core/parallel.hpp"

#include <gtest/gtest.h>
#include <tbb/global_control.h>

#include <atomic>
#include <stdexcept>
#include <vector>

namespace wsp {
namespace {

// Loops within loops, one body of which fails: what comes after an inner loop may count on all of
// it.
TEST(ParallelLoop, ReturnsOnlyWhenEveryBodyRan) {
  const tbb::global_control threads(tbb::global_control::max_allowed_parallelism, 4);
  constexpr std::size_t kInner = 200;
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> incomplete = 0, given_up = 0;
    const auto outer = [&](int i) {
      if (i == 5) throw std::runtime_error("one fails");
      for (int again = 0; again < 50; ++again) {
        std::atomic<std::size_t> ran = 0;
        try {
          wsp::parallel_loop(std::size_t{0}, kInner, [&](std::size_t) { ++ran; });
        } catch (const GivenUp&) {
          ++given_up;
          throw;
        }
        incomplete += ran == kInner ? 0 : 1;
      }
    };
    try {
      wsp::parallel_loop(0, 64, outer);
      FAIL() << "the failure was lost";
    } catch (const std::runtime_error& e) {
      EXPECT_STREQ(e.what(), "one fails");
    }
    EXPECT_EQ(incomplete, 0) << given_up;
  }
}

}  // namespace
}  // namespace wsp

#include "preprocess/ops/slice_context.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace wsp {
namespace {

using testing::ElementsAre;
using Distances = std::vector<double>;

TEST(ContextOffsets, AreTheAdjacentSlicesOrThoseNearestToADistance) {
  EXPECT_THAT(context_offsets(0, {}, 5), ElementsAre(0));
  EXPECT_THAT(context_offsets(2, {}, 5), ElementsAre(-2, -1, 0, 1, 2));
  EXPECT_THAT(context_offsets(2, Distances{6, 40}, 5), ElementsAre(-8, -1, 0, 1, 8));
  EXPECT_THAT(context_offsets(2, Distances{6, 40}, 0.7), ElementsAre(-57, -9, 0, 9, 57));
  // Thick slices: nothing is nearer than the slice itself.
  EXPECT_THAT(context_offsets(2, Distances{4, 6}, 10), ElementsAre(-1, 0, 0, 0, 1));
  // A volume of one slice has no spacing.
  EXPECT_THAT(context_offsets(2, Distances{6, 40}, 0), ElementsAre(-2, -1, 0, 1, 2));
}

TEST(SliceContext, NamesEachSliceOnceAndRepeatsTheEnds) {
  const SliceContext one = slice_context(0, 1, 4, context_offsets(2, {}, 1));
  EXPECT_THAT(one.slices, ElementsAre(0, 1, 2));
  EXPECT_THAT(one.channel, ElementsAre(0, 0, 0, 1, 2));
  const SliceContext two = slice_context(2, 4, 4, context_offsets(1, {}, 1));
  EXPECT_THAT(two.slices, ElementsAre(1, 2, 3));
  EXPECT_THAT(two.channel, ElementsAre(0, 1, 2, 1, 2, 2));
}

TEST(SliceContext, GivesWhatAPlainLoopGives) {
  for (std::int64_t depth = 1; depth < 30; depth += 4)
    for (const double spacing : {0.6, 2.5, 9.0}) {
      const auto offsets = context_offsets(3, Distances{6, 16, 40}, spacing);
      for (std::int64_t first = 0; first < depth; first += 5) {
        const std::int64_t last = std::min(first + 5, depth);
        const SliceContext context = slice_context(first, last, depth, offsets);
        std::size_t at = 0;
        for (std::int64_t z = first; z < last; ++z)
          for (const std::int64_t away : offsets) {
            const std::int64_t seen = z + away < 0 ? 0 : z + away >= depth ? depth - 1 : z + away;
            ASSERT_EQ(context.slices.at(static_cast<std::size_t>(context.channel.at(at++))), seen);
          }
        ASSERT_EQ(at, context.channel.size());
        ASSERT_TRUE(
            std::is_sorted(context.slices.begin(), context.slices.end(), std::less_equal<>()));
      }
    }
}

}  // namespace
}  // namespace wsp

#include "card.hpp"

#include <gtest/gtest.h>

namespace wsp::bench {
namespace {

// A benchmark that waits for nothing measures how fast work is handed to a card.
TEST(WaitForCard, IsNeverPassedOver) {
  EXPECT_NO_THROW(wait_for_card(kNoCard));
  if (torch::cuda::is_available())
    EXPECT_NO_THROW(wait_for_card(0));
  else
    EXPECT_ANY_THROW(wait_for_card(0));
}

}  // namespace
}  // namespace wsp::bench

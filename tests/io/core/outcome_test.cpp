#include "io/core/outcome.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <set>

#include "io/core/error.hpp"

namespace wsp {
namespace {

Outcome<int> halve(int n) {
  if (n % 2 != 0) return Rejection{"case-1", "read", Code::BAD_HEADER, "odd"};
  return n / 2;
}

TEST(Outcome, IsAValueOrAReason) {
  const auto good = halve(8);
  ASSERT_TRUE(good.ok());
  EXPECT_TRUE(static_cast<bool>(good));
  EXPECT_EQ(good.value(), 4);
  const auto bad = halve(7);
  ASSERT_FALSE(bad.ok());
  EXPECT_FALSE(static_cast<bool>(bad));
  EXPECT_EQ(bad.rejection().case_name, "case-1");
  EXPECT_EQ(bad.rejection().stage, "read");
  EXPECT_EQ(bad.rejection().code, Code::BAD_HEADER);
  EXPECT_EQ(bad.rejection().detail, "odd");
}

TEST(Outcome, AskedForWhatItDoesNotHoldThrows) {
  EXPECT_THROW((void)halve(7).value(), std::bad_variant_access);
  EXPECT_THROW((void)halve(8).rejection(), std::bad_variant_access);
}

TEST(Outcome, MovesAndChangesWhatItHolds) {
  Outcome<std::unique_ptr<int>> owner(std::make_unique<int>(3));
  *owner.value() = 5;
  const std::unique_ptr<int> taken = std::move(owner).value();
  EXPECT_EQ(*taken, 5);
}

TEST(Error, CarriesItsMessageContextAndExitCode) {
  Error error(ErrorCode::output, "disk full");
  error.within("while writing shard 3").within("in case-1");
  EXPECT_STREQ(error.what(), "disk full\n  while writing shard 3\n  in case-1");
  EXPECT_EQ(error.code(), ErrorCode::output);
}

TEST(Error, HasTheDocumentedExitCodes) {
  EXPECT_EQ(exit_code(ErrorCode::failure), 1);
  EXPECT_EQ(exit_code(ErrorCode::usage), 2);
  EXPECT_EQ(exit_code(ErrorCode::no_input), 4);
  EXPECT_EQ(exit_code(ErrorCode::output), 5);
  EXPECT_EQ(exit_code(ErrorCode::corrupt), 6);
  EXPECT_EQ(exit_code(ErrorCode::interrupted), 130);
}

}  // namespace
}  // namespace wsp

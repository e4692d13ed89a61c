#include "io/core/directory_lock.hpp"

#include <gtest/gtest.h>

#include <optional>

#include "io/core/error.hpp"
#include "support/test_data.hpp"

namespace wsp {
namespace {

TEST(DirectoryLock, ServesOneAtATimeAndLeavesNothingBehind) {
  const test::TemporaryDirectory directory;
  std::optional<DirectoryLock> lock;
  lock.emplace(directory.path());
  try {
    const DirectoryLock second(directory.path());
    ADD_FAILURE() << "two hold the lock";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::output);
    EXPECT_NE(std::string(e.what()).find("another run"), std::string::npos) << e.what();
  }
  lock.reset();
  EXPECT_NO_THROW(DirectoryLock(directory.path()));
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
  EXPECT_THROW(DirectoryLock(directory.path() / "nowhere"), Error);
}

}  // namespace
}  // namespace wsp

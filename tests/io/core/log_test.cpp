#include "io/core/log.hpp"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "io/core/error.hpp"
#include "io/core/progress.hpp"

namespace wsp {
namespace {

TEST(Log, WritesToStderrFromTheLevelThatWasAskedFor) {
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  log::configure("warn");
  log::info("below {}");
  log::warn("at {}");
  log::error("above {}");
  log::configure("info");
  const std::string err = testing::internal::GetCapturedStderr();
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "") << "stdout belongs to results";
  EXPECT_EQ(err.find("below"), std::string::npos);
  EXPECT_NE(err.find("at {}"), std::string::npos) << "braces are text, not a format";
  EXPECT_NE(err.find("above {}"), std::string::npos);
}

TEST(Log, RefusesLevelsThatDoNotExist) {
  EXPECT_NO_THROW(log::configure("off"));
  for (const char* level : {"loud", "", "Info "})
    EXPECT_THROW(log::configure(level), Error) << level;
  log::configure("info");
}

TEST(Progress, IsSilentWithoutATerminalAndSafeInThreads) {
  testing::internal::CaptureStderr();
  {
    Progress bar("cases", 400, "cases");
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t)
      threads.emplace_back([&] {
        for (int i = 0; i < 100; ++i) bar.advance();
      });
    for (auto& thread : threads) thread.join();
    bar.finish();
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

}  // namespace
}  // namespace wsp

#include "io/core/progress.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "io/core/log.hpp"

namespace wsp {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

TEST(ProgressLine, FitsEveryWidth) {
  const ProgressState state{"looking at values", "series", "loss 2.31", 12, 40, 1.3};
  EXPECT_EQ(progress_line(state, 200),
            "looking at values [#########.....................] 12/40 series  1.3/s  0:21 left  "
            "loss 2.31");
  EXPECT_EQ(progress_line(state, 80),
            "looking at values [########.....................] 12/40 series  1.3/s  0:21 left");
  EXPECT_EQ(progress_line(state, 60),
            "looking at values [##.......] 12/40 series  1.3/s  0:21 left");
  EXPECT_EQ(progress_line(state, 50), "looking at values 12/40 series  1.3/s  0:21 left");
  EXPECT_EQ(progress_line(state, 40), "looking at values 12/40 series  1.3/s");
  EXPECT_EQ(progress_line(state, 10), "looking at");
  for (std::size_t columns = 0; columns < 120; ++columns)
    EXPECT_LE(progress_line(state, columns).size(), columns);
}

TEST(ProgressLine, KnowsHoursAndWhatIsNotKnown) {
  EXPECT_EQ(progress_line({"a", "b", "", 1, 100, 0.005}, 80),
            "a [..............................] 1/100 b  18.0/h  5:30:00 left");
  EXPECT_EQ(progress_line({"a", "b", "", 0, 0, 0}, 80), "a [##############################] 0/0 b");
  EXPECT_EQ(progress_line({"a", "b", "", 7, 5, 1}, 80),
            "a [##############################] 7/5 b  1.0/s");
}

// What a child that runs `job` writes to its stderr, a terminal of `columns`, or a pipe where 0.
std::string stderr_of(unsigned short columns, void (*job)(int terminal)) {
  int ends[2] = {-1, -1};
  if (columns > 0) {
    ends[0] = ::posix_openpt(O_RDWR | O_NOCTTY);
    EXPECT_EQ(::grantpt(ends[0]) + ::unlockpt(ends[0]), 0);
    ends[1] = ::open(::ptsname(ends[0]), O_RDWR | O_NOCTTY);
    const winsize size{24, columns, 0, 0};
    EXPECT_EQ(::ioctl(ends[1], TIOCSWINSZ, &size), 0);
  } else {
    EXPECT_EQ(::pipe(ends), 0);
  }
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(ends[1], STDERR_FILENO);
    job(ends[1]);
    std::_Exit(0);
  }
  ::close(ends[1]);
  std::string text;
  char buffer[4096];
  for (ssize_t n = 0; (n = ::read(ends[0], buffer, sizeof buffer)) > 0;)
    text.append(buffer, static_cast<std::size_t>(n));
  ::close(ends[0]);
  EXPECT_EQ(::waitpid(child, nullptr, 0), child);
  return text;
}

TEST(Progress, KeepsToTheTerminalAndFollowsItsSize) {
  const std::string text = stderr_of(60, [](int terminal) {
    Progress progress("a job of a long name", 3, "things");
    for (const std::uint16_t columns : {std::uint16_t{60}, std::uint16_t{30}, std::uint16_t{80}}) {
      const winsize size{24, columns, 0, 0};
      ::ioctl(terminal, TIOCSWINSZ, &size);
      std::this_thread::sleep_for(std::chrono::milliseconds(150));
      progress.advance();
    }
  });
  std::vector<std::size_t> lengths;
  for (std::size_t at = text.find('\r'); at != std::string::npos;) {
    const std::size_t end = text.find("\x1b[K", at);
    ASSERT_NE(end, std::string::npos) << text;
    lengths.push_back(end - at - 1);
    at = text.find("\ra", end);
  }
  ASSERT_EQ(lengths.size(), 4U) << text;
  EXPECT_LT(lengths[0], 60U);
  EXPECT_LT(lengths[1], 30U);
  EXPECT_GT(lengths[2], 60U);
  EXPECT_LT(lengths[2], 80U);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
}

TEST(Progress, IsLinesOfLogWhereNobodyLooks) {
  const auto job = [](int) {
    log::configure("info");
    Progress progress("job", 4, "things", 0, std::chrono::milliseconds(40));
    for (int i = 0; i < 4; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      progress.note("loss 2.31");
      progress.advance();
    }
  };
  const std::string text = stderr_of(0, job);
  EXPECT_THAT(text, StartsWith("info: job: 1/4 things  "));
  EXPECT_THAT(text, HasSubstr("/s  0:00 left  loss 2.31\n"));
  EXPECT_THAT(text, HasSubstr("info: job: 4/4 things  "));
  EXPECT_THAT(text, HasSubstr("/s  in 0:00  loss 2.31\n"));
  EXPECT_THAT(text, testing::Not(HasSubstr("\r")));
  const std::string quick = stderr_of(0, [](int) {
    log::configure("info");
    Progress progress("job", 1, "things");
    progress.advance();
  });
  EXPECT_EQ(quick, "");
}

}  // namespace
}  // namespace wsp

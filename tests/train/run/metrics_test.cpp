#include "train/run/metrics.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "support/test_data.hpp"

namespace wsp::train {
namespace {

namespace fs = std::filesystem;
using test::TemporaryDirectory;

void write_steps(MetricsWriter& writer, std::int64_t from, std::int64_t to) {
  for (std::int64_t step = from; step <= to; ++step) {
    writer.write(step, {{"kind", "train"}, {"loss", 1.0 / static_cast<double>(step)}});
    if (step % 4 == 0) writer.write(step, {{"kind", "probe"}, {"subjects", step}});
  }
}

TEST(Metrics, OneObjectALineInTheOrderGivenAndReadBackExactly) {
  const TemporaryDirectory work;
  const fs::path path = work.path() / "metrics.jsonl";
  MetricsWriter writer(path);
  writer.write(3, {{"loss", 0.1},
                   {"big", std::int64_t{1} << 60},
                   {"note", "line\nend \"quoted\" \xff"},
                   {"bad", std::numeric_limits<double>::quiet_NaN()},
                   {"worse", std::numeric_limits<double>::infinity()}});
  // Without close(): a reader follows the run.
  EXPECT_EQ(read_file(path),
            "{\"step\":3,\"loss\":0.1,\"big\":1152921504606846976,\"note\":\"line\\nend "
            "\\\"quoted\\\" \xef\xbf\xbd\",\"bad\":null,\"worse\":null}\n");
  const double odd = std::nextafter(0.3, 1);
  writer.write(3, {{"odd", odd}});
  const std::string text = read_file(path);
  const auto line = nlohmann::json::parse(text.substr(text.find('\n') + 1));
  EXPECT_EQ(line["odd"].get<double>(), odd);
  EXPECT_THROW(writer.write(2, {}), Error) << "steps do not decrease";
  writer.close();
}

TEST(Metrics, AFirstRunDoesNotOverwrite) {
  const TemporaryDirectory work;
  const fs::path path = work.path() / "metrics.jsonl";
  std::ofstream(path) << "precious";
  try {
    MetricsWriter writer(path);
    ADD_FAILURE() << "overwrote a file";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::output);
  }
  EXPECT_EQ(read_file(path), "precious");
}

TEST(Metrics, AResumedFileEqualsAnUninterruptedOne) {
  const TemporaryDirectory work;
  MetricsWriter whole(work.path() / "whole");
  write_steps(whole, 1, 20);
  const std::string expected = read_file(work.path() / "whole");
  // Killed anywhere, also inside a line, and resumed at any checkpoint before.
  for (std::int64_t checkpoint = 0; checkpoint <= 16; checkpoint += 2)
    for (std::size_t torn = 0; torn < 40; torn += 3) {
      const fs::path path = work.path() / "resumed";
      fs::remove(path);
      {
        MetricsWriter writer(path);
        write_steps(writer, 1, 18);
      }
      fs::resize_file(path, fs::file_size(path) - torn);
      MetricsWriter writer(path, checkpoint);
      write_steps(writer, checkpoint + 1, 20);
      ASSERT_EQ(read_file(path), expected) << checkpoint << " " << torn;
    }
}

TEST(Metrics, ATornEndOfAnyKindIsCutOff) {
  const TemporaryDirectory work;
  const fs::path path = work.path() / "metrics.jsonl";
  const std::string good = "{\"step\":1,\"a\":1}\n{\"step\":2,\"a\":2}\n";
  for (const std::string& tail :
       {std::string(), std::string("{\"step\":3"), std::string("{\"step\":2,\"a\":3}"),
        std::string(100, '\0'), std::string("\n\n"),
        std::string("[1]\n{\"a\":1}\n{\"step\":1.5}\n")}) {
    std::ofstream(path, std::ios::binary) << good << tail;
    MetricsWriter writer(path, 7);
    writer.write(8, {});
    EXPECT_EQ(read_file(path), good + "{\"step\":8}\n") << tail;
  }
  // Nothing there: a run resumed into a directory without the file.
  fs::remove(path);
  MetricsWriter writer(path, 7);
  writer.write(8, {});
  EXPECT_EQ(read_file(path), "{\"step\":8}\n");
}

TEST(Metrics, DamageInTheMiddleIsNotCutAway) {
  const TemporaryDirectory work;
  const fs::path path = work.path() / "metrics.jsonl";
  for (const std::string& text : {std::string("{\"step\":1}\nrubbish\n{\"step\":2}\n"),
                                  std::string("{\"step\":9}\n{\"step\":2}\n")}) {
    std::ofstream(path, std::ios::binary) << text;
    try {
      MetricsWriter writer(path, 5);
      ADD_FAILURE() << "cut good lines away: " << text;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::corrupt);
      EXPECT_NE(std::string(e.what()).find(path.string()), std::string::npos);
    }
    EXPECT_EQ(read_file(path), text);
  }
}

TEST(Metrics, AFullDeviceIsAnOutputError) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  const TemporaryDirectory work;
  fs::create_symlink("/dev/full", work.path() / "metrics.jsonl");
  AppendFile file(work.path() / "metrics.jsonl", AppendFile::Open::create_or_append);
  try {
    file.append("x");
    ADD_FAILURE() << "wrote to a full disk";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::output);
    EXPECT_NE(std::string(e.what()).find("Free some space"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace wsp::train

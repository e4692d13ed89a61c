// Two ranks that read a step's numbers with the next step, as ranks on cards do: the weights are
// those of ranks that wait, and a signal to one of them stops both at the same step.
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "io/core/interrupt.hpp"
#include "train/model/safetensors.hpp"
#include "train/pretrain/train_options.hpp"

namespace wsp::train {
namespace {

constexpr int kSteps = 24, kUsage = 2, kStopped = 128 + SIGTERM;

class LateRanks : public test::TrainOptions {
 protected:
  static constexpr const char* kOut = "WSP_TEST_RANK_OUT";
  static constexpr const char* kData = "WSP_TEST_RANK_DATA";
  static constexpr const char* kHow = "WSP_TEST_RANK_HOW";

  /// This test binary once more, as two ranks.
  static std::vector<pid_t> start(const std::string& name, const std::string& how) {
    static int port = 20000 + ::getpid() % 9000;
    ++port;
    std::vector<pid_t> ranks;
    for (int rank = 0; rank < 2; ++rank) {
      std::vector<std::string> settings{
          "RANK=" + std::to_string(rank),
          "LOCAL_RANK=0",
          "WORLD_SIZE=2",
          "MASTER_ADDR=127.0.0.1",
          "MASTER_PORT=" + std::to_string(port),
          "OMP_WAIT_POLICY=passive",
          std::string(kOut) + "=" + (scratch_->path() / name).string(),
          std::string(kData) + "=" + (scratch_->path() / "data").string(),
          std::string(kHow) + "=" + how};
      std::vector<char*> environment;
      for (std::string& each : settings) environment.push_back(each.data());
      environment.push_back(nullptr);
      std::string self = "/proc/self/exe", filter = "--gtest_filter=LateRanks.DISABLED_OneOfThem",
                  all = "--gtest_also_run_disabled_tests";
      char* arguments[] = {self.data(), filter.data(), all.data(), nullptr};
      pid_t child = 0;
      EXPECT_EQ(
          ::posix_spawn(&child, self.c_str(), nullptr, nullptr, arguments, environment.data()), 0);
      ranks.push_back(child);
    }
    return ranks;
  }
  static std::vector<int> ended(const std::vector<pid_t>& ranks) {
    std::vector<int> codes;
    for (const pid_t rank : ranks) {
      int status = 0;
      EXPECT_EQ(::waitpid(rank, &status, 0), rank);
      codes.push_back(WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
    }
    return codes;
  }
  static const inline std::vector<int> kDone{0, 0};
};

// Only as a process of its own.
TEST_F(LateRanks, DISABLED_OneOfThem) {
  const char* out = std::getenv(kOut);
  if (out == nullptr) GTEST_SKIP() << "started by the tests below";
  const std::string how = std::getenv(kHow);
  TrainConfig c = small();
  c.samples_per_epoch = kSteps * c.batch;
  RunOptions o = into("unused");
  o.dataset = std::getenv(kData);
  o.out = out;
  o.read_late = how.starts_with("late");
  o.resume = how.ends_with("resume");
  o.timeout_s = 120;
  install_interrupt_handlers();
  try {
    (void)train(c, o);
  } catch (const Error& e) {
    std::fprintf(stderr, "rank %s: %s\n", std::getenv("RANK"), e.what());
    TearDownTestSuite();
    std::_Exit(e.code() == ErrorCode::interrupted ? kStopped
               : e.code() == ErrorCode::usage     ? kUsage
                                                  : 1);
  }
}

TEST_F(LateRanks, TrainAsThoseThatWaitAndStopTogether) {
  const auto codes = ended(start("now", "now"));
  if (codes == std::vector<int>{kUsage, kUsage}) GTEST_SKIP() << "this build has no Gloo";
  ASSERT_EQ(codes, kDone);
  ASSERT_EQ(ended(start("late", "late")), kDone);
  const auto tensors = [](const char* name) {
    return read_tensor_file(scratch_->path() / name / "encoder.safetensors").tensors;
  };
  const auto now = tensors("now");
  for (const auto& [key, tensor] : tensors("late"))
    EXPECT_TRUE(torch::allclose(tensor, now.at(key), 1e-4, 1e-6)) << key;

  const auto ranks = start("stopped", "late");
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(120);
  while (train_lines("stopped").size() < 2 && std::chrono::steady_clock::now() < limit)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  ::kill(ranks[1], SIGTERM);
  ASSERT_EQ(ended(ranks), (std::vector<int>{kStopped, kStopped}));
  const std::size_t lines = train_lines("stopped").size();
  EXPECT_LT(lines, static_cast<std::size_t>(kSteps)) << "the signal came too late to tell anything";
  ASSERT_EQ(ended(start("stopped", "late resume")), kDone);
  EXPECT_EQ(weights("stopped"), weights("late"));
}

}  // namespace
}  // namespace wsp::train

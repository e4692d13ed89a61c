// Several ranks are one process, and end where one of them does.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <torch/torch.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "io/core/error.hpp"
#include "step_support.hpp"
#include "train/pretrain/step.hpp"
#include "train/run/distributed.hpp"
#include "train/run/gradient_sum.hpp"
#include "train/run/optimizer.hpp"

namespace wsp::train {
namespace {

using test::method_of;
using test::targets_of;

std::uint16_t free_port() {
  const int probe = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  std::uint16_t port = 0;
  if (::bind(probe, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 &&
      ::getsockname(probe, reinterpret_cast<sockaddr*>(&address), &length) == 0)
    port = ntohs(address.sin_port);
  ::close(probe);
  return port;
}

// Ranks as threads of this process, each with its own Gloo context over loopback.
struct OneStep {
  double loss = 0;
  torch::Tensor gradient;
  std::int64_t pieces = 0, during = 0;  ///< of the sum over the ranks; that went during the pass
};

OneStep step_of(Method& method, const torch::Tensor& views, int rank, int ranks, std::uint16_t port,
                std::int64_t micro_batch = 0) {
  Ranks group({rank, ranks, rank, "127.0.0.1", port, "test"}, torch::kCPU, 60);
  FlatParameters parameters(method);
  GradientSum sum(parameters, method, group, 1000);
  StepOptions how{micro_batch, "fp32", 1.0};
  how.before_last_backward = [&] { sum.arm(); };
  const std::int64_t n = views.size(0) / 2, m = n / ranks;
  const torch::Tensor own =
      torch::cat({views.narrow(0, rank * m, m), views.narrow(0, n + rank * m, m)});
  const StepResult result =
      backward_batch(method, own, targets_of(n), how, GradScaler(false), group);
  const std::int64_t during = sum.finish();
  return {result.loss.item<double>(), parameters.gradients().clone(), sum.pieces(), during};
}

class SeveralRanks : public testing::TestWithParam<std::tuple<const char*, const char*>> {};

TEST_P(SeveralRanks, GiveTheLossAndGradientOfOneProcess) {
  const auto [encoder, name] = GetParam();
  const std::int64_t size = std::string(encoder) == "tinynet" ? 156 : 48;
  const torch::Tensor views = torch::rand({12, 1, size, size}, torch::kDouble);
  const auto make = [&] {
    auto method = method_of(encoder, name, Norm::group);
    method->to(torch::kDouble);
    return method;
  };
  const auto alone = make();
  const OneStep expected = step_of(*alone, views, 0, 1, 0);
  ASSERT_GT(expected.gradient.norm().item<double>(), 1e-6);
  for (const int ranks : {2, 3}) {
    const std::uint16_t port = free_port();
    std::vector<std::unique_ptr<Method>> methods;
    for (int r = 0; r < ranks; ++r) methods.push_back(make());  // Torch's seed is global
    std::vector<OneStep> found(static_cast<std::size_t>(ranks));
    std::vector<std::thread> threads;
    for (int r = 0; r < ranks; ++r)
      threads.emplace_back([&, r] {
        const auto at = static_cast<std::size_t>(r);
        found[at] = step_of(*methods[at], views, r, ranks, port, ranks == 2 ? 2 : 0);
      });
    for (std::thread& thread : threads) thread.join();
    for (const OneStep& one : found) {
      EXPECT_NEAR(one.loss, expected.loss, 1e-9);
      EXPECT_LT(
          ((one.gradient - expected.gradient).norm() / expected.gradient.norm()).item<double>(),
          1e-9);
      EXPECT_GT(one.pieces, 5);
      EXPECT_GE(one.during, one.pieces - 1) << "the sum waited for the end of the backward pass";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, SeveralRanks,
                         testing::Combine(testing::Values("tinynet", "resnet18"),
                                          testing::Values("wsp", "kernel-barlow-twins", "byol")));

// What rank 0 does alone may take longer than the timeout of a collective.
TEST(Ranks, WaitForTheFirstAsLongAsItLives) {
  const std::uint16_t port = free_port();
  std::atomic<bool> done = false;
  const auto rank = [&](int r) {
    Ranks group({r, 2, r, "127.0.0.1", port, "test"}, torch::kCPU, 3);
    group.first_alone([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(7000));
      done = true;
    });
    EXPECT_TRUE(done);
    // What it throws reaches the others with its code.
    try {
      group.first_alone([] { throw Error(ErrorCode::corrupt, "a test"); });
      ADD_FAILURE() << "rank " << r;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::corrupt) << "rank " << r;
    }
    torch::Tensor from = torch::full({1}, r);
    group.broadcast(from, 1);
    EXPECT_EQ(from.item<double>(), 1);
  };
  std::thread other(rank, 1);
  rank(0);
  other.join();
}

// Something listens where the ranks are to meet, and never answers.
TEST(Ranks, AForeignListenerEndsWithinTheTimeout) {
  const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  ASSERT_EQ(::bind(listener, reinterpret_cast<sockaddr*>(&address), length), 0);
  ASSERT_EQ(::listen(listener, 4), 0);
  ASSERT_EQ(::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length), 0);
  const auto start = std::chrono::steady_clock::now();
  try {
    const Ranks group({1, 2, 1, "127.0.0.1", ntohs(address.sin_port), "test"}, torch::kCPU, 1);
    ADD_FAILURE();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::failure);
    EXPECT_NE(std::string(e.what()).find("MASTER_PORT"), std::string::npos) << e.what();
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
  ::close(listener);
}

}  // namespace
}  // namespace wsp::train

#include "train/pretrain/step.hpp"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <torch/torch.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <set>
#include <thread>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "support/test_data.hpp"
#include "train/run/checkpoint.hpp"
#include "train/run/distributed.hpp"
#include "train/run/gradient_sum.hpp"
#include "train/run/optimizer.hpp"
#include "train/run/run_directory.hpp"

namespace wsp::train {
namespace {

std::unique_ptr<Method> method_of(const std::string& encoder, const std::string& name, Norm norm) {
  torch::manual_seed(3);
  MethodOptions options;
  options.name = name;
  options.classes = 3;
  return make_method(options, make_encoder({encoder, norm}));
}

Targets targets_of(std::int64_t n) {
  Targets targets;
  targets.label = torch::arange(n, torch::kLong).remainder(3);
  targets.depth = torch::linspace(0, 1, n, torch::kDouble);
  return targets;
}

Targets numbers_of(std::int64_t n) {
  Targets targets = targets_of(n);
  targets.value = torch::linspace(40, 80, n, torch::kDouble).remainder(13);
  targets.continuous = targets.value.unsqueeze(0);
  targets.continuous_sigma = {4};
  return targets;
}

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

torch::Tensor gradient_of(Method& method, const torch::Tensor& views, std::int64_t micro_batch,
                          Targets (*targets)(std::int64_t) = targets_of) {
  FlatParameters parameters(method);
  parameters.zero_gradients();
  Ranks alone({}, torch::kCPU, 10);
  const GradScaler scaler(false);
  (void)backward_batch(method, views, targets(views.size(0) / 2), {micro_batch, "fp32", 1.0},
                       scaler, alone);
  return parameters.gradients().clone();
}

class MicroBatch : public testing::TestWithParam<std::tuple<const char*, const char*>> {};

TEST_P(MicroBatch, GivesTheGradientOfTheWholeBatch) {
  const auto [encoder, name] = GetParam();
  const std::int64_t n = 6, size = std::string(encoder) == "tinynet" ? 156 : 48;
  const torch::Tensor views = torch::rand({2 * n, 1, size, size}, torch::kDouble);
  auto method = method_of(encoder, name, Norm::group);
  method->to(torch::kDouble);
  const torch::Tensor whole = gradient_of(*method, views, 0, numbers_of);
  ASSERT_GT(whole.norm().item<double>(), 1e-6);
  for (const std::int64_t piece : {1, 4}) {  // 4 does not divide 6: the last piece is smaller
    const torch::Tensor pieces = gradient_of(*method, views, piece, numbers_of);
    EXPECT_LT(((pieces - whole).norm() / whole.norm()).item<double>(), 1e-9) << piece;
  }
}
INSTANTIATE_TEST_SUITE_P(All, MicroBatch,
                         testing::Combine(testing::Values("tinynet", "resnet18"),
                                          testing::Values("wsp", "barlow-twins", "kernel-byol",
                                                          "supervised")));
INSTANTIATE_TEST_SUITE_P(OfANumber, MicroBatch,
                         testing::Combine(testing::Values("resnet18"),
                                          testing::Values("yaware", "lexp", "rnc")));

TEST(MicroBatch, TakesViewsAsTheyAreDrawn) {
  const std::int64_t n = 6;
  const torch::Tensor views = torch::rand({2 * n, 1, 48, 48}, torch::kDouble);
  auto method = method_of("resnet18", "wsp", Norm::group);
  method->to(torch::kDouble);
  const torch::Tensor whole = gradient_of(*method, views, 0);
  FlatParameters parameters(*method);
  parameters.zero_gradients();
  Ranks alone({}, torch::kCPU, 10);
  std::int64_t most = 0, asked = 0;
  const auto piece = [&](std::int64_t at, std::int64_t count) {
    most = std::max(most, count);
    ++asked;
    return torch::cat({views.narrow(0, at, count), views.narrow(0, n + at, count)});
  };
  (void)backward_batch(*method, piece, n, targets_of(n), {4, "fp32", 1.0}, GradScaler(false),
                       alone);
  EXPECT_LT(((parameters.gradients() - whole).norm() / whole.norm()).item<double>(), 1e-9);
  EXPECT_EQ(most, 4);
  EXPECT_EQ(asked, 4) << "two pieces, each to embed and to carry the gradient through";
}

TEST(MicroBatch, LeavesRunningStatisticsMovedOnce) {
  auto method = method_of("resnet18", "wsp", Norm::batch);
  method->train();
  const torch::Tensor views = torch::rand({8, 1, 48, 48});
  (void)gradient_of(*method, views, 2);
  for (const auto& buffer : method->named_buffers()) {
    if (!buffer.key().ends_with("num_batches_tracked")) continue;
    EXPECT_EQ(buffer.value().item<std::int64_t>(), 2) << buffer.key();  // two pieces, once each
  }
}

// A linear network and a loss that note whether matrix products may be TF32's.
class NotesTf32 final : public Method {
 public:
  NotesTf32() : Method({}, make_encoder({"tinynet", Norm::batch})) {
    weight_ = register_parameter("weight", torch::ones({16, 2}));
  }
  std::vector<torch::Tensor> forward(const torch::Tensor& views) override {
    in_networks.push_back(allowed());
    const torch::Tensor out = views.flatten(1).matmul(weight_);
    if (out.requires_grad()) note(out, in_networks);
    return {out};
  }
  torch::Tensor loss(const std::vector<torch::Tensor>& outputs, const Targets&) override {
    in_loss.push_back(allowed());
    note(outputs[0], in_loss);
    return outputs[0].square().sum();
  }
  std::vector<bool> in_networks, in_loss;  ///< forward, backward

 private:
  static bool allowed() { return at::globalContext().allowTF32CuBLAS(); }
  static void note(const torch::Tensor& at, std::vector<bool>& to) {
    (void)at.register_hook([&to](const torch::Tensor&) { to.push_back(allowed()); });
  }
  torch::Tensor weight_;
};

TEST(Tf32, IsForTheNetworksAndNotForTheLossNorItsGradient) {
  at::globalContext().setAllowTF32CuBLAS(true);
  NotesTf32 method;
  (void)gradient_of(method, torch::rand({4, 1, 4, 4}), 0);
  EXPECT_EQ(method.in_networks, (std::vector<bool>{true, true}));
  EXPECT_EQ(method.in_loss, (std::vector<bool>{false, false}));
  EXPECT_TRUE(at::globalContext().allowTF32CuBLAS());
  at::globalContext().setAllowTF32CuBLAS(false);
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

TEST(ChannelsLast, IsTheSameFunction) {
  for (const char* encoder : {"tinynet", "resnet18"}) {
    SCOPED_TRACE(encoder);
    const std::int64_t n = 4, size = std::string(encoder) == "tinynet" ? 156 : 48;
    const torch::Tensor views = torch::rand({2 * n, 1, size, size}, torch::kDouble);
    auto method = method_of(encoder, "wsp", Norm::group);
    method->to(torch::kDouble);
    const torch::Tensor expected = gradient_of(*method, views, 0);
    ASSERT_GT(expected.norm().item<double>(), 1e-6);
    auto other = method_of(encoder, "wsp", Norm::group);
    other->to(torch::kDouble);
    for (torch::Tensor& p : other->parameters())
      if (p.dim() == 4) p.set_data(p.contiguous(torch::MemoryFormat::ChannelsLast));
    FlatParameters parameters(*other);
    parameters.zero_gradients();
    Ranks alone({}, torch::kCPU, 10);
    (void)backward_batch(*other, views, targets_of(n), {0, "fp32", 1.0}, GradScaler(false), alone);
    std::int64_t strided = 0;
    FlatParameters plain(*method);
    for (std::size_t i = 0; i < parameters.segments().size(); ++i) {
      const auto& segment = parameters.segments()[i];
      strided += segment.strides != plain.segments()[i].strides ? 1 : 0;
      const torch::Tensor want = FlatParameters::view(expected, plain.segments()[i]);
      const torch::Tensor found = FlatParameters::view(parameters.gradients(), segment);
      EXPECT_TRUE(torch::allclose(found, want, 1e-9, 1e-12)) << segment.name;
    }
    EXPECT_GT(strided, 3) << "the weights did change their layout";
  }
}

TEST(Optimizer, ASkippedStepChangesNothing) {
  for (const char* name : {"adam", "adamw", "lars", "sgd"}) {
    SCOPED_TRACE(name);
    torch::nn::Linear layer(4, 3);
    FlatParameters parameters(*layer);
    OptimizerOptions options;
    options.name = name;
    Optimizer optimizer(parameters, options);
    parameters.gradients().fill_(1);
    optimizer.step(0.1, torch::zeros({1}));
    const torch::Tensor moved = parameters.values().clone();
    parameters.gradients().fill_(std::numeric_limits<float>::quiet_NaN());
    optimizer.step(0.1, torch::ones({1}));
    EXPECT_TRUE(torch::equal(parameters.values(), moved));
    EXPECT_EQ(optimizer.steps(), 1);
    parameters.gradients().fill_(1);
    optimizer.step(0.1, torch::zeros({1}));
    EXPECT_FALSE(torch::equal(parameters.values(), moved));
    EXPECT_TRUE(torch::isfinite(parameters.values()).all().item<bool>());
  }
}

TEST(FlatParameters, ShareOneBufferAndKeepShapes) {
  auto method = method_of("resnet18", "wsp", Norm::batch);
  std::map<std::string, torch::Tensor> before;
  for (const auto& p : method->named_parameters()) before[p.key()] = p.value().detach().clone();
  FlatParameters flat(*method);
  for (const auto& p : method->named_parameters()) {
    EXPECT_TRUE(torch::equal(p.value(), before[p.key()])) << p.key();
    EXPECT_EQ(p.value().storage().data(), flat.values().storage().data());
  }
  flat.values().zero_();
  EXPECT_EQ(method->parameters()[0].abs().sum().item<float>(), 0);
}

// Ours against LibTorch's own optimizers, ten steps on the same gradients.
template <class Reference>
void expect_same_as(OptimizerOptions options, Reference&& make_reference, double rate) {
  torch::manual_seed(1);
  torch::nn::Sequential ours(torch::nn::Linear(7, 5), torch::nn::Linear(5, 3));
  torch::nn::Sequential theirs(torch::nn::Linear(7, 5), torch::nn::Linear(5, 3));
  {
    torch::NoGradGuard no_grad;
    for (std::size_t i = 0; i < ours->parameters().size(); ++i)
      theirs->parameters()[i].copy_(ours->parameters()[i]);
  }
  FlatParameters flat(*ours);
  Optimizer optimizer(flat, options);
  auto reference = make_reference(theirs->parameters());
  for (int step = 0; step < 10; ++step) {
    const torch::Tensor x = torch::randn({4, 7});
    flat.zero_gradients();
    ours->forward(x).pow(2).mean().backward();
    optimizer.step(rate);
    reference.zero_grad();
    theirs->forward(x).pow(2).mean().backward();
    reference.step();
  }
  for (std::size_t i = 0; i < ours->parameters().size(); ++i)
    EXPECT_TRUE(torch::allclose(ours->parameters()[i], theirs->parameters()[i], 1e-5, 1e-7)) << i;
}

TEST(Optimizer, AdamIsTorchs) {
  expect_same_as(
      {.name = "adam", .weight_decay = 0.01},
      [](auto p) {
        return torch::optim::Adam(p, torch::optim::AdamOptions(1e-2).weight_decay(0.01));
      },
      1e-2);
}
TEST(Optimizer, AdamWIsTorchs) {
  expect_same_as(
      {.name = "adamw", .weight_decay = 0.1},
      [](auto p) {
        return torch::optim::AdamW(p, torch::optim::AdamWOptions(1e-2).weight_decay(0.1));
      },
      1e-2);
}
TEST(Optimizer, SgdIsTorchs) {
  expect_same_as(
      {.name = "sgd", .weight_decay = 0.01, .momentum = 0.9},
      [](auto p) {
        return torch::optim::SGD(p,
                                 torch::optim::SGDOptions(1e-2).momentum(0.9).weight_decay(0.01));
      },
      1e-2);
}

TEST(Optimizer, LarsScalesByTrust) {
  torch::nn::Linear layer(3, 2);
  FlatParameters flat(*layer);
  OptimizerOptions options{.name = "lars", .weight_decay = 0.1, .momentum = 0.9};
  Optimizer optimizer(flat, options);
  const torch::Tensor weight = layer->weight.detach().clone(), bias = layer->bias.detach().clone();
  flat.gradients().fill_(0.5);
  optimizer.step(0.2);
  const torch::Tensor update = 0.5 + 0.1 * weight;
  const torch::Tensor expected = weight - 0.2 * 0.001 * weight.norm() / update.norm() * update;
  EXPECT_TRUE(torch::allclose(layer->weight, expected, 1e-5, 1e-8));
  EXPECT_TRUE(torch::allclose(layer->bias, bias - 0.2 * 0.5, 1e-5, 1e-8));
}

TEST(Optimizer, StateGoesRound) {
  torch::nn::Linear a(4, 4), b(4, 4);
  FlatParameters fa(*a), fb(*b);
  fb.values().copy_(fa.values());
  Optimizer oa(fa, {}), ob(fb, {});
  fa.gradients().normal_();
  oa.step(0.1);
  fb.values().copy_(fa.values());
  ob.load_state(oa.state(), oa.steps());
  fa.gradients().normal_();
  fb.gradients().copy_(fa.gradients());
  oa.step(0.1);
  ob.step(0.1);
  for (const auto& segment : fa.segments())
    EXPECT_TRUE(torch::equal(FlatParameters::view(fa.values(), segment),
                             FlatParameters::view(fb.values(), segment)));
  auto broken = oa.state();
  broken.erase(broken.begin());
  EXPECT_THROW(ob.load_state(broken, 1), Error);
}

TEST(Schedule, WarmsUpThenFallsToZero) {
  EXPECT_DOUBLE_EQ(scheduled_rate(1, 0, 100, 10), 0.1);
  EXPECT_DOUBLE_EQ(scheduled_rate(1, 9, 100, 10), 1.0);
  EXPECT_DOUBLE_EQ(scheduled_rate(1, 10, 100, 10), 1.0);
  EXPECT_NEAR(scheduled_rate(1, 55, 100, 10), 0.5, 1e-12);
  EXPECT_NEAR(scheduled_rate(1, 100, 100, 10), 0.0, 1e-12);
}

TEST(GradScaler, HalvesOnOverflowAndGrows) {
  GradScaler scaler(true);
  const double start = scaler.scale();
  EXPECT_TRUE(scaler.update(false));
  EXPECT_EQ(scaler.scale(), start / 2);
  for (int i = 0; i < 2000; ++i) EXPECT_TRUE(scaler.update(true));
  EXPECT_EQ(scaler.scale(), start);
  GradScaler off(false);
  EXPECT_FALSE(off.update(false));
  EXPECT_EQ(off.scale(), 1);
}
TEST(GradScaler, EndsWhereNoScaleHelps) {
  GradScaler scaler(true);
  int halved = 0;
  while (scaler.update(false)) ASSERT_LT(++halved, 100);
  EXPECT_EQ(halved, 16) << "65536 to 1";
  EXPECT_EQ(scaler.scale(), 1);
  EXPECT_TRUE(scaler.update(true));
}

TensorFile state_of(int step) {
  TensorFile file;
  file.tensors["x"] = torch::full({100}, step, torch::kFloat);
  return file;
}

TEST(Checkpoints, NewestWholeOneWins) {
  const test::TemporaryDirectory run;
  CheckpointStore store(run.path(), 3);
  EXPECT_FALSE(store.newest());
  for (const int step : {5, 10, 15, 20}) store.save(step, state_of(step), step == 10);
  const auto directory = run.path() / "checkpoints";
  EXPECT_FALSE(std::filesystem::exists(directory / "step-000000005.safetensors"));
  EXPECT_TRUE(std::filesystem::exists(directory / "best.safetensors"));
  EXPECT_EQ(store.newest()->state.tensors["x"][0].item<float>(), 20);
  std::filesystem::resize_file(directory / "step-000000020.safetensors", 100);
  auto found = store.newest();
  EXPECT_EQ(found->state.tensors["x"][0].item<float>(), 15);
  EXPECT_EQ(found->corrupt.size(), 1U);
  for (const char* name : {"step-000000010.safetensors", "step-000000015.safetensors"})
    std::filesystem::resize_file(directory / name, 100);
  EXPECT_EQ(store.newest()->state.tensors["x"][0].item<float>(), 10);  // the best one
  std::filesystem::resize_file(directory / "best.safetensors", 100);
  try {
    (void)store.newest();
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::corrupt);
  }
}

TEST(Checkpoints, DamagedOnesAndHalvesDoNotPileUp) {
  const test::TemporaryDirectory run;
  CheckpointStore store(run.path(), 3);
  const auto directory = run.path() / "checkpoints";
  const auto names = [&] {
    std::set<std::string> found;
    for (const auto& entry : std::filesystem::directory_iterator(directory))
      found.insert(entry.path().filename().string());
    return found;
  };
  for (const int step : {1, 2, 3}) store.save(step, state_of(step), false);
  for (const char* left : {"step-000000004.safetensors.tmp", "step-000000000.safetensors.damaged"})
    write_file_atomic(directory / left, "x");
  store.set_aside(
      {directory / "step-000000003.safetensors", directory / "step-000000002.safetensors"});
  EXPECT_EQ(names(), (std::set<std::string>{"step-000000001.safetensors",
                                            "step-000000003.safetensors.damaged"}));
  store.set_aside({});
  EXPECT_EQ(names().size(), 2U) << "what was set aside last stays until there is another";
}

TEST(RunDirectory, IsHeldByOne) {
  const test::TemporaryDirectory parent;
  {
    const RunDirectory mine(parent.path() / "run");
    try {
      const RunDirectory other(parent.path() / "run");
      FAIL();
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::output);
      EXPECT_NE(std::string(e.what()).find("another run"), std::string::npos);
    }
  }
  EXPECT_NO_THROW(RunDirectory(parent.path() / "run"));
}

class Environment : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* name :
         {"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT", "SLURM_PROCID",
          "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_JOB_NODELIST", "SLURM_JOB_ID",
          "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK",
          "TORCHELASTIC_USE_AGENT_STORE", "TORCHELASTIC_RESTART_COUNT"})
      ::unsetenv(name);
  }
  void TearDown() override { SetUp(); }
};

TEST_F(Environment, OneRankWithoutALauncher) {
  const RankEnvironment found = rank_environment();
  EXPECT_EQ(found.ranks, 1);
  EXPECT_EQ(found.launcher, "none");
}
TEST_F(Environment, Torchrun) {
  ::setenv("RANK", "3", 1);
  ::setenv("WORLD_SIZE", "4", 1);
  ::setenv("LOCAL_RANK", "1", 1);
  ::setenv("MASTER_ADDR", "node7", 1);
  ::setenv("MASTER_PORT", "12345", 1);
  const RankEnvironment found = rank_environment();
  EXPECT_EQ(found.rank, 3);
  EXPECT_EQ(found.ranks, 4);
  EXPECT_EQ(found.local_rank, 1);
  EXPECT_EQ(found.master, "node7");
  EXPECT_EQ(found.port, 12345);
}
TEST_F(Environment, TorchrunsAgentMayHoldTheStore) {
  ::setenv("RANK", "0", 1);
  ::setenv("WORLD_SIZE", "2", 1);
  EXPECT_FALSE(rank_environment().agent_holds_store);
  ::setenv("TORCHELASTIC_USE_AGENT_STORE", "True", 1);
  ::setenv("TORCHELASTIC_RESTART_COUNT", "2", 1);
  EXPECT_TRUE(rank_environment().agent_holds_store);
  EXPECT_EQ(rank_environment().attempt, 2);
  ::setenv("TORCHELASTIC_USE_AGENT_STORE", "False", 1);
  EXPECT_FALSE(rank_environment().agent_holds_store);
}
TEST_F(Environment, SlurmsPortIsNoneThatTheSystemGivesAway) {
  ::setenv("SLURM_PROCID", "0", 1);
  ::setenv("SLURM_STEP_NUM_TASKS", "2", 1);
  for (const char* job : {"0", "7", "12767", "12768", "19999", "2147483647"}) {
    ::setenv("SLURM_JOB_ID", job, 1);
    EXPECT_GE(rank_environment().port, 20000) << job;
    EXPECT_LT(rank_environment().port, 32768) << job;  // the first of Linux's ephemeral ports
  }
}
TEST_F(Environment, SlurmTakesTheFirstNode) {
  ::setenv("SLURM_PROCID", "5", 1);
  ::setenv("SLURM_STEP_NUM_TASKS", "8", 1);
  ::setenv("SLURM_LOCALID", "1", 1);
  ::setenv("SLURM_JOB_NODELIST", "gpu[03-05,9],cpu1", 1);
  EXPECT_EQ(rank_environment().master, "gpu03");
  ::setenv("SLURM_JOB_NODELIST", "a1,b2", 1);
  EXPECT_EQ(rank_environment().master, "a1");
}
TEST_F(Environment, Contradictions) {
  ::setenv("RANK", "4", 1);
  ::setenv("WORLD_SIZE", "4", 1);
  EXPECT_THROW((void)rank_environment(), Error);
  ::setenv("RANK", "x", 1);
  EXPECT_THROW((void)rank_environment(), Error);
}

}  // namespace
}  // namespace wsp::train

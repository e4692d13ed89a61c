#include "train/pretrain/step_graph.hpp"

#include <gtest/gtest.h>

#include "io/core/error.hpp"
#include "train/run/optimizer.hpp"

namespace wsp::train {
namespace {

/// Keeps the work and does it again from the same buffers, as a card plays a recording; recording
/// does nothing of it.
class HostRecorder final : public WorkRecorder {
 public:
  struct Calls {
    int run = 0, record = 0, replay = 0;
  };
  explicit HostRecorder(Calls& calls) : calls_(calls) {}
  void run(const Work& work) override {
    ++calls_.run;
    work();
  }
  void record(const Work& work) override {
    ++calls_.record;
    work_ = work;
  }
  void replay() override {
    ++calls_.replay;
    work_();
  }

 private:
  Calls& calls_;
  Work work_;
};

constexpr std::int64_t kSlices = 4;
constexpr int kBatches = 5;

std::unique_ptr<Method> new_method(const std::string& name) {
  torch::manual_seed(3);
  MethodOptions options;
  options.name = name;
  options.classes = 3;
  return make_method(options, make_encoder({"resnet18", Norm::batch}));
}

torch::Tensor views_of(std::int64_t batch) {
  torch::manual_seed(100 + static_cast<std::uint64_t>(batch));
  return torch::rand({2 * kSlices, 1, 32, 32});
}

// No two batches share a column, so that a column that is not handed over shows.
Targets targets_of_batch(std::int64_t batch) {
  torch::manual_seed(500 + static_cast<std::uint64_t>(batch));
  Targets targets;
  targets.label = (torch::arange(kSlices, torch::kLong) + batch).remainder(3);
  targets.depth = torch::rand({kSlices}, torch::kDouble);
  targets.discrete = torch::randint(0, 2, {1, kSlices}, torch::kLong);
  targets.continuous = torch::rand({1, kSlices}, torch::kDouble);
  targets.continuous_sigma = {0.4};
  return targets;
}

struct Trained {
  std::vector<double> losses;
  torch::Tensor weights, buffers;
};

Trained train_some(const std::string& name, bool graph, HostRecorder::Calls& calls) {
  auto method = new_method(name);
  method->train();
  FlatParameters parameters(*method);
  Optimizer optimizer(parameters, {});
  Ranks alone({}, torch::kCPU, 10);
  const GradScaler scaler(false);
  const auto work = [&](const torch::Tensor& views, const Targets& targets) {
    return backward_batch(*method, views, targets, {}, scaler, alone);
  };
  StepGraph recorded(std::make_unique<HostRecorder>(calls), work);
  Trained result;
  for (std::int64_t batch = 0; batch < kBatches; ++batch) {
    torch::Tensor views = views_of(batch);
    Targets targets = targets_of_batch(batch);
    const StepResult step = graph ? recorded.run(views, targets) : work(views, targets);
    result.losses.push_back(step.loss.item<double>());
    EXPECT_EQ(step.embeddings.size(0), 2 * kSlices);
    views.zero_();  // the recording must not look into what it was given
    targets.depth.zero_();
    optimizer.step(1e-3);
    parameters.zero_gradients();
  }
  EXPECT_EQ(recorded.recorded(), graph);
  result.weights = parameters.values().clone();
  std::vector<torch::Tensor> flat;
  for (const torch::Tensor& buffer : method->buffers())
    flat.push_back(buffer.to(torch::kDouble).flatten());
  result.buffers = torch::cat(flat);
  return result;
}

TEST(StepGraph, TrainsAsStepsWithoutIt) {
  for (const char* name : {"wsp", "kernel-byol"}) {
    SCOPED_TRACE(name);
    HostRecorder::Calls none, calls;
    const Trained usual = train_some(name, false, none), recorded = train_some(name, true, calls);
    EXPECT_EQ(recorded.losses, usual.losses);
    EXPECT_TRUE(torch::equal(recorded.weights, usual.weights));
    EXPECT_TRUE(
        torch::equal(recorded.buffers, usual.buffers));  // running statistics move once a batch
    EXPECT_EQ(none.run, 0);
    EXPECT_EQ(calls.run, StepGraph::kWarmUp);
    EXPECT_EQ(calls.record, 1);
    EXPECT_EQ(calls.replay, kBatches - StepGraph::kWarmUp);
  }
}

TEST(StepGraph, KeepsItsBuffers) {
  HostRecorder::Calls calls;
  std::vector<const void*> seen;
  StepGraph graph(std::make_unique<HostRecorder>(calls),
                  [&](const torch::Tensor& views, const Targets& targets) {
                    seen.push_back(views.data_ptr());
                    seen.push_back(targets.label.data_ptr());
                    seen.push_back(targets.continuous.data_ptr());
                    return StepResult{views.sum() + targets.depth.sum(), views};
                  });
  for (std::int64_t batch = 0; batch < 5; ++batch) {
    const Targets targets = targets_of_batch(batch);
    const torch::Tensor views = views_of(batch);
    EXPECT_EQ(graph.run(views, targets).loss.item<double>(),
              (views.sum() + targets.depth.sum()).item<double>());
  }
  ASSERT_EQ(seen.size(), 15U);
  for (std::size_t i = 3; i < seen.size(); ++i) EXPECT_EQ(seen[i], seen[i % 3]);
}

TEST(StepGraph, RefusesABatchOfAnotherShape) {
  HostRecorder::Calls calls;
  StepGraph graph(std::make_unique<HostRecorder>(calls),
                  [](const torch::Tensor& views, const Targets&) {
                    return StepResult{views.sum(), views};
                  });
  (void)graph.run(views_of(0), targets_of_batch(0));
  EXPECT_THROW((void)graph.run(views_of(0).narrow(0, 0, 4), targets_of_batch(0)), Error);
  EXPECT_THROW((void)graph.run(views_of(0).to(torch::kDouble), targets_of_batch(0)), Error);
  Targets fewer = targets_of_batch(0);
  fewer.discrete.reset();
  EXPECT_THROW((void)graph.run(views_of(0), fewer), Error);
  Targets other = targets_of_batch(0);
  other.continuous_sigma = {0.5};
  EXPECT_THROW((void)graph.run(views_of(0), other), Error);
  EXPECT_NO_THROW((void)graph.run(views_of(0), targets_of_batch(0)));
}

/// Runs, and cannot record.
class BrokenRecorder final : public WorkRecorder {
 public:
  explicit BrokenRecorder(std::string words) : words_(std::move(words)) {}
  void run(const Work& work) override { work(); }
  void record(const Work&) override { throw std::runtime_error(words_); }
  void replay() override { ADD_FAILURE() << "nothing was recorded"; }

 private:
  std::string words_;
};

TEST(StepGraph, SaysWhatToDoWhereRecordingFails) {
  const auto fail = [](const std::string& words) -> std::string {
    StepGraph graph(std::make_unique<BrokenRecorder>(words),
                    [](const torch::Tensor& views, const Targets&) {
                      return StepResult{views.sum(), views};
                    });
    try {
      for (int batch = 0; batch <= StepGraph::kWarmUp; ++batch)
        (void)graph.run(views_of(0), targets_of_batch(0));
    } catch (const std::exception& e) {
      return e.what();
    }
    return {};
  };
  const std::string told = fail("operation not permitted when stream is capturing\nand a trace");
  EXPECT_NE(told.find("use --cuda-graph off (operation not permitted"), std::string::npos) << told;
  EXPECT_EQ(told.find("trace"), std::string::npos);
  EXPECT_EQ(fail("CUDA out of memory"),
            "CUDA out of memory");  // a smaller micro-batch is the remedy
}

std::string refusal(const TrainConfig& config, const torch::Device& device,
                    const std::string& asked = "on") {
  try {
    check_step_graph(asked, config, device);
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::usage);
    return e.what();
  }
  return {};
}

TEST(StepGraph, SaysWhyAStepCannotBeRecorded) {
  const torch::Device card(torch::kCUDA, 0), cpu(torch::kCPU);
  TrainConfig config;
  EXPECT_EQ(refusal(config, cpu, "off"), "");
  EXPECT_NE(refusal(config, card, "maybe").find("'maybe': expected one of off, on"),
            std::string::npos);
  EXPECT_NE(refusal(config, cpu).find("needs a card, and this runs on cpu"), std::string::npos);
  EXPECT_EQ(refusal(config, card).empty(), cuda_graphs_built());
  config.accumulate = 4;  // gradients add up in their place
  EXPECT_EQ(refusal(config, card).empty(), cuda_graphs_built());
  config.micro_batch = config.batch;  // is no micro-batch
  EXPECT_EQ(refusal(config, card).find("--micro-batch"), std::string::npos);
  config.micro_batch = 8;
  EXPECT_NE(refusal(config, card).find("leave --micro-batch out, or --cuda-graph off"),
            std::string::npos);
  config.micro_batch = 0;
  config.ranks = 2;
  EXPECT_NE(refusal(config, card).find("2 ranks"), std::string::npos);
  config.ranks = 1;
  config.precision = "fp16";
  EXPECT_NE(refusal(config, card).find("--precision bf16"), std::string::npos);
}

}  // namespace
}  // namespace wsp::train

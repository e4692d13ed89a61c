#include "train/pretrain/train.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "io/core/atomic_file.hpp"
#include "io/core/counter_rng.hpp"
#include "io/core/error.hpp"
#include "io/core/log.hpp"
#include "io/shard/state.hpp"
#include "support/expect_error.hpp"
#include "support/test_data.hpp"
#include "train/support/train_dataset.hpp"

namespace wsp::train {
namespace {

namespace fs = std::filesystem;

class Training : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    log::configure("error");
    scratch_ = std::make_unique<test::TemporaryDirectory>();
    test::write_train_dataset(scratch_->path() / "data", {});
  }
  static void TearDownTestSuite() { scratch_.reset(); }
  void TearDown() override { scratch_->clear_but({"data"}); }

  static TrainConfig small(const std::string& method, const std::string& encoder) {
    TrainConfig c;
    c.method = method;
    c.encoder = encoder;
    if (is_continuous(method)) c.continuous = method == "rnc" ? "stiffness_kpa" : "stiffness_kpa:3";
    if (method == "rnc") c.temperature = 2;
    c.image_size = encoder == "tinynet" ? 156 : 48;
    c.batch = 4;
    c.samples_per_epoch = 40;
    c.epochs = 2;
    c.hold_back = 0.25;
    c.seed = 11;
    return c;
  }
  static RunOptions into(const std::string& name) {
    RunOptions o;
    o.dataset = scratch_->path() / "data";
    o.out = scratch_->path() / name;
    o.device = "cpu";
    o.verify = false;
    o.threads = 1;  // threads that wait for each other crawl on a busy machine
    o.workers = 1;
    o.probe_every = 0;
    return o;
  }
  static std::string error_of(const TrainConfig& c, const RunOptions& o, ErrorCode expected) {
    return wsp::test::error_of(expected, [&] { (void)train(c, o); });
  }
  static std::unique_ptr<test::TemporaryDirectory> scratch_;
};
std::unique_ptr<test::TemporaryDirectory> Training::scratch_;

class EveryMethod : public Training,
                    public testing::WithParamInterface<std::tuple<const char*, const char*>> {};

TEST_P(EveryMethod, TrainsTwentySteps) {
  const auto [method, encoder] = GetParam();
  TrainConfig c = small(method, encoder);
  const std::string name = std::string(method) + "-" + encoder;
  const TrainSummary s = train(c, into(name));
  EXPECT_TRUE(fs::exists(scratch_->path() / name / "encoder.safetensors"));
  if (std::string(method) == "random") {
    EXPECT_EQ(s.steps, 0);
    return;
  }
  EXPECT_EQ(s.steps, 20);
  EXPECT_TRUE(std::isfinite(s.last_loss));
  EXPECT_NE(s.last_loss, s.first_loss);
}
INSTANTIATE_TEST_SUITE_P(All, EveryMethod,
                         testing::Combine(testing::Values("wsp", "simclr", "supcon", "depth-aware",
                                                          "yaware", "lexp", "rnc", "byol",
                                                          "simsiam", "barlow-twins", "kernel-byol",
                                                          "kernel-simsiam", "kernel-barlow-twins",
                                                          "supervised", "random"),
                                          testing::Values("tinynet", "resnet18")),
                         [](const auto& tested) {
                           std::string name = std::string(std::get<0>(tested.param)) + "_" +
                                              std::get<1>(tested.param);
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

// What a kill leaves: a checkpoint at `stop`, nothing newer, and lines of the log past it.
void forget_after(const fs::path& run, std::int64_t stop) {
  for (const auto& entry : fs::directory_iterator(run / "checkpoints")) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("step-") && std::stoll(name.substr(5, 9)) > stop) fs::remove(entry);
  }
}

constexpr const char* kLastState = "checkpoints/step-000000014.safetensors";

// The lines of a run's log but for its pace.
std::vector<nlohmann::json> metrics_of(const fs::path& run) {
  std::vector<nlohmann::json> all;
  std::ifstream file(run / "metrics.jsonl");
  for (std::string line; std::getline(file, line);) {
    all.push_back(nlohmann::json::parse(line));
    all.back().erase("slices_per_s");
    all.back().erase("wait_share");
  }
  return all;
}

TEST_F(Training, ResumedIsUninterruptedBitForBitAndSoAreItsMetrics) {
  TrainConfig c = small("kernel-byol", "tinynet");
  c.samples_per_epoch = 28;  // 7 steps an epoch
  c.accumulate = 2;          // some kills fall between two batches of a step
  RunOptions whole = into("whole");
  whole.log_every = 3;
  whole.probe_every = 1;
  (void)train(c, whole);
  const std::string expected = read_file(whole.out / kLastState);
  const auto lines = metrics_of(whole.out);
  EXPECT_GT(lines.size(), 5U);
  CounterRng rng(5, {});
  for (int kill = 0; kill < 10; ++kill) {
    const auto stop = static_cast<std::int64_t>(1 + rng.below(13));
    RunOptions o = into("killed-" + std::to_string(kill));
    o.log_every = 3;
    o.probe_every = 1;
    o.checkpoint_every = stop;
    o.keep = 100;
    (void)train(c, o);
    forget_after(o.out, stop);
    o.checkpoint_every = 0;
    o.resume = true;
    EXPECT_EQ(train(c, o).steps, 14);
    EXPECT_EQ(read_file(o.out / kLastState), expected) << "stopped at " << stop;
    EXPECT_EQ(metrics_of(o.out), lines) << "stopped at " << stop;
    fs::remove_all(o.out);
  }
}

TEST_F(Training, ResumedIsUninterruptedForLossesOfANumber) {
  for (const char* method : {"lexp", "rnc"}) {
    TrainConfig c = small(method, "tinynet");
    c.samples_per_epoch = 28;  // 7 steps an epoch
    c.accumulate = 2;
    c.micro_batch = 3;
    RunOptions o = into(std::string("number-") + method);
    o.keep = 1;
    o.checkpoint_every = 5;  // between two batches of a step
    (void)train(c, o);
    const std::string expected = read_file(o.out / kLastState);
    o.force = true;
    o.keep = 100;
    (void)train(c, o);
    forget_after(o.out, 5);
    o.force = false;
    o.resume = true;
    (void)train(c, o);
    EXPECT_EQ(read_file(o.out / kLastState), expected) << method;
  }
}

TEST_F(Training, ResumedIsUninterruptedWithBatchNormalisation) {
  TrainConfig c = small("byol", "resnet18");
  c.samples_per_epoch = 28;
  c.micro_batch = 3;
  RunOptions o = into("norm");
  o.keep = 1;
  o.checkpoint_every = 5;
  (void)train(c, o);
  const std::string expected = read_file(o.out / kLastState);
  o.force = true;
  o.keep = 100;
  (void)train(c, o);
  forget_after(o.out, 5);
  o.force = false;
  o.resume = true;
  (void)train(c, o);
  EXPECT_EQ(read_file(o.out / kLastState), expected);
}

TEST_F(Training, LearnsWhatThePicturesTell) {
  TrainConfig c = small("supervised", "resnet18");
  c.samples_per_epoch = 160;
  c.batch = 8;
  c.epochs = 4;
  c.learning_rate = 1e-3;
  c.norm = "group";
  RunOptions o = into("learns");
  o.probe_every = 1;
  const TrainSummary s = train(c, o);
  EXPECT_LT(s.last_loss, 0.7 * s.first_loss);
  EXPECT_GE(s.best_probe, 0);
}

TEST_F(Training, SaysWhatCannotBe) {
  TrainConfig c = small("wsp", "tinynet");
  c.image_size = 100;
  EXPECT_NE(error_of(c, into("e1"), ErrorCode::usage).find("156"), std::string::npos);
  c = small("wsp", "tinynet");
  c.label = "grade";
  EXPECT_NE(error_of(c, into("e2"), ErrorCode::usage).find("stage"), std::string::npos);
  c = small("nothing", "tinynet");
  EXPECT_NE(error_of(c, into("e3"), ErrorCode::usage).find("kernel-byol"), std::string::npos);
  c = small("wsp", "alexnet");
  EXPECT_NE(error_of(c, into("e4"), ErrorCode::usage).find("resnet18"), std::string::npos);
  RunOptions o = into("e5");
  o.dataset = scratch_->path() / "nowhere";
  EXPECT_NE(error_of(small("wsp", "tinynet"), o, ErrorCode::no_input).find("nowhere"),
            std::string::npos);
  o = into("e6");
  o.device = "cuda:77";
  EXPECT_NE(error_of(small("wsp", "tinynet"), o, ErrorCode::usage).find("cuda:77"),
            std::string::npos);
  for (const char* name : {"e1", "e2", "e3", "e4", "e5", "e6"})
    EXPECT_FALSE(fs::exists(scratch_->path() / name))
        << name << ": nothing is made before the checks";
}

TEST_F(Training, DoesNotOverwriteAndDoesNotMix) {
  TrainConfig c = small("simclr", "resnet18");
  c.epochs = 1;
  (void)train(c, into("taken"));
  const std::string before = read_file(scratch_->path() / "taken" / "encoder.safetensors");
  EXPECT_NE(error_of(c, into("taken"), ErrorCode::output).find("--resume"), std::string::npos);
  RunOptions o = into("taken");
  o.resume = true;
  c.temperature = 0.2;
  const std::string text = error_of(c, o, ErrorCode::usage);
  EXPECT_NE(text.find("temperature: was 0.1, is 0.2"), std::string::npos) << text;
  EXPECT_EQ(read_file(scratch_->path() / "taken" / "encoder.safetensors"), before);
}

TEST_F(Training, RefusesADamagedDataset) {
  const fs::path copy = scratch_->path() / "damaged";
  fs::copy(scratch_->path() / "data", copy, fs::copy_options::recursive);
  for (const auto& entry : fs::directory_iterator(state_directory(copy) / "shards"))
    if (fs::file_size(entry) > 20000) {
      std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
      file.seekp(static_cast<std::streamoff>(fs::file_size(entry) / 2));
      const char flip = '\x5a';
      file.write(&flip, 1).write(&flip, 1);
    }
  RunOptions o = into("damaged-run");
  o.dataset = copy;
  o.verify = true;
  (void)error_of(small("wsp", "resnet18"), o, ErrorCode::corrupt);
  o.verify = false;
  TrainConfig c = small("wsp", "resnet18");
  c.epochs = 20;  // sure to draw a damaged slice
  EXPECT_NE(error_of(c, o, ErrorCode::corrupt).find("case-"), std::string::npos);
  for (const auto& entry : fs::directory_iterator(state_directory(copy) / "shards")) {
    if (fs::file_size(entry) > 20000) fs::resize_file(entry.path(), 3000);
  }
  o = into("damaged-run-2");
  o.dataset = copy;
  EXPECT_NE(error_of(small("wsp", "resnet18"), o, ErrorCode::corrupt).find("cut short"),
            std::string::npos);
}

TEST_F(Training, RedrawsTheViewsOfAStep) {
  TrainConfig c = small("wsp", "resnet18");
  c.epochs = 1;
  (void)train(c, into("drawn"));
  redraw_views(scratch_->path() / "drawn", scratch_->path() / "data", 0, 3,
               scratch_->path() / "sheet");
  EXPECT_TRUE(fs::exists(scratch_->path() / "sheet/views.png"));
  const auto list = nlohmann::json::parse(read_file(scratch_->path() / "sheet/views.json"));
  EXPECT_EQ(list.size(), 8U);
  EXPECT_THROW(redraw_views(scratch_->path() / "drawn", scratch_->path() / "data", 7, 3,
                            scratch_->path() / "sheet"),
               Error);
}

}  // namespace
}  // namespace wsp::train

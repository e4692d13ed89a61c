// What a training run refuses, reads of earlier versions, and says.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "train/model/safetensors.hpp"
#include "train/pretrain/probe_pass.hpp"
#include "train/pretrain/telemetry.hpp"
#include "train/pretrain/train_options.hpp"
#include "train/run/batches.hpp"
#include "train/run/device.hpp"

namespace wsp::train {
namespace {

namespace fs = std::filesystem;
using test::TrainOptions;

TEST_F(TrainOptions, CudaKernelsNeedABuildAndACard) {
  TrainConfig c = small();
  RunOptions o = into("kernels");
  o.device = "cpu";
  c.cuda_kernels = "on";
  expect_in(error_of(c, o, ErrorCode::usage), {"--cuda-kernels off"});
  c.cuda_kernels = "perhaps";
  expect_in(error_of(c, o, ErrorCode::usage), {"--cuda-kernels", "'perhaps'", "off, on"});
  EXPECT_FALSE(fs::exists(o.out));
}

// The depth takes one of the loss kernels' eight places, where the method weighs by it at all.
TEST_F(TrainOptions, CudaKernelsTakeAsManyColumnsAsTheMethodLeaves) {
  TrainConfig c = small();
  RunOptions o = into("columns");
  o.device = "cpu";
  c.cuda_kernels = "on";
  c.kernel_columns.clear();
  for (int i = 0; i < 8; ++i) c.kernel_columns.push_back("column" + std::to_string(i) + ":0.5");
  c.method = "wsp";
  expect_in(error_of(c, o, ErrorCode::usage), {"the depth and at most 7", "found 8"});
  for (const char* unlimited : {"supcon", "kernel-byol"}) {
    c.method = unlimited;
    const std::string other = error_of(c, o, ErrorCode::usage);
    EXPECT_EQ(other.find("at most"), std::string::npos) << other;
  }
  c.method = "supcon";
  c.kernel_columns.push_back("column8:0.5");
  expect_in(error_of(c, o, ErrorCode::usage), {"takes at most 8", "found 9"});
}

TEST_F(TrainOptions, WhatTheDeviceCannotDoIsRefusedBeforeTheDatasetIsRead) {
  RunOptions o = into("early");
  o.device = "cpu";
  o.dataset = scratch_->path() / "nowhere";
  TrainConfig c = small();
  expect_in(error_of(c, o, ErrorCode::no_input), {"no dataset"});
  c.cuda_kernels = "on";
  expect_in(error_of(c, o, ErrorCode::usage), {"--cuda-kernels off"});
  c.cuda_kernels = "off";
  c.precision = "fp16";
  expect_in(error_of(c, o, ErrorCode::usage), {"--precision fp16 needs a CUDA card"});
  c.precision = "fp32";
  o.cuda_graph = "on";
  expect_in(error_of(c, o, ErrorCode::usage), {"--cuda-graph on needs a card", "--cuda-graph off"});
  EXPECT_FALSE(fs::exists(o.out));
}

TEST_F(TrainOptions, AMethodThatLearnsFromANumberAsksForIt) {
  RunOptions o = into("number");
  o.device = "cpu";
  TrainConfig c = small();
  const auto refused = [&](const char* method, const char* continuous,
                           std::initializer_list<const char*> words) {
    c.method = method;
    c.continuous = continuous;
    expect_in(error_of(c, o, ErrorCode::usage), words);
  };
  for (const char* method : {"yaware", "lexp"}) {
    refused(method, "", {"--continuous is missing", method, "NAME:SIGMA", "age:5"});
    refused(method, "stiffness_kpa", {"'stiffness_kpa'", method, "NAME:SIGMA"});
    refused(method, "stiffness_kpa:0", {"'stiffness_kpa:0'", "sigma"});
    refused(method, "stiffness_kpa:3kPa", {"'stiffness_kpa:3kPa'", "sigma"});
    refused(method, "age:5", {"no label column 'age'", "label, stage, stiffness_kpa, z_mm"});
  }
  refused("rnc", "", {"--continuous is missing", "NAME, a continuous label"});
  refused("rnc", "stiffness_kpa:3", {"compares ranks"});
  for (const char* method : {"wsp", "simclr", "supervised"})
    refused(method, "stiffness_kpa:3", {method, "does not learn from it", "yaware, lexp or rnc"});
  c.kernel_columns = {"stage"};
  refused("rnc", "stiffness_kpa", {"--kernel-column stage", "rnc weighs no pairs"});
  c.method = "wsp";
  c.continuous.clear();
  c.kernel_columns = {"stiffness_kpa"};
  expect_in(error_of(c, o, ErrorCode::usage), {"stiffness_kpa is continuous", "sigma"});
  EXPECT_FALSE(fs::exists(o.out));
}

TEST(TrainConfigFile, OfARunFromBeforeContinuousLabelsIsRead) {
  auto value = to_json(TrainConfig{});
  value.erase("continuous");
  EXPECT_TRUE(differences(config_from_json(value), TrainConfig{}).empty());
  TrainConfig asked;
  asked.continuous = "age:5";
  EXPECT_EQ(differences(TrainConfig{}, asked),
            std::vector<std::string>{"--continuous: was \"\", is \"age:5\""});
}

TEST(TrainConfigFile, OfARunFromBeforeCudaKernelsIsRead) {
  auto value = to_json(TrainConfig{});
  EXPECT_EQ(value.at("cuda_kernels"), "off");
  value.erase("cuda_kernels");
  EXPECT_EQ(config_from_json(value).cuda_kernels, "off");
  EXPECT_TRUE(differences(config_from_json(value), TrainConfig{}).empty());
  value.erase("precision");
  EXPECT_THROW(config_from_json(value), Error);
}

TEST_F(TrainOptions, ConfigurationsOfBeforeAreRead) {
  TrainConfig c = small();
  nlohmann::json old = to_json(c);
  old.erase("channels_last");
  old.erase("deterministic");
  EXPECT_EQ(differences(config_from_json(old), c), std::vector<std::string>());
  old.erase("batch");
  EXPECT_THROW((void)config_from_json(old), Error);
}

TEST_F(TrainOptions, WhatOnlyACardDoesIsRefusedOnTheCpu) {
  TrainConfig c = small();
  for (const char* precision : {"fp16", "tf32"}) {
    c.precision = precision;
    expect_in(error_of(c, into("refused-precision"), ErrorCode::usage), {precision, "CUDA"});
  }
  c = small();
  c.channels_last = "maybe";
  expect_in(error_of(c, into("refused-layout"), ErrorCode::usage),
            {"--channels-last", "auto, on, off"});
}

TEST_F(TrainOptions, NothingHeldBackMeansNoProbe) {
  TrainConfig c = small();
  c.hold_back = 0;
  RunOptions o = into("no-probe");
  o.probe_every = 1;
  EXPECT_EQ(train(c, o).best_probe, -1);
  expect_in(TrainSetup(c, o, 1, torch::kCPU).notes()[1], {"192 slices of 24 subjects", "0 slices"});
  c.hold_back = 0.25;
  const TrainSetup setup(c, o, 1, torch::kCPU);
  std::set<std::int32_t> drawn;
  for (const TrainSlice& slice : setup.set.slices) drawn.insert(slice.subject);
  EXPECT_LT(drawn.size(), 24U);
  expect_in(setup.notes()[1], {("of " + std::to_string(drawn.size()) + " subjects").c_str()});
}

TEST_F(TrainOptions, EnlargedSlicesAreSaid) {
  TrainConfig c = small();
  const auto says = [&] {
    const TrainSetup setup(c, into("x"), 1, torch::kCPU);
    for (const std::string& line : setup.notes())
      if (line.find("are enlarged") != std::string::npos) return line;
    return std::string();
  };
  EXPECT_EQ(says(), "");
  const TrainSetup usual(c, into("x"), 1, torch::kCPU);
  const std::int64_t stored = usual.reader.layout().height;
  c.image_size = stored;
  EXPECT_EQ(says(), "");
  c.image_size = 2 * stored;
  expect_in(says(), {"4.0 times", ("--image-size " + std::to_string(stored)).c_str()});
}

TEST_F(TrainOptions, KernelColumnsWeighOrAreRefused) {
  TrainConfig c = small();
  c.max_steps = 1;
  (void)train(c, into("no-column"));
  c.kernel_columns = {"z_mm:5"};
  (void)train(c, into("column"));
  EXPECT_LT(train_lines("column")[0].at("effective_positives").get<double>(),
            train_lines("no-column")[0].at("effective_positives").get<double>());
  c.kernel_columns = {"stage"};
  for (const char* method : {"simclr", "byol", "simsiam", "barlow-twins", "supervised", "random"}) {
    c.method = method;
    expect_in(error_of(c, into("refused"), ErrorCode::usage), {"--kernel-column stage", method});
  }
  EXPECT_FALSE(fs::exists(scratch_->path() / "refused"));
}

TEST_F(TrainOptions, UnlabelledSlicesAreDrawnWhenAskedFor) {
  TrainConfig c = small();
  c.label = "stage";  // a third of the subjects has none
  c.hold_back = 0;
  EXPECT_EQ(TrainSetup(c, into("x"), 1, torch::kCPU).set.slices.size(), 128U);
  c.include_unlabelled = true;
  EXPECT_EQ(TrainSetup(c, into("x"), 1, torch::kCPU).set.slices.size(), 192U);
  EXPECT_EQ(train(c, into("unlabelled")).steps, 4);
}

TEST_F(TrainOptions, WorkersFollowTheDevice) {
  RunOptions o = into("x");
  o.workers = 0;
  o.cache = "device";
  TrainSetup setup(small(), o, 1, torch::kCPU);
  EXPECT_EQ(setup.loader_options().workers, 1);
  EXPECT_EQ(setup.loader_options().cache, CacheMode::ram);
  setup.device = torch::kCUDA;
  EXPECT_EQ(setup.loader_options().workers, 0) << "all that oneTBB has";
  EXPECT_EQ(setup.loader_options().cache, CacheMode::device);
  setup.options.workers = 3;
  EXPECT_EQ(setup.loader_options().workers, 3);
}

TEST_F(TrainOptions, SaysWhatIsMeant) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  TrainConfig c = small();
  c.sigma = nan;
  expect_in(error_of(c, into("x"), ErrorCode::usage), {"--sigma is nan"});
  c.sigma = std::numeric_limits<double>::infinity();
  expect_in(error_of(c, into("x"), ErrorCode::usage), {"--sigma is inf"});
  c = small();
  c.splits = {"nope"};
  const std::string text = error_of(c, into("x"), ErrorCode::usage);
  expect_in(text, {"'nope'", "--split"});
  EXPECT_EQ(text.find("''"), std::string::npos) << text;

  const TrainConfig was = small();
  TrainConfig is = was;
  is.learning_rate = 2;
  is.init_sha256 = "ed6a";
  is.flip_x = is.flip_y = false;
  is.max_angle_deg = 5;
  is.depth_scale = "liver";
  is.splits = {"train"};
  EXPECT_EQ(differences(was, was), std::vector<std::string>());
  EXPECT_EQ(differences(was, is),
            (std::vector<std::string>{
                "--depth: was \"kept\", is \"liver\"", "--no-flips: was off, is on",
                "--init FILE: was none, is SHA-256 ed6a", "--lr: was 0.0001, is 2.0",
                "--max-angle: was 30.0, is 5.0", "--split: was none, is [\"train\"]"}));
  EXPECT_EQ(preset("published").sigma, 0.85);
  EXPECT_EQ(preset("paper").sigma, TrainConfig().sigma);
  EXPECT_EQ(preset("paper", "rnc").temperature, 2);
  EXPECT_EQ(preset("published", "lexp").temperature, TrainConfig().temperature);
  EXPECT_THROW((void)preset("other"), Error);
}

TEST_F(TrainOptions, TheRunSaysWhereItRan) {
  TrainConfig c = small();
  c.max_steps = 1;
  (void)train(c, into("facts"));
  const auto facts = nlohmann::json::parse(read_file(scratch_->path() / "facts/run.json"));
  EXPECT_TRUE(facts.at("tool_version").is_string());
  EXPECT_GE(facts.at("host_cores").get<int>(), 1);
}

TEST(Telemetry, OfALargeBatchIsThatOfAPartOfIt) {
  torch::manual_seed(3);
  const std::int64_t n = 1300;
  const torch::Tensor z = torch::randn({2 * n, 8});
  Targets targets;
  targets.label = torch::randint(3, {n}, torch::kLong);
  targets.depth = torch::rand({n}, torch::kDouble);
  targets.continuous = torch::rand({1, n}, torch::kDouble);
  targets.continuous_sigma = {0.3};
  std::vector<std::int64_t> rows;
  for (std::int64_t i = 0; i < kMostMeasured; ++i) rows.push_back(i * n / kMostMeasured);
  const torch::Tensor chosen = torch::tensor(rows, torch::kLong);
  const torch::Tensor part =
      torch::cat({z.slice(0, 0, n).index_select(0, chosen), z.slice(0, n).index_select(0, chosen)});
  const torch::Tensor kernel =
      composite_kernel(targets, {}).index_select(0, chosen).index_select(1, chosen);
  const Telemetry expected = measure_telemetry(part, kernel, {});
  const Telemetry found = measure_telemetry(z, targets, {});
  EXPECT_DOUBLE_EQ(found.kernel.effective_positives, expected.kernel.effective_positives);
  EXPECT_DOUBLE_EQ(found.alignment, expected.alignment);
  EXPECT_DOUBLE_EQ(found.uniformity, expected.uniformity);
  EXPECT_DOUBLE_EQ(found.rank_me, expected.rank_me);
}

TEST(OutOfMemory, IsReadableWhereverItComesFrom) {
  try {
    (void)torch::empty({std::int64_t{1} << 50}, torch::kByte);
    GTEST_SKIP() << "this machine gives a petabyte";
  } catch (const std::exception& e) {
    const Error error = readable_error(e);
    EXPECT_NE(std::string(error.what()).find("--micro-batch"), std::string::npos) << error.what();
  }
  EXPECT_NE(std::string(readable_error(std::bad_alloc()).what()).find("out of memory"),
            std::string::npos);
}

}  // namespace
}  // namespace wsp::train

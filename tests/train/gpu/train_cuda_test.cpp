// Whole runs on a card beside the same runs on the CPU: a few steps, small images.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

#include "train/eval/embed.hpp"
#include "train/gpu/test_device.hpp"
#include "train/pretrain/train_options.hpp"
#include "train/run/batches.hpp"
#include "train/run/device.hpp"
#include "train/unet/unet.hpp"

namespace wsp::train::test {
namespace {

namespace fs = std::filesystem;

class TrainOnCard : public TrainOptions {
 protected:
  static void SetUpTestSuite() {
    // cuBLAS reads it once in a process, and a test before may have made its handle.
    ::setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", 1);
    TrainOptions::SetUpTestSuite();
    TrainDatasetOptions masked;
    masked.subjects = 6;
    masked.bare = 2;
    write_train_dataset(scratch_->path() / "masked", masked);
  }
  void SetUp() override { WSP_SKIP_WITHOUT_DEVICE(); }

  static RunOptions into_on(const std::string& device, const std::string& name,
                            const std::string& data = "data") {
    RunOptions o = into(name, data);
    o.device = device;
    o.workers = 2;
    return o;
  }
  static double off(const nlohmann::json& a, const nlohmann::json& b, const char* field) {
    const double x = a.at(field), y = b.at(field);
    return std::abs(x - y) / std::max(std::abs(y), 1e-12);
  }
};

// float32 without TF32. One step differs by the order of sums and by the sampler's last bits; Adam
// then divides by the size of each gradient, also where that is noise, so that weights and losses
// part slowly.
TEST_F(TrainOnCard, StepsAreThoseOfTheCpu) {
  constexpr double kFirst = 2e-3, kLater = 2e-2;
  for (const char* encoder : {"tinynet", "resnet18"}) {
    SCOPED_TRACE(encoder);
    TrainConfig c = small();
    c.encoder = encoder;
    c.image_size = c.encoder == "tinynet" ? 160 : 64;
    const std::string name = std::string("steps-") + encoder;
    (void)train(c, into_on("cpu", name + "-cpu"));
    (void)train(c, into_on(test_device(), name + "-card"));
    const auto expected = train_lines(name + "-cpu"), found = train_lines(name + "-card");
    ASSERT_EQ(expected.size(), 4U);
    ASSERT_EQ(found.size(), expected.size());
    for (const char* field : {"loss", "gradient_norm", "alignment", "embedding_std"})
      EXPECT_LT(off(found[0], expected[0], field), kFirst) << field;
    for (std::size_t i = 1; i < found.size(); ++i)
      EXPECT_LT(off(found[i], expected[i], "loss"), kLater) << "step " << i + 1;
    // That is close enough to tell other views apart.
    c.flip_x = false;
    c.max_steps = 1;
    (void)train(c, into_on("cpu", name + "-other"));
    EXPECT_GT(off(train_lines(name + "-other")[0], expected[0], "alignment"), 5 * kFirst);
  }
}

// y-Aware, L^exp and Rank-N-Contrast: kernels in double on the CPU, whole matrices on a card.
TEST_F(TrainOnCard, LossesOfANumberAreThoseOfTheCpu) {
  for (const char* method : {"yaware", "lexp", "rnc"}) {
    SCOPED_TRACE(method);
    TrainConfig c = small(method);
    c.continuous = c.method == "rnc" ? "stiffness_kpa" : "stiffness_kpa:6";
    c.max_steps = 2;
    const std::string name = method;
    (void)train(c, into_on("cpu", name + "-cpu"));
    (void)train(c, into_on(test_device(), name + "-card"));
    const auto expected = train_lines(name + "-cpu"), found = train_lines(name + "-card");
    ASSERT_EQ(expected.size(), 2U);
    ASSERT_EQ(found.size(), 2U);
    for (const char* field : {"loss", "gradient_norm"})
      EXPECT_LT(off(found[0], expected[0], field), 2e-3) << field;
    EXPECT_LT(off(found[1], expected[1], "loss"), 2e-2);
  }
}

// What --precision auto is on this device stands in the run's configuration; resuming takes it.
TEST_F(TrainOnCard, AutoIsRecordedAsWhatItIs) {
  TrainConfig c = small();
  c.precision = "auto";
  c.max_steps = 2;
  RunOptions o = into_on(test_device(), "auto");
  (void)train(c, o);
  const auto recorded = nlohmann::json::parse(read_file(o.out / "config.resolved.json"));
  const std::string expected = resolve_precision("auto", choose_device(test_device(), 0));
  EXPECT_EQ(recorded.at("precision"), expected);
  EXPECT_NE(expected, "auto");
  EXPECT_EQ(nlohmann::json::parse(read_file(o.out / "run.json")).at("precision"), expected);
  o.resume = o.may_extend = true;
  c.max_steps = 4;
  EXPECT_EQ(train(c, o).steps, 4);
}

TEST_F(TrainOnCard, DeterministicRunsResumeBitForBit) {
  struct Way {
    const char* encoder;
    const char* precision;
  };
  // bf16 is channels-last on a card.
  for (const Way& way : {Way{"tinynet", "fp32"}, Way{"resnet18", on_card() ? "bf16" : "fp32"}}) {
    SCOPED_TRACE(way.encoder);
    TrainConfig c = small();
    c.encoder = way.encoder;
    c.image_size = c.encoder == "tinynet" ? 160 : 64;
    c.precision = way.precision;
    c.deterministic = true;
    RunOptions whole = into_on(test_device(), std::string("whole-") + way.encoder);
    whole.checkpoint_every = 2;
    whole.keep = 100;
    (void)train(c, whole);
    RunOptions stopped = whole;
    stopped.out = scratch_->path() / (std::string("stopped-") + way.encoder);
    fs::copy(whole.out, stopped.out, fs::copy_options::recursive);
    constexpr const char* kLast = "checkpoints/step-000000004.safetensors";
    ASSERT_TRUE(fs::remove(stopped.out / kLast));
    stopped.resume = true;
    EXPECT_EQ(train(c, stopped).steps, 4);
    EXPECT_EQ(read_file(stopped.out / kLast), read_file(whole.out / kLast));
  }
}

TEST_F(TrainOnCard, TheCacheOnTheDeviceGivesTheLoadersBatches) {
  TrainConfig c = small();
  const torch::Device device = choose_device(test_device(), 0);
  {
    const TrainSetup setup(c, into_on(test_device(), "x"), 1, device);
    const auto source = [&](std::int64_t i) {
      std::vector<std::uint32_t> rows;
      if (i < 4)
        for (const std::uint32_t p : setup.sampler.batch(0, i))
          rows.push_back(setup.set.slices[p].row);
      return rows;
    };
    LoaderOptions options = setup.loader_options();
    DeviceBatches streamed(setup.reader, source, 0, options, device);
    options.cache = CacheMode::device;
    DeviceBatches cached(setup.reader, source, 0, options, device);
    int batches = 0;
    while (auto expected = streamed.next()) {
      const auto found = cached.next();
      ASSERT_TRUE(found);
      EXPECT_EQ(found->hu.device().type(), device.type());
      EXPECT_EQ(found->rows, expected->rows);
      EXPECT_TRUE(torch::equal(found->hu.cpu(), expected->hu.cpu()));
      EXPECT_GT(expected->hu.cpu().to(torch::kFloat).std().item<double>(), 10)
          << "slices, not zeros";
      ++batches;
    }
    EXPECT_EQ(batches, 4);
    EXPECT_FALSE(cached.next());
  }
  c.deterministic = true;
  for (const char* cache : {"none", "device"}) {
    RunOptions o = into_on(test_device(), std::string("cache-") + cache);
    o.cache = cache;
    (void)train(c, o);
  }
  EXPECT_EQ(weights("cache-none"), weights("cache-device"));
}

TEST_F(TrainOnCard, FeaturesAreThoseOfTheCpu) {
  torch::manual_seed(4);
  EmbedOptions o;
  o.dataset = scratch_->path() / "data";
  o.encoder = scratch_->path() / "random.safetensors";
  save_encoder_weights(*make_encoder({"resnet18"}), o.encoder, {});
  o.image_size = 64;
  o.batch = 24;  // several under way at once, and a last one that is smaller
  o.workers = 2;
  o.device = "cpu";
  const FeatureTable expected = embed_dataset(o);
  const auto as_tensor = [](const FeatureTable& t) {
    return torch::tensor(t.values).view({-1, t.dimensions});
  };
  const torch::Tensor want = as_tensor(expected);
  ASSERT_EQ(want.size(0), 24 * 8);
  o.device = test_device();
  for (const char* precision : {"fp32", "bf16"}) {
    SCOPED_TRACE(precision);
    o.precision = precision;
    const FeatureTable found = embed_dataset(o);
    EXPECT_EQ(found.content, expected.content);
    const torch::Tensor difference = (as_tensor(found) - want).norm(2, 1) / want.norm(2, 1);
    const double worst = difference.max().item<double>();
    if (o.precision == "fp32") {
      EXPECT_LT(worst, 1e-4);
    } else {
      EXPECT_LT(worst, 5e-2);
      EXPECT_GT(worst, 1e-5) << "it was in half precision";
    }
  }
  // Rows change places unseen where all images look alike.
  EXPECT_GT(((want[0] - want[100]).norm() / want[0].norm()).item<double>(), 1e-3);
}

TEST_F(TrainOnCard, TheUNetsStepsAreThoseOfTheCpu) {
  UNetConfig c;
  c.width = 8;
  c.depth = 2;
  c.image_size = 64;
  c.batch = 4;
  c.samples_per_epoch = 16;
  c.epochs = 1;
  c.seed = 3;
  (void)train_unet(c, into_on("cpu", "unet-cpu", "masked"));
  const auto expected = train_lines("unet-cpu");
  ASSERT_EQ(expected.size(), 4U);
  // On a card bf16 is what channels-last is for; a CPU computes it in float32.
  for (const char* layout : {"off", "on"}) {
    SCOPED_TRACE(layout);
    const bool last = std::string(layout) == "on";
    c.channels_last = layout;
    c.precision = last && on_card() ? "bf16" : "fp32";
    const std::string name = std::string("unet-") + layout;
    RunOptions o = into_on(test_device(), name, "masked");
    o.probe_every = 1;
    const UNetSummary s = train_unet(c, o);
    EXPECT_GE(s.best_dice, 0);
    const auto found = train_lines(name);
    ASSERT_EQ(found.size(), expected.size());
    for (std::size_t i = 0; i < found.size(); ++i)
      EXPECT_LT(off(found[i], expected[i], "loss"), last     ? 5e-2
                                                    : i == 0 ? 2e-3
                                                             : 2e-2)
          << "step " << i + 1;
  }
  c.channels_last = "off";
  c.precision = "fp32";
  c.seed = 4;
  (void)train_unet(c, into_on("cpu", "unet-other", "masked"));
  EXPECT_GT(off(train_lines("unet-other")[0], expected[0], "loss"), 1e-2)
      << "close enough to tell other batches apart";
}

}  // namespace
}  // namespace wsp::train::test

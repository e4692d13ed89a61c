// Training of the liver U-Net as one call: late reading, layouts, runs that break off.
#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/log.hpp"
#include "support/expect_error.hpp"
#include "support/test_data.hpp"
#include "train/model/safetensors.hpp"
#include "train/support/train_dataset.hpp"
#include "train/support/watched_memory.hpp"
#include "train/unet/setup.hpp"
#include "train/unet/unet.hpp"

#if defined(__SANITIZE_ADDRESS__)
// What lies on a card that was lost is leaked.
extern "C" const char* __lsan_default_suppressions() { return "leak:wsp::train::train_unet\n"; }
#endif

namespace wsp::train {
namespace {

namespace fs = std::filesystem;
using test::WatchedMemory;
using wsp::test::expect_in;

class UNetTraining : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    log::configure("error");
    scratch_ = std::make_unique<test::TemporaryDirectory>();
    test::TrainDatasetOptions data;
    data.subjects = 6;
    data.bare = 2;
    test::write_train_dataset(scratch_->path() / "data", data);
  }
  static void TearDownTestSuite() { scratch_.reset(); }

  static UNetConfig small() {
    UNetConfig c;
    c.width = 8;
    c.depth = 2;
    c.image_size = 32;
    c.batch = 4;
    c.samples_per_epoch = 12;
    c.epochs = 2;
    c.learning_rate = 5e-3;
    c.seed = 3;
    return c;
  }
  static RunOptions into(const std::string& name) {
    RunOptions o;
    o.dataset = scratch_->path() / "data";
    o.out = scratch_->path() / name;
    o.device = "cpu";
    o.threads = 1;
    o.workers = 1;
    o.verify = false;
    o.log_every = 1;
    o.checkpoint_every = 2;
    o.keep = 100;
    o.tensorboard = false;
    return o;
  }
  static fs::path state(const RunOptions& o, int step) {
    return o.out / "checkpoints" / ("step-00000000" + std::to_string(step) + ".safetensors");
  }
  // Lines of metrics.jsonl without those that time decides.
  static std::vector<nlohmann::json> lines(const RunOptions& o) {
    std::vector<nlohmann::json> all;
    std::ifstream file(o.out / "metrics.jsonl");
    for (std::string line; std::getline(file, line);) {
      all.push_back(nlohmann::json::parse(line));
      all.back().erase("slices_per_s");
      all.back().erase("wait_share");
    }
    return all;
  }
  static std::string error_of(const UNetConfig& c, const RunOptions& o, ErrorCode expected) {
    return wsp::test::error_of(expected, [&] { (void)train_unet(c, o); });
  }
  // A run that broke off after its checkpoint of step 2 is as sound as `whole` there, and ends as
  // it does.
  static void expect_sound(RunOptions o, const RunOptions& whole) {
    EXPECT_EQ(read_file(state(o, 2)), read_file(state(whole, 2)));
    EXPECT_FALSE(fs::exists(state(o, 3)));
    o.resume = true;
    EXPECT_EQ(train_unet(small(), o).steps, 6);
    EXPECT_EQ(read_file(state(o, 6)), read_file(state(whole, 6)));
    EXPECT_EQ(read_file(o.out / "unet.safetensors"), read_file(whole.out / "unet.safetensors"));
  }

  static inline std::unique_ptr<test::TemporaryDirectory> scratch_;
};

TEST_F(UNetTraining, ReadingLateSaysAndComputesTheSame) {
  const RunOptions now = into("now");
  RunOptions late = into("late");
  late.read_late = true;
  const UNetSummary a = train_unet(small(), now), b = train_unet(small(), late);
  EXPECT_GE(a.best_dice, 0);
  EXPECT_EQ(a.best_dice, b.best_dice);
  EXPECT_EQ(lines(now), lines(late));
  EXPECT_EQ(lines(now).size(), 6U + 2U + 2U);  // steps, epochs, validations
  for (const int step : {2, 4, 6})
    EXPECT_EQ(read_file(state(now, step)), read_file(state(late, step))) << step;
}

TEST_F(UNetTraining, ReadingLateClipsToo) {
  UNetConfig c = small();
  c.clip_norm = 0.05;
  const RunOptions now = into("clipped-now");
  RunOptions late = into("clipped-late");
  late.read_late = true;
  (void)train_unet(c, now);
  (void)train_unet(c, late);
  const auto a = lines(now), b = lines(late);
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i)
    if (a[i].at("kind") == "train") {
      EXPECT_GT(a[i].at("gradient_norm").get<double>(), c.clip_norm);
      EXPECT_NEAR(a[i].at("loss").get<double>(), b[i].at("loss").get<double>(), 1e-5);
    }
}

TEST_F(UNetTraining, NothingThatIsNotFiniteIsKept) {
  UNetConfig c = small();
  c.learning_rate = 1e30;
  for (const bool late : {false, true}) {
    RunOptions o = into(late ? "overflow-late" : "overflow-now");
    o.checkpoint_every = 1;
    o.read_late = late;
    expect_in(error_of(c, o, ErrorCode::failure), {"not finite at step", "--clip-norm 1"});
    if (!fs::exists(o.out / "checkpoints")) continue;
    for (const auto& file : fs::directory_iterator(o.out / "checkpoints"))
      for (const auto& [key, tensor] : read_tensor_file(file.path()).tensors)
        if (key.starts_with("model.") && tensor.is_floating_point()) {
          EXPECT_TRUE(torch::isfinite(tensor).all().item<bool>()) << file.path() << key;
        }
  }
}

TEST_F(UNetTraining, ChannelsLastComputesTheSame) {
  UNetConfig c = small();
  const RunOptions usual = into("layout-auto"), last = into("layout-on");
  (void)train_unet(c, usual);
  c.channels_last = "on";
  (void)train_unet(c, last);
  const auto a = lines(usual), b = lines(last);
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i)
    if (a[i].at("kind") == "train") {
      EXPECT_NEAR(a[i].at("loss").get<double>(), b[i].at("loss").get<double>(), 1e-3) << i;
    }
  for (const char* layout : {"auto", "on"}) {
    c.channels_last = layout;
    const UNetSetup setup(c, into("layout-setup"));
    for (const torch::Tensor& weight : setup.net->parameters())
      if (weight.dim() == 4 && weight.size(2) > 1) {
        EXPECT_EQ(weight.suggest_memory_format() == torch::MemoryFormat::ChannelsLast,
                  c.channels_last == "on")
            << weight.sizes();
      }
  }
  // The weights' file has one layout, and --resume keeps to what the run was made with.
  const auto weights = read_tensor_file(usual.out / "unet.safetensors").tensors;
  for (const auto& [key, tensor] : read_tensor_file(last.out / "unet.safetensors").tensors)
    EXPECT_EQ(tensor.sizes(), weights.at(key).sizes()) << key;
  RunOptions again = usual;
  again.resume = true;
  expect_in(error_of(c, again, ErrorCode::usage), {R"(--channels-last: was "auto", is "on")"});
  c.channels_last = "maybe";
  expect_in(error_of(c, into("layout-maybe"), ErrorCode::usage),
            {"--channels-last", "auto, on, off"});
}

TEST_F(UNetTraining, WithoutMemoryForAStepTheCheckpointIsSound) {
  const RunOptions whole = into("whole-memory"), o = into("no-memory");
  (void)train_unet(small(), whole);
  {
    const std::size_t before = WatchedMemory::held();
    const WatchedMemory memory([&](std::size_t bytes) {
      TORCH_CHECK_WITH(OutOfMemoryError, bytes < 50000 || !fs::exists(state(o, 2)),
                       "CUDA out of memory.");
    });
    expect_in(error_of(small(), o, ErrorCode::failure),
              {"out of memory on cpu: 4 slices of 32x32", "--batch", "the last checkpoint is sound",
               "--resume"});
    EXPECT_EQ(WatchedMemory::held(), before) << "nothing of the run is left in memory";
  }
  expect_sound(o, whole);
}

TEST_F(UNetTraining, ALostCardIsToldAndFreesNothing) {
  const RunOptions whole = into("whole-card"), o = into("lost");
  (void)train_unet(small(), whole);
  const std::size_t before = WatchedMemory::held();
  {
    const WatchedMemory memory([&](std::size_t) {
      TORCH_CHECK(!fs::exists(state(o, 2)), "CUDA error: unspecified launch failure");
    });
    expect_in(error_of(small(), o, ErrorCode::failure),
              {"the card was lost", "CUDA error: unspecified launch failure",
               "the last checkpoint is sound"});
  }
  EXPECT_GT(WatchedMemory::held() - before, fs::file_size(whole.out / "unet.safetensors"))
      << "the weights are leaked, not freed";
  // The run that is leaked holds its directory still; a process that ends does not.
  const RunOptions copy = into("lost-copy");
  fs::copy(o.out, copy.out, fs::copy_options::recursive);
  expect_sound(copy, whole);
}

}  // namespace
}  // namespace wsp::train

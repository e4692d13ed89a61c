// What the options of a training run compute, each on a run of a few steps.
#include "train/pretrain/train_options.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "train/model/safetensors.hpp"
#include "train/pretrain/probe_pass.hpp"
#include "train/pretrain/telemetry.hpp"
#include "train/run/batches.hpp"
#include "train/run/device.hpp"

namespace wsp::train {
namespace {

namespace fs = std::filesystem;
using test::TrainOptions;

TEST_F(TrainOptions, CachesAndWorkersGiveTheSameBits) {
  TrainConfig c = small();
  c.epochs = 2;  // the second epoch reads what the first one left
  for (const char* cache : {"none", "ram", "device"}) {
    RunOptions o = into(std::string("cache-") + cache);
    o.cache = cache;
    o.workers = o.cache == "none" ? 0 : 2;
    (void)train(c, o);
  }
  EXPECT_EQ(weights("cache-none"), weights("cache-ram"));
  EXPECT_EQ(weights("cache-none"), weights("cache-device"));
}

TEST_F(TrainOptions, TheCacheHoldsWhatIsDrawnAndNoMore) {
  RunOptions o = into("cache-fits");
  o.cache = "ram";
  const TrainSetup setup(small(), o, 1, torch::kCPU);
  ASSERT_LT(setup.set.slices.size(), setup.reader.slices().size());
  o.cache_limit_bytes = setup.set.slices.size() * 48 * 48 * 2;
  (void)train(small(), o);
  o = into("cache-does-not-fit");
  o.cache = "ram";
  o.cache_limit_bytes = setup.set.slices.size() * 48 * 48 * 2 - 1;
  expect_in(error_of(small(), o, ErrorCode::failure),
            {std::to_string(o.cache_limit_bytes).c_str(),
             std::to_string(o.cache_limit_bytes + 1).c_str()});
}

TEST_F(TrainOptions, TheDeviceCacheGivesTheLoadersBatches) {
  for (const char* data : {"data", "damaged"}) {
    SCOPED_TRACE(data);
    TrainConfig c = small();
    c.skip_corrupt = true;
    const TrainSetup setup(c, into("x", data), 1, torch::kCPU);
    const auto source = [&](std::int64_t i) {
      std::vector<std::uint32_t> rows;
      if (i < 6)
        for (const std::uint32_t p : setup.sampler.batch(0, i % setup.sampler.steps_per_epoch()))
          rows.push_back(setup.set.slices[p].row);
      return rows;
    };
    LoaderOptions options = setup.loader_options();
    DeviceBatches streamed(setup.reader, source, 2, options, torch::kCPU);
    options.cache = CacheMode::device;
    DeviceBatches cached(setup.reader, source, 2, options, torch::kCPU);
    std::int64_t number = 2;
    while (const auto expected = streamed.next()) {
      const auto found = cached.next();
      ASSERT_TRUE(found);
      EXPECT_EQ(found->number, number++);
      EXPECT_EQ(found->rows, expected->rows);
      EXPECT_TRUE(torch::equal(found->hu, expected->hu));
    }
    EXPECT_FALSE(cached.next());
    EXPECT_EQ(number, 6);
    EXPECT_EQ(cached.statistics().corrupt_slices, streamed.statistics().corrupt_slices);
    EXPECT_EQ(cached.statistics().corrupt_slices > 0, std::string(data) == "damaged");
    options.cache_limit_bytes = 1000;
    try {
      const DeviceCache cache(setup.reader, options, torch::kCPU);
      ADD_FAILURE() << "no error";
    } catch (const Error& e) {
      expect_in(e.what(), {"1000 bytes", "--cache ram"});
    }
    options.cache_limit_bytes = 0;
    options.skip_corrupt = false;
    if (std::string(data) == "damaged") {
      EXPECT_THROW(DeviceCache(setup.reader, options, torch::kCPU), Error);
    }
  }
}

TEST_F(TrainOptions, SkipsDamagedSlicesInTrainingAndProbe) {
  TrainConfig c = small();
  RunOptions o = into("not-skipped", "damaged");
  o.probe_every = 1;
  (void)error_of(c, o, ErrorCode::corrupt);
  c.skip_corrupt = true;
  o = into("skipped", "damaged");
  o.probe_every = 1;
  const TrainSummary s = train(c, o);
  EXPECT_GT(s.corrupt_slices, 0);
  EXPECT_GE(s.best_probe, 0);
  redraw_views(o.out, o.dataset, 0, 1, scratch_->path() / "sheet");
  EXPECT_TRUE(fs::exists(scratch_->path() / "sheet/views.png"));
}

TEST_F(TrainOptions, TheProbeLeavesDamagedSlicesOut) {
  TrainConfig c = small();
  c.skip_corrupt = true;
  const TrainSetup sound(c, into("x"), 1, torch::kCPU);
  const TrainSetup hurt(c, into("x", "damaged"), 1, torch::kCPU);
  ProbePass whole(sound.reader, sound.set, "label", sound.loader_options());
  ProbePass part(hurt.reader, hurt.set, "label", hurt.loader_options());
  (void)whole.run(sound.method->encoder(), torch::kCPU);
  const ProbeResult result = part.run(sound.method->encoder(), torch::kCPU);
  EXPECT_TRUE(sound.method->encoder().is_training());
  EXPECT_EQ(part.held_back_slices().size() + 4, whole.held_back_slices().size());
  EXPECT_EQ(part.held_back().features.size(0),
            static_cast<std::int64_t>(part.held_back_slices().size()));
  EXPECT_EQ(result.held_back_slices, std::ssize(part.held_back_slices()));
  // What is left is embedded as before.
  std::size_t at = 0;
  for (std::size_t i = 0; i < part.held_back_slices().size(); ++i, ++at) {
    while (whole.held_back_slices().at(at).row != part.held_back_slices()[i].row) ++at;
    EXPECT_EQ(part.held_back().label[i], whole.held_back().label[at]);
    EXPECT_TRUE(torch::allclose(part.held_back().features[static_cast<std::int64_t>(i)],
                                whole.held_back().features[static_cast<std::int64_t>(at)], 1e-4,
                                1e-5));
  }
}

TEST_F(TrainOptions, StartsFromGivenWeights) {
  (void)train(small(), into("first"));
  RunOptions o = into("second");
  o.init = scratch_->path() / "first/encoder.safetensors";
  TrainConfig c = small("random");
  c.seed = 12;
  (void)train(c, o);
  const auto first = read_tensor_file(o.init).tensors;
  const auto second = read_tensor_file(o.out / "encoder.safetensors").tensors;
  ASSERT_EQ(first.size(), second.size());
  for (const auto& [name, tensor] : first) EXPECT_TRUE(torch::equal(tensor, second.at(name)));

  o = into("third");
  o.init = scratch_->path() / "absent.safetensors";
  expect_in(error_of(c, o, ErrorCode::usage), {"--init", "absent", "encoder.safetensors"});
  o.init = scratch_->path() / "first/checkpoints/step-000000004.safetensors";
  ASSERT_TRUE(fs::exists(o.init));
  expect_in(error_of(c, o, ErrorCode::usage), {"checkpoint", "encoder.safetensors"});
  o.init = scratch_->path() / "first/metrics.jsonl";
  expect_in(error_of(c, o, ErrorCode::corrupt), {"safetensors file", "save_file"});
  EXPECT_FALSE(fs::exists(o.out));
}

TEST_F(TrainOptions, Bfloat16IsCloseToFloat32) {
  const std::pair<const char*, const char*> cases[] = {
      {"wsp", "group"}, {"barlow-twins", "group"}, {"wsp", "batch"}};
  for (const auto& [method, norm] : cases) {
    SCOPED_TRACE(std::string(method) + " " + norm);
    TrainConfig c = small(method);
    c.norm = norm;
    c.image_size = 32;  // slow on processors without the type
    c.batch = 4;
    c.max_steps = 1;
    const std::string name = std::string(method) + norm;
    (void)train(c, into(name + "32"));
    c.precision = "bf16";
    (void)train(c, into(name + "16"));
    const double exact = train_lines(name + "32").front().at("loss");
    const double found = train_lines(name + "16").front().at("loss");
    EXPECT_NEAR(found, exact, 0.1 * std::abs(exact));
    EXPECT_NE(found, exact);
  }
}

TEST_F(TrainOptions, ClippingShortensTheStep) {
  TrainConfig c = small("random");
  (void)train(c, into("start"));
  const auto start = read_tensor_file(scratch_->path() / "start/encoder.safetensors").tensors;
  c.method = "wsp";
  c.optimizer = "sgd";
  c.weight_decay = 0;
  c.learning_rate = 1;
  c.max_steps = 1;
  const auto way = [&](double clip) {
    c.clip_norm = clip;
    const std::string name = "clip-" + std::to_string(clip);
    (void)train(c, into(name));
    EXPECT_GT(train_lines(name).front().at("gradient_norm").get<double>(), clip);
    double squares = 0;
    for (const auto& [key, tensor] :
         read_tensor_file(scratch_->path() / name / "encoder.safetensors").tensors)
      squares += (tensor - start.at(key)).to(torch::kDouble).square().sum().item<double>();
    return std::sqrt(squares);
  };
  const double once = way(1e-2), twice = way(2e-2);
  EXPECT_GT(once, 1e-3);
  EXPECT_LE(once, 1.001e-2) << "the head has its share of the norm";
  EXPECT_NEAR(twice / once, 2, 0.01);
}

TEST_F(TrainOptions, WarmsUp) {
  TrainConfig c = small();
  c.epochs = 2;  // 4 steps each
  c.warmup_epochs = 1;
  (void)train(c, into("warm"));
  const auto lines = train_lines("warm");
  ASSERT_EQ(lines.size(), 8U);
  for (std::size_t i = 0; i < 4; ++i)
    EXPECT_NEAR(lines[i].at("lr").get<double>(), c.learning_rate * (static_cast<double>(i) + 1) / 4,
                1e-9);
  EXPECT_LT(lines[7].at("lr").get<double>(), lines[4].at("lr").get<double>());
}

TEST_F(TrainOptions, TilesAndMicroBatchesComputeTheSame) {
  TrainConfig c = small();
  c.optimizer = "sgd";
  // The weights stand still: a rounding that moved them over a kink of ReLU or max-pooling would
  // change the gradient of the steps that follow, and four batches would become one.
  c.learning_rate = 1e-9;
  (void)train(c, into("dense"));
  const auto dense = train_lines("dense");
  c.loss_tile = 3;
  (void)train(c, into("tiled"));
  c.loss_tile = 0;
  c.micro_batch = 3;
  (void)train(c, into("micro"));
  const auto expect_same = [&](const char* name, double tolerance) {
    const auto lines = train_lines(name);
    ASSERT_EQ(lines.size(), dense.size());
    for (std::size_t i = 0; i < lines.size(); ++i)
      for (const char* field : {"loss", "gradient_norm"}) {
        const double expected = dense[i].at(field);
        EXPECT_NEAR(lines[i].at(field).get<double>(), expected, tolerance * expected)
            << name << field;
      }
  };
  expect_same("tiled", 1e-5);
  expect_same("micro", 1e-5);
}

TEST_F(TrainOptions, ChannelsLastComputesTheSame) {
  for (const char* encoder : {"resnet18", "tinynet"}) {
    SCOPED_TRACE(encoder);
    TrainConfig c = small();
    c.encoder = encoder;
    if (c.encoder == "tinynet") c.image_size = 160;
    c.optimizer = "sgd";
    c.learning_rate = 1e-9;
    c.max_steps = 2;
    const std::string name = std::string("layout-") + encoder;
    (void)train(c, into(name + "-auto"));
    c.channels_last = "on";
    (void)train(c, into(name + "-on"));
    // float32 in another order; that it is the same function, float64 shows (step_test.cpp).
    const auto expected = train_lines(name + "-auto"), found = train_lines(name + "-on");
    ASSERT_EQ(found.size(), expected.size());
    for (std::size_t i = 0; i < found.size(); ++i)
      for (const char* field : {"loss", "gradient_norm"}) {
        const double want = expected[i].at(field);
        EXPECT_NEAR(found[i].at(field).get<double>(), want, 1e-3 * want) << field;
      }
    // Weights leave the run in the one layout that their file has.
    const auto a =
        read_tensor_file(scratch_->path() / (name + "-auto") / "encoder.safetensors").tensors;
    for (const auto& [key, tensor] :
         read_tensor_file(scratch_->path() / (name + "-on") / "encoder.safetensors").tensors)
      EXPECT_TRUE(torch::allclose(tensor, a.at(key), 1e-5, 1e-6)) << key;
  }
}

TEST_F(TrainOptions, ReadingLateSaysAndComputesTheSame) {
  for (const char* method : {"wsp", "byol"}) {
    SCOPED_TRACE(method);
    TrainConfig c = small(method);
    c.epochs = 2;
    c.accumulate = 3;
    c.clip_norm = 0.5;
    const std::string name = std::string("late-") + method;
    RunOptions o = into(name + "-no");
    o.log_every = 2;
    o.probe_every = 1;
    o.checkpoint_every = 3;
    (void)train(c, o);
    o.out = scratch_->path() / (name + "-yes");
    o.read_late = true;
    (void)train(c, o);
    const auto expected = train_lines(name + "-no"), found = train_lines(name + "-yes");
    ASSERT_EQ(found.size(), expected.size());
    ASSERT_EQ(found.size(), 5U);  // steps 1, 2, 4, 6, 8
    for (std::size_t i = 0; i < found.size(); ++i)
      for (const char* field :
           {"step", "loss", "lr", "gradient_norm", "effective_positives", "alignment", "rank_me"})
        EXPECT_NEAR(found[i].at(field).get<double>(), expected[i].at(field).get<double>(),
                    1e-5 * std::abs(expected[i].at(field).get<double>()))
            << i << field;
    const auto want =
        read_tensor_file(scratch_->path() / (name + "-no") / "encoder.safetensors").tensors;
    for (const auto& [key, tensor] :
         read_tensor_file(scratch_->path() / (name + "-yes") / "encoder.safetensors").tensors)
      EXPECT_TRUE(torch::allclose(tensor, want.at(key), 1e-4, 1e-6)) << key;
    TearDown();
  }
}

TEST_F(TrainOptions, ReadingLateKeepsNothingThatIsNotFinite) {
  TrainConfig c = small();
  c.epochs = 4;
  c.optimizer = "sgd";
  c.learning_rate = 1e30;  // the second step overflows
  for (const bool late : {false, true}) {
    RunOptions o = into(late ? "overflow-late" : "overflow-now");
    o.checkpoint_every = 1;
    o.read_late = late;
    expect_in(error_of(c, o, ErrorCode::failure), {"not finite"});
    for (const auto& file : fs::directory_iterator(o.out / "checkpoints")) {
      if (file.path().extension() != ".safetensors") continue;
      for (const auto& [key, tensor] : read_tensor_file(file.path()).tensors)
        if (key.starts_with("model.") && tensor.is_floating_point()) {
          EXPECT_TRUE(torch::isfinite(tensor).all().item<bool>()) << file.path() << key;
        }
    }
  }
}

TEST_F(TrainOptions, DeterminismChangesNoBitOnTheCpu) {
  TrainConfig c = small();
  c.max_steps = 2;
  (void)train(c, into("not-said"));
  c.deterministic = true;
  (void)train(c, into("said"));
  // The weights' file names the same run; its configuration tells the two apart.
  EXPECT_EQ(weights("not-said"), weights("said"));
  RunOptions o = into("not-said");
  o.resume = true;
  expect_in(error_of(c, o, ErrorCode::usage), {"--deterministic: was off, is on"});
}

TEST_F(TrainOptions, MicroBatchesOfTinyNetComputeTheSameInFloat32) {
  TrainConfig c = small();
  c.encoder = "tinynet";
  c.image_size = 160;
  c.optimizer = "sgd";
  c.learning_rate = 1e-9;
  c.max_steps = 2;
  (void)train(c, into("tiny-dense"));
  const auto dense = train_lines("tiny-dense");
  c.micro_batch = 3;
  (void)train(c, into("tiny-micro"));
  const auto micro = train_lines("tiny-micro");
  ASSERT_EQ(micro.size(), 2U);
  for (std::size_t i = 0; i < micro.size(); ++i)
    for (const char* field : {"loss", "gradient_norm"}) {
      const double expected = dense[i].at(field), found = micro[i].at(field);
      EXPECT_NEAR(found, expected, 1e-5 * expected) << field;
    }
}

}  // namespace
}  // namespace wsp::train

#pragma once
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/log.hpp"
#include "io/shard/state.hpp"
#include "support/expect_error.hpp"
#include "support/test_data.hpp"
#include "train/data/training_set.hpp"
#include "train/pretrain/setup.hpp"
#include "train/pretrain/train.hpp"
#include "train/support/train_dataset.hpp"

namespace wsp::train::test {

using namespace wsp::test;

/// Runs of a few steps on a small dataset, and on a copy of it that is damaged.
class TrainOptions : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    log::configure("error");
    scratch_ = std::make_unique<TemporaryDirectory>();
    write_train_dataset(scratch_->path() / "data", {});
    make_damaged();
  }
  static void TearDownTestSuite() { scratch_.reset(); }
  void TearDown() override { scratch_->clear_but({"data", "damaged", "masked"}); }

  static TrainConfig small(const std::string& method = "wsp") {
    TrainConfig c;
    c.method = method;
    c.encoder = "resnet18";
    c.norm = "group";
    c.image_size = 48;
    c.batch = 8;
    c.samples_per_epoch = 32;
    c.epochs = 1;
    c.hold_back = 0.25;
    c.seed = 11;
    return c;
  }
  static RunOptions into(const std::string& name, const std::string& data = "data") {
    RunOptions o;
    o.dataset = scratch_->path() / data;
    o.out = scratch_->path() / name;
    o.device = "cpu";
    o.verify = false;
    o.threads = 1;  // threads that wait for each other crawl on a busy machine
    o.workers = 1;
    o.probe_every = 0;
    o.keep = 1;  // a checkpoint is 130 MB
    o.log_every = 1;
    o.tensorboard = false;
    return o;
  }
  static std::string weights(const std::string& name) {
    return read_file(scratch_->path() / name / "encoder.safetensors");
  }
  static std::vector<nlohmann::json> train_lines(const std::string& name) {
    std::vector<nlohmann::json> all;
    std::ifstream file(scratch_->path() / name / "metrics.jsonl");
    for (std::string line; std::getline(file, line);) {
      auto value = nlohmann::json::parse(line);
      if (value.at("kind") == "train") all.push_back(std::move(value));
    }
    return all;
  }
  static std::string error_of(const TrainConfig& c, const RunOptions& o, ErrorCode expected) {
    return wsp::test::error_of(expected, [&] { (void)train(c, o); });
  }

  // A copy in which every third slice that is drawn is damaged, and all of one held-back case.
  static void make_damaged() {
    const std::filesystem::path copy = scratch_->path() / "damaged";
    std::filesystem::copy(scratch_->path() / "data", copy,
                          std::filesystem::copy_options::recursive);
    const DatasetReader reader(scratch_->path() / "data");
    const TrainingSet set = select_slices(reader, select_options(small()));
    const auto damage = [&](std::uint32_t row) {
      const IndexRow& slice = reader.slices()[row];
      const std::filesystem::path shard =
          state_directory(copy) / "shards" / shard_file_name(static_cast<int>(slice.shard));
      std::fstream file(shard, std::ios::in | std::ios::out | std::ios::binary);
      const auto at =
          static_cast<std::streamoff>(slice.place.image_offset + slice.place.image_length / 2);
      file.seekg(at);
      const char flipped = static_cast<char>(file.get() ^ 0x5a);
      file.seekp(at);
      file.put(flipped);
    };
    for (std::size_t i = 0; i < set.slices.size(); i += 3) damage(set.slices[i].row);
    for (const TrainSlice& slice : set.held_back)
      if (slice.case_id == set.held_back.front().case_id) damage(slice.row);
  }

  inline static std::unique_ptr<TemporaryDirectory> scratch_;
};

}  // namespace wsp::train::test

namespace wsp::train {
using wsp::test::expect_in;
}  // namespace wsp::train

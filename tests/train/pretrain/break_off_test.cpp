// Runs that break off: no memory for a step, a card that is lost. What the run says, that its last
// checkpoint is sound, and that --resume ends as if nothing had happened. LibTorch's memory on the
// CPU stands in for the card's.
#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include "train/pretrain/train_options.hpp"
#include "train/support/watched_memory.hpp"

#if defined(__SANITIZE_ADDRESS__)
// What lies on a card that was lost is leaked.
extern "C" const char* __lsan_default_suppressions() { return "leak:wsp::train::train(\n"; }
#endif

namespace wsp::train {
namespace {

namespace fs = std::filesystem;
using test::WatchedMemory;

constexpr const char* kWayOn = "the last checkpoint is sound: go on with --resume";

class BreakingOff : public test::TrainOptions {
 protected:
  static TrainConfig tiny() {
    TrainConfig c = small();
    c.encoder = "tinynet";
    c.image_size = 200;
    return c;
  }
  static RunOptions kept(const std::string& name) {
    RunOptions o = into(name);
    o.checkpoint_every = 2;
    o.keep = 100;
    return o;
  }
  static fs::path state(const RunOptions& o, int step) {
    return o.out / "checkpoints" / ("step-00000000" + std::to_string(step) + ".safetensors");
  }
  static std::size_t largest_block(TrainConfig c, std::int64_t micro_batch) {
    c.micro_batch = micro_batch;
    c.max_steps = 1;
    const WatchedMemory memory;
    (void)train(c, into("largest-" + std::to_string(micro_batch)));
    return memory.largest();
  }
  // A run that broke off after its checkpoint of step 2 is as sound as `whole` there, and ends as
  // it does.
  static void expect_sound(const TrainConfig& c, RunOptions o, const RunOptions& whole) {
    EXPECT_EQ(read_file(state(o, 2)), read_file(state(whole, 2)));
    EXPECT_FALSE(fs::exists(state(o, 4)));
    EXPECT_FALSE(fs::exists(o.out / "encoder.safetensors"));
    o.resume = true;
    EXPECT_EQ(train(c, o).steps, 4);
    EXPECT_EQ(read_file(state(o, 4)), read_file(state(whole, 4)));
    EXPECT_EQ(read_file(o.out / "encoder.safetensors"),
              read_file(whole.out / "encoder.safetensors"));
  }
};

TEST_F(BreakingOff, WithoutMemoryForAStepItSaysWhichMicroBatchFits) {
  const TrainConfig c = tiny();
  const RunOptions whole = kept("whole");
  (void)train(c, whole);
  const std::size_t all = largest_block(c, 0), half = largest_block(c, 4);
  ASSERT_LT(half, all) << "the views of a batch need the largest block";

  const RunOptions o = kept("no-memory");
  {
    const std::size_t before = WatchedMemory::held();
    const WatchedMemory memory([&](std::size_t bytes) {
      TORCH_CHECK_WITH(OutOfMemoryError, bytes <= (half + all) / 2 || !fs::exists(state(o, 2)),
                       "CUDA out of memory. Tried to allocate ", bytes, " bytes");
    });
    const std::string said = error_of(c, o, ErrorCode::failure);
    expect_in(said, {"out of memory on cpu", "8 slices of 200x200 at once do not fit",
                     "--micro-batch 4 does (tried)", kWayOn});
    EXPECT_EQ(WatchedMemory::held(), before) << "nothing of the run is left in memory";
  }
  // As told: on with a smaller micro-batch.
  RunOptions smaller = kept("smaller");
  fs::copy(o.out, smaller.out, fs::copy_options::recursive);
  smaller.resume = true;
  TrainConfig in_pieces = c;
  in_pieces.micro_batch = 4;
  log::configure("warn");
  testing::internal::CaptureStderr();
  EXPECT_EQ(train(in_pieces, smaller).steps, 4);
  expect_in(testing::internal::GetCapturedStderr(), {"--micro-batch was 0, is 4"});
  log::configure("error");
  in_pieces.seed += 1;
  smaller.resume = true;
  expect_in(error_of(in_pieces, smaller, ErrorCode::usage), {"--seed"});
  expect_sound(c, o, whole);
}

TEST_F(BreakingOff, WithoutMemoryForOneSliceItSaysWhatElseHelps) {
  constexpr std::size_t kLimit =
      1 << 20;  // less than the first layer's output for both views of a slice
  const RunOptions o = kept("no-memory-at-all");
  const WatchedMemory memory([&](std::size_t bytes) {
    TORCH_CHECK_WITH(OutOfMemoryError, bytes < kLimit || !fs::exists(state(o, 2)),
                     "CUDA out of memory.");
  });
  expect_in(error_of(tiny(), o, ErrorCode::failure),
            {"no micro-batch does", "--image-size", kWayOn});
}

TEST_F(BreakingOff, ALostCardIsToldAndFreesNothing) {
  for (const bool late : {false, true}) {
    SCOPED_TRACE(late);
    const TrainConfig c = small();
    RunOptions whole = kept(late ? "whole-late" : "whole-now");
    whole.read_late = late;
    (void)train(c, whole);
    RunOptions o = kept(late ? "lost-late" : "lost-now");
    o.read_late = late;
    std::size_t left = 0;
    {
      const std::size_t before = WatchedMemory::held();
      const WatchedMemory memory([&](std::size_t) {
        TORCH_CHECK(!fs::exists(state(o, 2)),
                    "CUDA error: unspecified launch failure\nCUDA kernel errors might be "
                    "asynchronously reported");
      });
      const std::string said = error_of(c, o, ErrorCode::failure);
      expect_in(said, {"the card was lost", "CUDA error: unspecified launch failure", kWayOn});
      EXPECT_EQ(said.find("asynchronously"), std::string::npos)
          << "the first line is enough: " << said;
      left = WatchedMemory::held() - before;
    }
    EXPECT_GT(left, fs::file_size(whole.out / "encoder.safetensors"))
        << "the weights are leaked, not freed";
    // The run that is leaked holds its directory still; a process that ends does not.
    const RunOptions copy = kept(o.out.filename().string() + "-copy");
    fs::copy(o.out, copy.out, fs::copy_options::recursive);
    RunOptions again = copy;
    again.read_late = late;
    expect_sound(c, again, whole);
  }
}

// Before the first checkpoint there is nothing to go on from, and other failures free what they
// held.
TEST_F(BreakingOff, WithoutACheckpointNoneIsPromised) {
  const TrainConfig c = small();
  int blocks = 0;
  const std::size_t before = WatchedMemory::held();
  const RunOptions o = kept("nothing-kept");
  const WatchedMemory memory([&](std::size_t) {
    if (fs::exists(o.out / "run.json")) ++blocks;
    TORCH_CHECK(blocks < 100, "cuDNN error: CUDNN_STATUS_NOT_SUPPORTED");
  });
  const std::string said = error_of(c, o, ErrorCode::failure);
  expect_in(said, {"CUDNN_STATUS_NOT_SUPPORTED"});
  EXPECT_EQ(said.find("checkpoint"), std::string::npos) << said;
  EXPECT_EQ(WatchedMemory::held(), before);
}

}  // namespace
}  // namespace wsp::train

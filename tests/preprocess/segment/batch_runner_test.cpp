// Batches on devices and threads, and how they fail.
#include "preprocess/segment/batch_runner.hpp"

#include <gtest/gtest.h>
#include <tbb/task_group.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <new>
#include <numeric>

#include "fake_network.hpp"
#include "io/core/error.hpp"
#include "preprocess/segment/model_segmenter.hpp"
#include "preprocess/segment/sliding_window.hpp"

namespace wsp {
namespace {

using test::bright;
using test::FakeNetwork;
using test::run;

// A device has its first batch before anything of the later ones is made, and two before it from
// then on.
TEST(BatchRunner, PreparesABatchWhileOthersAreUnderWay) {
  FakeNetwork network(bright, false);
  BatchJob job;
  job.sample = {1, 1, {1, 2, 2}};
  job.count = 20;  // 7 batches, the last of two
  job.batch = 3;
  job.piece = 9;
  std::vector<std::int64_t> prepared, under_way, finished;
  std::atomic<std::int64_t> filled{0}, taken{0};
  job.prepare = [&](std::int64_t first, std::int64_t count) {
    EXPECT_EQ(filled, first) << "no more is made than the next batch needs";
    for (std::int64_t i = first; i < first + count; ++i) prepared.push_back(i);
    under_way.push_back(network.under_way);
  };
  job.fill = [&](std::int64_t i, std::span<float> input) {
    EXPECT_LT(i, std::ssize(prepared));
    std::fill(input.begin(), input.end(), static_cast<float>(i));
    ++filled;
  };
  job.take = [&](std::int64_t i, std::span<const float> output) {
    EXPECT_EQ(output[0], static_cast<float>(i) / 100);
    ++taken;
  };
  job.finish = [&](std::int64_t first, std::int64_t count) {
    EXPECT_EQ(taken, first + count);
    for (std::int64_t i = first; i < first + count; ++i) finished.push_back(i);
  };
  BatchRunner(network).run(job);
  std::vector<std::int64_t> all(20);
  std::iota(all.begin(), all.end(), 0);
  EXPECT_EQ(prepared, all);
  EXPECT_EQ(finished, all);
  EXPECT_EQ(under_way, (std::vector<std::int64_t>{0, 1, 2, 2, 2, 2, 2}));
  EXPECT_EQ(network.slots, 3);
  // Another job finds their slots; a larger one gets larger ones.
  prepared.clear();
  under_way.clear();
  finished.clear();
  filled = taken = 0;
  BatchRunner(network).run(job);
  EXPECT_EQ(network.slots, 3);
  job.sample.spatial = {1, 2, 3};
  prepared.clear();
  filled = taken = 0;
  BatchRunner(network).run(job);
  EXPECT_EQ(network.slots, 6);
}

TEST(BatchRunner, ThreadsGetAJobPieceByPiece) {
  FakeNetwork network(bright, true);
  BatchJob job;
  job.sample = {1, 1, {1, 2, 2}};
  job.count = 20;
  job.batch = 3;
  job.piece = 9;
  std::vector<std::int64_t> order;
  std::atomic<std::int64_t> taken{0};
  job.prepare = [&](std::int64_t first, std::int64_t count) {
    order.insert(order.end(), {first, count});
  };
  job.fill = [](std::int64_t, std::span<float> input) {
    std::fill(input.begin(), input.end(), 50.0F);
  };
  job.take = [&](std::int64_t, std::span<const float>) { ++taken; };
  job.finish = [&](std::int64_t first, std::int64_t count) {
    EXPECT_EQ(taken, first + count);
    order.insert(order.end(), {-first, -count});
  };
  BatchRunner(network).run(job);
  EXPECT_EQ(order, (std::vector<std::int64_t>{0, 9, 0, -9, 9, 9, -9, -9, 18, 2, -18, -2}));
}

TEST(BatchRunner, SaysWhatHelpsWhereFp16RanOver) {
  FakeNetwork network([](auto, const auto&, std::span<float> out) { out[0] = INFINITY; }, false);
  BatchJob job;
  job.prepare = [](std::int64_t, std::int64_t) {};
  job.fill = [](std::int64_t, std::span<float>) {};
  job.take = [](std::int64_t, std::span<const float>) {};
  job.count = 1;
  for (const char* precision : {"fp16", "bf16"}) {
    network.precision_ = precision;
    try {
      BatchRunner(network).run(job);
      FAIL() << precision;
    } catch (const BadOutput& e) {
      EXPECT_EQ(std::string(e.what()).find("--precision bf16 or fp32") != std::string::npos,
                std::string(precision) == "fp16")
          << e.what();
    }
  }
}

// The words are LibTorch's.
TEST(SegmenterFailure, ALostCardStopsTheJobAndWantOfMemoryRejectsTheCase) {
  const Rejection full = segmenter_failure(std::runtime_error(
      "CUDA out of memory. Tried to allocate 2.00 GiB (GPU 0; 15.78 GiB total capacity)"));
  EXPECT_EQ(full.code, Code::SEGMENTER_FAILED);
  EXPECT_NE(full.detail.find("--precision bf16"), std::string::npos) << full.detail;
  const Rejection host = segmenter_failure(std::bad_alloc());
  EXPECT_EQ(host.detail, "no memory to run the model on this volume");
  try {
    (void)segmenter_failure(
        std::runtime_error("CUDA error: unspecified launch failure\nCUDA kernel errors might be"));
    ADD_FAILURE() << "the job would reject every case that follows";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::failure);
    EXPECT_NE(std::string(e.what()).find("--device cuda:N"), std::string::npos) << e.what();
  }
}

TEST(SegmenterFailure, WordsOfTheLibrariesAreKnown) {
  const Rejection full =
      segmenter_failure(std::runtime_error("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"));
  EXPECT_NE(full.detail.find("no memory on the card"), std::string::npos) << full.detail;
  const Rejection handle = segmenter_failure(std::runtime_error(
      "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"));
  EXPECT_NE(handle.detail.find("no memory on the card"), std::string::npos) << handle.detail;
  try {
    (void)segmenter_failure(
        std::runtime_error("CUDA error: no kernel image is available for execution on the device"));
    ADD_FAILURE() << "every case would be rejected for it";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("holds no code for the card"), std::string::npos)
        << e.what();
  }
}

}  // namespace
}  // namespace wsp

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <tbb/parallel_for.h>
#include <tbb/task_group.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <functional>
#include <map>
#include <mutex>
#include <new>
#include <numeric>

#include "io/core/error.hpp"
#include "preprocess/segment/batch_runner.hpp"
#include "preprocess/segment/model_segmenter.hpp"
#include "preprocess/segment/sliding_window.hpp"

namespace wsp {
namespace {

// A network in C++: probability of one sample from its input, both in tensor order.
using Forward = std::function<void(std::span<const float>, const BatchShape&, std::span<float>)>;

class FakeNetwork : public Network {
 public:
  FakeNetwork(Forward forward, bool at_once) : forward_(std::move(forward)), at_once_(at_once) {}
  [[nodiscard]] bool concurrent() const override { return at_once_; }
  [[nodiscard]] std::int64_t batch(int) const override { return 3; }
  [[nodiscard]] std::string precision() const override { return precision_; }
  std::unique_ptr<NetworkSlot> make_slot(const BatchShape& largest) override;

  std::atomic<std::int64_t> samples{0}, under_way{0}, most_under_way{0}, slots{0};
  std::string precision_ = "fp32";
  Forward forward_;

 private:
  bool at_once_;
};

class FakeSlot : public NetworkSlot {
 public:
  FakeSlot(FakeNetwork& network, const BatchShape& largest)
      : network_(network),
        input_(static_cast<std::size_t>(largest.samples * largest.channels * largest.voxels())),
        output_(static_cast<std::size_t>(largest.samples * largest.voxels())) {}
  std::span<float> input() override { return input_; }
  void start(const BatchShape& shape) override {
    network_.samples += shape.samples;
    network_.most_under_way = std::max(network_.most_under_way.load(), ++network_.under_way);
    shape_ = shape;
    if (network_.concurrent()) work();
  }
  void wait() override {
    if (!network_.concurrent()) work();
    --network_.under_way;
  }
  [[nodiscard]] std::span<const float> output() const override { return output_; }

 private:
  void work() {
    const auto in = static_cast<std::size_t>(shape_.channels * shape_.voxels());
    const auto out = static_cast<std::size_t>(shape_.voxels());
    for (std::size_t i = 0; i < static_cast<std::size_t>(shape_.samples); ++i)
      network_.forward_(std::span(input_).subspan(i * in, in), shape_,
                        std::span(output_).subspan(i * out, out));
  }
  FakeNetwork& network_;
  std::vector<float> input_, output_;
  BatchShape shape_;
};

std::unique_ptr<NetworkSlot> FakeNetwork::make_slot(const BatchShape& largest) {
  ++slots;
  return std::make_unique<FakeSlot>(*this, largest);
}

// Liver above 50 HU, certain at 150; a shallow ramp over the window, so that windows differ.
void bright(std::span<const float> in, const BatchShape& shape, std::span<float> out) {
  const std::size_t middle = static_cast<std::size_t>(shape.channels / 2) * out.size();
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = std::clamp(in[middle + i] / 100, 0.0F, 1.0F) *
             (1 - 0.2F * static_cast<float>(i) / static_cast<float>(out.size()));
}

ModelDescriptor model(int dimensions, int neighbours = 0) {
  ModelDescriptor d;
  d.name = "fake";
  d.version = "1";
  d.dimensions = dimensions;
  d.neighbours = neighbours;
  d.axes = {ModelAxis{2, false}, ModelAxis{1, false}, ModelAxis{0, false}};
  d.low_hu = -1000;
  d.high_hu = 1000;
  if (dimensions == 3) d.patch = {16, 20, 24};
  d.liver_channels = {0};
  return d;
}

// Noise that is never liver, and a block of liver.
Volume block(std::array<std::int64_t, 3> size, std::array<std::int64_t, 3> first,
             std::array<std::int64_t, 3> end) {
  Volume v;
  v.geometry.size = size;
  v.geometry.spacing_mm = {1, 1, 2};
  std::uint32_t random = 7;
  for (std::int64_t z = 0; z < size[2]; ++z) {
    v.z_mm.push_back(2.0 * static_cast<double>(z));
    for (std::int64_t y = 0; y < size[1]; ++y)
      for (std::int64_t x = 0; x < size[0]; ++x) {
        random = random * 1664525U + 1013904223U;
        const bool liver = x >= first[0] && x < end[0] && y >= first[1] && y < end[1] &&
                           z >= first[2] && z < end[2];
        v.hu.push_back(
            static_cast<std::int16_t>((liver ? 80 : -40) + static_cast<int>(random >> 28)));
      }
  }
  return v;
}

struct Made {
  Segmentation made;
  std::int64_t samples = 0, most_under_way = 0;
};

Made run(const ModelDescriptor& d, const Volume& v, double coarse_mm, bool at_once,
         const Forward& forward = bright) {
  auto network = std::make_unique<FakeNetwork>(forward, at_once);
  FakeNetwork& seen = *network;
  ModelSegmenter segmenter(d, std::move(network), {coarse_mm});
  EXPECT_EQ(segmenter.concurrent(), at_once);
  auto answer = segmenter.segment(v);
  EXPECT_TRUE(answer.ok());
  return {std::move(answer).value(), seen.samples, seen.most_under_way};
}

TEST(SlidingWindow, StartsCoverTheAxisWithTheOverlapAskedFor) {
  for (std::int64_t patch = 8; patch <= 40; patch += 7)
    for (std::int64_t size = patch; size < 200; ++size)
      for (const double overlap : {0.0, 0.25, 0.5, 0.9}) {
        const auto starts = window_starts(size, patch, overlap);
        ASSERT_EQ(starts.front(), 0);
        ASSERT_EQ(starts.back(), size - patch);
        for (std::size_t i = 1; i < starts.size(); ++i) {
          const std::int64_t shared = patch - (starts[i] - starts[i - 1]);
          ASSERT_GT(starts[i], starts[i - 1]);
          ASSERT_GE(static_cast<double>(shared), std::floor(static_cast<double>(patch) * overlap))
              << size << " " << patch << " " << overlap;
        }
      }
}

TEST(SlidingWindow, WeightsAreAGaussianAboutTheMiddle) {
  const auto w = gaussian_weights({9, 16, 5});
  ASSERT_EQ(w.size(), 9U * 16U * 5U);
  for (std::size_t z = 0; z < 9; ++z)
    for (std::size_t y = 0; y < 16; ++y)
      for (std::size_t x = 0; x < 5; ++x) {
        const auto part = [](std::size_t i, double n) {
          const double t = (static_cast<double>(i) - (n - 1) / 2) / (n / 8);
          return -0.5 * t * t;
        };
        const double expected = std::exp(part(z, 9) + part(y, 16) + part(x, 5));
        EXPECT_NEAR(w[(z * 16 + y) * 5 + x], std::max(1e-3, expected), 1e-6);
      }
}

// A device that is waited for gets several batches at once, and gives what threads give.
TEST(Passes, DeviceAndThreadsGiveTheSameBytes) {
  const Volume v = block({50, 44, 170}, {10, 8, 15}, {40, 30, 130});
  for (const int dimensions : {2, 3}) {
    const ModelDescriptor d = model(dimensions, dimensions == 2 ? 2 : 0);
    const Made threads = run(d, v, 0, true), device = run(d, v, 0, false);
    EXPECT_EQ(threads.made.mask.voxels, device.made.mask.voxels);
    EXPECT_EQ(threads.made.probability, device.made.probability);
    EXPECT_EQ(threads.samples, device.samples);
    EXPECT_GE(device.most_under_way, 2);
    EXPECT_GT(std::count(threads.made.mask.voxels.begin(), threads.made.mask.voxels.end(), 1),
              20000);
  }
}

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
      EXPECT_EQ(std::string(e.what()).find("--model-precision bf16 or fp32") != std::string::npos,
                std::string(precision) == "fp16")
          << e.what();
    }
  }
}

TEST(Passes, CoarsePassRunsWhatMayHoldLiverAlone) {
  const Volume v = block({50, 44, 200}, {10, 8, 120}, {40, 30, 150});
  const ModelDescriptor flat = model(2);
  const Made full = run(flat, v, 0, true), coarse = run(flat, v, 10, true);
  EXPECT_EQ(full.made.mask.voxels, coarse.made.mask.voxels);
  EXPECT_EQ(full.samples, 200);
  // Every fifth slice, the 30 of the liver, and at most six on either side.
  EXPECT_LE(coarse.samples, 41 + 30 + 12);
  const Made wide = run(model(3), v, 0, true), boxed = run(model(3), v, 10, true);
  EXPECT_EQ(wide.made.mask.voxels, boxed.made.mask.voxels);
  EXPECT_LT(boxed.samples, wide.samples * 2 / 3);
  // No liver anywhere: nothing is run in full.
  const Volume none = block({50, 44, 200}, {0, 0, 0}, {0, 0, 0});
  EXPECT_LE(run(flat, none, 10, true).samples, 41);
}

// Slices 2 mm apart, each with its own value: what the network gets 5 and 30 mm away.
TEST(Passes, DistantContextTakesTheNearestSlices) {
  Volume v = block({20, 20, 40}, {0, 0, 0}, {0, 0, 0});
  for (std::int64_t z = 0; z < 40; ++z)
    std::fill_n(v.hu.begin() + z * 400, 400, static_cast<std::int16_t>(z));
  for (const bool reversed : {false, true}) {
    ModelDescriptor d = model(2, 2);
    d.context_mm = {5, 30};
    d.axes[0].reversed = reversed;
    std::map<int, std::vector<int>> seen;
    std::mutex mutex;
    const Forward look = [&](std::span<const float> in, const BatchShape& shape,
                             std::span<float> out) {
      std::vector<int> values;
      for (std::int64_t c = 0; c < shape.channels; ++c)
        values.push_back(static_cast<int>(in[static_cast<std::size_t>(c) * out.size()]));
      std::fill(out.begin(), out.end(), 0.0F);
      const std::lock_guard lock(mutex);
      seen[values[2]] = values;
    };
    (void)run(d, v, 0, true, look);
    ASSERT_EQ(seen.size(), 40U);
    for (int z = 0; z < 40; ++z) {
      std::vector<int> expected;
      for (const int away : {-15, -3, 0, 3, 15}) expected.push_back(std::clamp(z + away, 0, 39));
      if (reversed) std::reverse(expected.begin(), expected.end());
      EXPECT_EQ(seen[z], expected);
    }
  }
}

TEST(Passes, TakesVolumesSmallerThanAWindow) {
  const Volume v = block({9, 11, 3}, {2, 2, 0}, {8, 9, 2});
  const Made made = run(model(3), v, 10, true);
  for (std::int64_t z = 0; z < 3; ++z)
    for (std::int64_t y = 0; y < 11; ++y)
      for (std::int64_t x = 0; x < 9; ++x)
        EXPECT_EQ(made.made.mask.slice(z)[static_cast<std::size_t>(y * 9 + x)],
                  x >= 2 && x < 8 && y >= 2 && y < 9 && z < 2 ? 1 : 0);
}

TEST(Passes, WhatIsNoProbabilityRejectsTheCase) {
  const Volume v = block({20, 20, 20}, {2, 2, 2}, {8, 9, 9});
  const auto code = [&](const Forward& forward) {
    ModelSegmenter segmenter(model(2), std::make_unique<FakeNetwork>(forward, true), {0});
    const auto answer = segmenter.segment(v);
    EXPECT_FALSE(answer.ok());
    return answer.ok() ? Code::USED : answer.rejection().code;
  };
  const auto fills = [](float value) {
    return [value](auto, const auto&, std::span<float> out) {
      std::fill(out.begin(), out.end(), 0.0F);
      out.back() = value;
    };
  };
  EXPECT_EQ(code(fills(std::numeric_limits<float>::quiet_NaN())), Code::SEGMENTER_BAD_OUTPUT);
  EXPECT_EQ(code(fills(std::numeric_limits<float>::infinity())), Code::SEGMENTER_BAD_OUTPUT);
  EXPECT_EQ(code(fills(1.5F)), Code::SEGMENTER_BAD_OUTPUT);
  EXPECT_EQ(code(fills(-0.5F)), Code::SEGMENTER_BAD_OUTPUT);
  EXPECT_EQ(code([](auto, const auto&, auto) { throw std::runtime_error("gave up"); }),
            Code::SEGMENTER_FAILED);
  EXPECT_EQ(code([](auto, const auto&, auto) { throw std::bad_alloc(); }), Code::SEGMENTER_FAILED);
}

// The words are LibTorch's.
TEST(SegmenterFailure, ALostCardStopsTheJobAndWantOfMemoryRejectsTheCase) {
  const Rejection full = segmenter_failure(std::runtime_error(
      "CUDA out of memory. Tried to allocate 2.00 GiB (GPU 0; 15.78 GiB total capacity)"));
  EXPECT_EQ(full.code, Code::SEGMENTER_FAILED);
  EXPECT_NE(full.detail.find("--model-precision bf16"), std::string::npos) << full.detail;
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

// oneTBB's loops end early without a word where another case stopped the job: half a mask is none.
TEST(Passes, AVolumeThatIsGivenUpGivesNoMask) {
  const Volume v = block({50, 44, 60}, {10, 8, 15}, {40, 30, 50});
  for (const int dimensions : {2, 3})
    for (const std::int64_t last : {1, 5, 40}) {
      tbb::task_group_context context;
      std::atomic<std::int64_t> runs{0};
      const Forward forward = [&](auto in, const auto& shape, auto out) {
        bright(in, shape, out);
        if (++runs == last) context.cancel_group_execution();
      };
      bool made = false;
      tbb::parallel_for(
          0, 1,
          [&](int) {
            ModelSegmenter segmenter(model(dimensions),
                                     std::make_unique<FakeNetwork>(forward, true), {10});
            made = segmenter.segment(v).ok();
          },
          context);
      EXPECT_GE(runs, last);
      EXPECT_FALSE(made) << dimensions << " " << last;
    }
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
// Beside the volume's own results (mask and probability, a byte each, and 16 bits on the model's
// grid) the sliding window holds a layer: sums of the whole grid would be 12 bytes a voxel more.
TEST(Passes, SlidingWindowMemoryDoesNotGrowWithTheVolume) {
  const auto resident = [] {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    return static_cast<std::int64_t>(usage.ru_maxrss) * 1024;
  };
  const Volume v = block({96, 96, 1800}, {10, 10, 0}, {80, 80, 1800});
  ModelDescriptor d = model(3);
  d.patch = {16, 96, 96};
  const std::int64_t before = resident();
  const Made made = run(d, v, 0, true);
  const std::int64_t voxels = v.geometry.voxels();
  EXPECT_GT(std::count(made.made.mask.voxels.begin(), made.made.mask.voxels.end(), 1), voxels / 3);
  EXPECT_LT(resident() - before, voxels * 4 + voxels * 2) << voxels;
}
#endif

}  // namespace
}  // namespace wsp

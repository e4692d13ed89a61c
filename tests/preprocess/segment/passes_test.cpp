// Passes of a network over volumes, with plain functions in its place.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <tbb/parallel_for.h>
#include <tbb/task_group.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <map>
#include <mutex>
#include <new>

#include "fake_network.hpp"
#include "preprocess/segment/batch_runner.hpp"
#include "preprocess/segment/model_segmenter.hpp"
#include "preprocess/segment/sliding_window.hpp"

namespace wsp {
namespace {

using test::bright;
using test::FakeNetwork;
using test::Forward;
using test::Made;
using test::run;

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

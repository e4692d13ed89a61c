#pragma once
#include <gtest/gtest.h>
#include <tbb/task_group.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <new>

#include "preprocess/segment/batch_runner.hpp"
#include "preprocess/segment/model_segmenter.hpp"
#include "preprocess/segment/sliding_window.hpp"

/// A network that is a plain function.
namespace wsp::test {

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

inline std::unique_ptr<NetworkSlot> FakeNetwork::make_slot(const BatchShape& largest) {
  ++slots;
  return std::make_unique<FakeSlot>(*this, largest);
}

// Liver above 50 HU, certain at 150; a shallow ramp over the window, so that windows differ.
inline void bright(std::span<const float> in, const BatchShape& shape, std::span<float> out) {
  const std::size_t middle = static_cast<std::size_t>(shape.channels / 2) * out.size();
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = std::clamp(in[middle + i] / 100, 0.0F, 1.0F) *
             (1 - 0.2F * static_cast<float>(i) / static_cast<float>(out.size()));
}

struct Made {
  Segmentation made;
  std::int64_t samples = 0, most_under_way = 0;
};

inline Made run(const ModelDescriptor& d, const Volume& v, double coarse_mm, bool at_once,
                const Forward& forward = bright) {
  auto network = std::make_unique<FakeNetwork>(forward, at_once);
  FakeNetwork& seen = *network;
  ModelSegmenter segmenter(d, std::move(network), {coarse_mm});
  EXPECT_EQ(segmenter.concurrent(), at_once);
  auto answer = segmenter.segment(v);
  EXPECT_TRUE(answer.ok());
  return {std::move(answer).value(), seen.samples, seen.most_under_way};
}

}  // namespace wsp::test

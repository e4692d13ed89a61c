// A liver model on a card beside the same model on the CPU.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <future>
#include <nlohmann/json.hpp>

#include "card.hpp"
#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/device/device.hpp"
#include "preprocess/segment/load_network.hpp"
#include "preprocess/segment/model_runtime.hpp"
#include "support/test_data.hpp"
#include "train/gpu/test_device.hpp"
#include "train/model/unet.hpp"
#include "train/support/watched_memory.hpp"

namespace wsp::train::test {
namespace {

namespace fs = std::filesystem;
using wsp::test::TemporaryDirectory;
using wsp::test::WatchedMemory;

// Side of the slices: so large that a batch takes more memory than the weights, on a card, whose
// batch is 16, much more.
std::int64_t side() { return on_card() ? 256 : 128; }

// Smooth shapes with noise on them, others for each `number`.
Volume make_volume(std::int64_t slices, int number) {
  Volume volume;
  volume.geometry.size = {side(), side(), slices};
  volume.geometry.spacing_mm = {1, 1, 3};
  torch::manual_seed(static_cast<std::uint64_t>(number));
  const torch::Tensor noise = torch::rand({slices, side(), side()}).mul_(60);
  const auto* n = noise.data_ptr<float>();
  for (std::int64_t z = 0; z < slices; ++z) {
    volume.z_mm.push_back(3 * static_cast<double>(z));
    volume.source_index.push_back(static_cast<std::int32_t>(z));
    for (std::int64_t y = 0; y < side(); ++y)
      for (std::int64_t x = 0; x < side(); ++x) {
        const double a = static_cast<double>(x) / 9, b = static_cast<double>(y) / 7,
                     c = static_cast<double>(z) / 3 + number;
        volume.hu.push_back(static_cast<std::int16_t>(std::lround(
            110 + 140 * std::sin(a + c) * std::cos(b - c / 2) + static_cast<double>(*n++))));
      }
  }
  return volume;
}

class SegmentOnCard : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    scratch_ = std::make_unique<TemporaryDirectory>();
    write_model();
    // First of all: it tries the model in a forked process, which can use a card only where this
    // one has not yet.
    try {
      card_ = make_segmenter(descriptor(), test_device(), {0});
    } catch (const Error& e) {
      refused_ = e.what();
    }
    cpu_ = segmenter_on("cpu");
  }
  static void TearDownTestSuite() {
    card_.reset();
    cpu_.reset();
    scratch_.reset();
  }
  void SetUp() override {
    WSP_SKIP_WITHOUT_DEVICE();
    ASSERT_NE(card_, nullptr) << refused_;
  }

  static fs::path descriptor() { return scratch_->path() / "net.json"; }

  // A random U-Net whose answers are decided: about half of the voxels are liver, few of them near
  // the threshold.
  static void write_model() {
    const torch::NoGradGuard no_grad;
    torch::manual_seed(2);
    UNet net(UNetOptions{});
    net.eval();
    const Volume volume = make_volume(3, 1);
    const torch::Tensor hu = torch::from_blob(const_cast<std::int16_t*>(volume.hu.data()),
                                              {1, 3, side(), side()}, torch::kShort);
    const torch::Tensor logits = net.forward(hu.to(torch::kFloat).add(100).div(500).clamp(0, 1));
    const double scale = 8 / logits.std().item<double>(), middle = logits.median().item<double>();
    for (auto& parameter : net.named_parameters()) {
      if (parameter.key() == "head.weight") parameter.value().mul_(scale);
      if (parameter.key() == "head.bias") parameter.value().sub_(middle).mul_(scale);
    }
    const std::string bytes = unet_torchscript(net, 1);
    write_file_atomic(scratch_->path() / "net.ts", bytes);
    const nlohmann::json json = {{"format", "wsp-segmentation-model"},
                                 {"version", 1},
                                 {"name", "random"},
                                 {"model_version", "1"},
                                 {"file", "net.ts"},
                                 {"sha256", hex(sha256(bytes))},
                                 {"input",
                                  {{"dimensions", "2.5d"},
                                   {"neighbours", 1},
                                   {"orientation", "SPL"},
                                   {"size", {side(), side()}},
                                   {"window_hu", {-100, 400}},
                                   {"scale", {0, 1}}}},
                                 {"output", {{"activation", "sigmoid"}, {"liver_channels", {0}}}}};
    write_file_atomic(descriptor(), json.dump());
  }
  static std::unique_ptr<Segmenter> segmenter_on(const std::string& device,
                                                 const std::string& precision = "fp32") {
    ModelDescriptor model = load_descriptor(descriptor());
    auto network = load_network(model, read_file(model.file), device, precision);
    return std::make_unique<ModelSegmenter>(std::move(model), std::move(network),
                                            SegmentationPlan{0});
  }
  static Segmentation segment(Segmenter& segmenter, const Volume& volume) {
    auto answer = segmenter.segment(volume);
    if (!answer.ok()) throw std::runtime_error(answer.rejection().detail);
    return std::move(answer).value();
  }
  static std::size_t differing(const Segmentation& a, const Segmentation& b) {
    std::size_t count = a.mask.voxels.size() == b.mask.voxels.size() ? 0 : a.mask.voxels.size();
    for (std::size_t i = 0; count < a.mask.voxels.size() && i < a.mask.voxels.size(); ++i)
      count += a.mask.voxels[i] != b.mask.voxels[i] ? 1 : 0;
    return count;
  }
  // float32 in another order of sums: a voxel at the threshold may fall to the other side.
  static void expect_same(const Segmentation& found, const Segmentation& expected) {
    const std::size_t all = expected.mask.voxels.size();
    const auto liver = static_cast<std::size_t>(
        std::count(expected.mask.voxels.begin(), expected.mask.voxels.end(), 1));
    ASSERT_GT(liver, all / 10);
    ASSERT_LT(liver, all * 9 / 10);
    EXPECT_LE(differing(found, expected), all / 10000);
    ASSERT_EQ(found.probability.size(), all);
    int worst = 0;
    for (std::size_t i = 0; i < all; ++i)
      worst = std::max(worst, std::abs(int{found.probability[i]} - int{expected.probability[i]}));
    EXPECT_LE(worst, 2) << "of 255";
  }

  static inline std::unique_ptr<TemporaryDirectory> scratch_;
  static inline std::unique_ptr<Segmenter> card_, cpu_;
  static inline std::string refused_;
};

TEST_F(SegmentOnCard, TheMaskIsThatOfTheCpu) {
  const Volume volume = make_volume(21, 1),
               other = make_volume(21, 2);  // a whole batch, and a part of one
  const Segmentation expected = segment(*cpu_, volume);
  expect_same(segment(*card_, volume), expected);
  EXPECT_GT(differing(segment(*card_, other), expected), expected.mask.voxels.size() / 100)
      << "another volume has another mask";
}

TEST_F(SegmentOnCard, TwoVolumesAtOnceAreThoseOneByOne) {
  const Volume a = make_volume(19, 3), b = make_volume(33, 4);
  const Segmentation one = segment(*card_, a), two = segment(*card_, b);
  for (int round = 0; round < 4; ++round) {
    auto beside = std::async(std::launch::async, [&] { return segment(*card_, a); });
    expect_same(segment(*card_, b), two);
    expect_same(beside.get(), one);
  }
}

TEST_F(SegmentOnCard, HalfPrecisionMakesNearlyTheSameMask) {
  const Volume volume = make_volume(9, 5);
  const Segmentation expected = segment(*cpu_, volume);
  const Segmentation found = segment(*segmenter_on(test_device(), "bf16"), volume);
  const std::size_t other = differing(found, expected);
  EXPECT_GT(other, 0U) << "it was in half precision";
  EXPECT_LT(other, expected.mask.voxels.size() / 20);
}

// A batch for which the card has no memory is halved, and the mask stays.
TEST_F(SegmentOnCard, ABatchThatDoesNotFitIsHalved) {
  const Volume volume = make_volume(24, 6);
  const auto halved = [&] {
    testing::internal::CaptureStderr();
    const auto segmenter = segmenter_on(test_device());
    Segmentation found;
    try {
      found = segment(*segmenter, volume);
    } catch (const std::exception& e) {
      ADD_FAILURE() << e.what();
    }
    const std::string said = testing::internal::GetCapturedStderr();
    EXPECT_NE(said.find("too little memory to run the model on"), std::string::npos) << said;
    return found;
  };
  if (on_card()) {
    const int card = choose_device(test_device(), 0).index();
    bench::reset_peak(card);
    const std::int64_t before = bench::peak_bytes(card).value();
    const Segmentation expected = segment(*segmenter_on(test_device()), volume);
    const std::int64_t most = bench::peak_bytes(card).value();
    ASSERT_GT(most - before, 200 << 20);
    bench::limit_memory(card, before + (most - before) * 6 / 10);
    const Segmentation found = halved();
    bench::limit_memory(card, std::int64_t{1} << 50);
    expect_same(found, expected);
    return;
  }
  std::size_t largest = 0;
  Segmentation expected;
  {
    const WatchedMemory memory;
    expected = segment(*segmenter_on("cpu"), volume);
    largest = memory.largest();
  }
  const WatchedMemory memory([&](std::size_t bytes) {
    TORCH_CHECK_WITH(OutOfMemoryError, bytes < largest, "CUDA out of memory. Tried to allocate ",
                     bytes, " bytes");
  });
  expect_same(halved(), expected);
}

}  // namespace
}  // namespace wsp::train::test

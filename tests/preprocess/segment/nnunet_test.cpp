#include <gtest/gtest.h>
#include <tbb/global_control.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "io/manifest/manifest.hpp"
#include "preprocess/segment/model_grid.hpp"
#include "preprocess/segment/model_runtime.hpp"
#include "preprocess/segment/sliding_window.hpp"
#include "support/python.hpp"
#include "support/test_data.hpp"

namespace wsp {
namespace {

namespace fs = std::filesystem;

const std::vector<std::string> kModels{"plain3d", "residual3d", "plain2d", "apart"};

// Smooth, different in every direction, with a border of zeros that nnU-Net crops, wider on some
// sides than on others.
Volume make_volume() {
  Volume v;
  v.geometry.size = {44, 40, 30};
  v.geometry.spacing_mm = {1.5, 1.25, 2};
  for (std::int64_t z = 0; z < 30; ++z) {
    v.z_mm.push_back(static_cast<double>(z) * 2);
    v.source_index.push_back(static_cast<std::int32_t>(z));
    for (std::int64_t y = 0; y < 40; ++y)
      for (std::int64_t x = 0; x < 44; ++x) {
        const double a = static_cast<double>(x), b = static_cast<double>(y),
                     c = static_cast<double>(z);
        const double hu = 60 + 90 * std::sin(a / 5 + c / 7) * std::cos(b / 6 - a / 20) +
                          60 * std::sin(c / 4 + 1) - 2 * b;
        v.hu.push_back(y < 3 || z < 2 || x == 43 ? std::int16_t{0}
                                                 : static_cast<std::int16_t>(std::lround(hu)));
      }
  }
  return v;
}

template <class T>
std::vector<T> read_values(const fs::path& path) {
  const std::string bytes = read_file(path);
  std::vector<T> values(bytes.size() / sizeof(T));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

class NnunetTest : public testing::Test {
 protected:
  static bool python(const std::string& arguments) {
    int status = 0;
    const std::string said =
        test::run_command(test::python() + " " + WSP_SOURCE_DIR +
                              "/tests/preprocess/segment/nnunet_models.py " + arguments + " 2>&1",
                          status);
    if (status != 0) std::fprintf(stderr, "*** %s ***\n", said.c_str());
    return status == 0;
  }
  static void SetUpTestSuite() {
    work_ = std::make_unique<test::TemporaryDirectory>();
    has_torch_ = test::python_has("numpy, scipy, torch");
    if (!has_torch_) return;
    const Volume volume = make_volume();
    const fs::path hu = work_->path() / "hu.raw", json = work_->path() / "volume.json";
    write_file_atomic(hu, bytes_of(std::span<const std::int16_t>(volume.hu)));
    write_file_atomic(json, nlohmann::json{{"size", volume.geometry.size},
                                           {"spacing", volume.geometry.spacing_mm},
                                           {"hu", hu}}
                                .dump());
    made_ = python("make " + models().string()) &&
            python("expect " + models().string() + " " + json.string());
  }
  static void TearDownTestSuite() { work_.reset(); }
  static fs::path models() { return work_->path() / "m"; }
  static fs::path file(const std::string& name) { return models() / name; }
  void SetUp() override {
    if (!has_torch_) {
      std::fprintf(stderr, "*** PYTHON LACKS numpy, scipy, torch: this test did not run ***\n");
      GTEST_SKIP() << "Python lacks numpy, scipy, torch";
    }
    ASSERT_TRUE(made_);
  }

  static Segmentation segment(const std::string& name, SegmentationPlan plan = {0}) {
    auto answer = make_segmenter(file(name + ".json"), "cpu", plan)->segment(make_volume());
    EXPECT_TRUE(answer.ok()) << answer.rejection().detail;
    return std::move(answer).value();
  }

  static inline std::unique_ptr<test::TemporaryDirectory> work_;
  static inline bool has_torch_ = false, made_ = false;
};

TEST_F(NnunetTest, NetworksGiveTheLogitsOfPyTorchs) {
  for (const std::string& name : kModels) {
    SCOPED_TRACE(name);
    const ModelDescriptor model = load_descriptor(file(name + ".json"));
    const auto network = load_checked_network(model, "cpu");
    ASSERT_EQ(network->logits(), model.nnunet->heads());
    const auto input = read_values<float>(file(name + ".input"));
    const auto expected = read_values<float>(file(name + ".logits"));
    const BatchShape shape{1, 1, model.patch};
    const auto slot = network->make_slot(shape);
    ASSERT_EQ(slot->input().size(), input.size());
    ASSERT_EQ(slot->output().size(), expected.size());
    std::copy(input.begin(), input.end(), slot->input().begin());
    slot->start(shape);
    slot->wait();
    float largest = 0, difference = 0;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      largest = std::max(largest, std::abs(expected[i]));
      difference = std::max(difference, std::abs(expected[i] - slot->output()[i]));
    }
    EXPECT_LT(difference, 1e-4F);
    EXPECT_GT(largest, 0.5F);
    std::printf("%s: logits up to %.2f, differences up to %.1e\n", name.c_str(),
                static_cast<double>(largest), static_cast<double>(difference));
  }
}

TEST_F(NnunetTest, PredictionsAreThoseOfAnExplicitReference) {
  for (const std::string& name : kModels) {
    SCOPED_TRACE(name);
    const auto expected = read_values<std::uint8_t>(file(name + ".mask"));
    const auto clear = read_values<std::uint8_t>(file(name + ".clear"));
    const Segmentation made = segment(name);
    ASSERT_EQ(made.mask.voxels.size(), expected.size());
    std::size_t liver = 0, other = 0, unclear = 0, wrong = 0;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      liver += expected[i];
      unclear += clear[i] == 0 ? 1 : 0;
      other += made.mask.voxels[i] != expected[i] ? 1 : 0;
      wrong += clear[i] != 0 && made.mask.voxels[i] != expected[i] ? 1 : 0;
    }
    EXPECT_EQ(wrong, 0U);
    EXPECT_LT(unclear, expected.size() / 100);
    // A mask that a flip or a transposition would change.
    EXPECT_GT(liver, expected.size() / 20);
    EXPECT_LT(liver, expected.size() * 19 / 20);
    std::printf("%s: %zu of %zu voxels differ, %zu are within 2e-3 of another label\n",
                name.c_str(), other, expected.size(), unclear);
  }
}

TEST_F(NnunetTest, GivesTheSameBytesAtAnyNumberOfThreads) {
  std::vector<Segmentation> made;
  for (const std::size_t threads : {1U, 4U}) {
    const tbb::global_control limit(tbb::global_control::max_allowed_parallelism, threads);
    made.push_back(segment("residual3d"));
  }
  EXPECT_EQ(made[0].mask.voxels, made[1].mask.voxels);
  EXPECT_EQ(made[0].probability, made[1].probability);
}

TEST_F(NnunetTest, CoarsePassFindsTheSameWhereLiverIsEverywhere) {
  EXPECT_EQ(segment("plain3d").mask.voxels, segment("plain3d", {10}).mask.voxels);
}

TEST_F(NnunetTest, RefusesWeightsThatAreNotTheDescriptors) {
  for (const auto& [name, words] : std::map<std::string, std::string>{
           {"missing", "lacks 'decoder.transpconvs.0.bias'"},
           {"reshaped", "with the shape [2, 3], expected [6]"},
           {"left", "holds 1 more tensors than this network has, such as 'surplus'"},
           {"typed", "is I32; expected F32"},
           {"overlapping", "no valid safetensors header"},
           {"flipped", "expected SHA-256"}}) {
    SCOPED_TRACE(name);
    try {
      (void)make_segmenter(file(name + ".json"), "cpu", {});
      ADD_FAILURE() << "taken";
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find(words), std::string::npos) << e.what();
    }
  }
}

nlohmann::json example() { return load_json(WSP_SOURCE_DIR "/schemas/examples/nnunet_model.json"); }

TEST(NnunetDescriptor, ResolvesTheExample) {
  const ModelDescriptor d = parse_descriptor(example(), "/models/liver.json");
  ASSERT_TRUE(d.nnunet);
  EXPECT_EQ(d.file, "/models/liver-nnunet.safetensors");
  EXPECT_EQ(d.dimensions, 3);
  EXPECT_EQ(d.axes[0].volume_axis, 2);
  EXPECT_FALSE(d.axes[0].reversed);
  EXPECT_TRUE(d.axes[1].reversed && d.axes[2].reversed);
  EXPECT_DOUBLE_EQ(99.4 * d.factor + d.offset, 0);
  EXPECT_EQ(d.nnunet->liver_head, (std::vector<bool>{false, true, true}));
  EXPECT_TRUE(d.nnunet->mirrored_axes.empty());
  auto other = example();
  other["mirror"] = true;
  EXPECT_EQ(parse_descriptor(other, "m.json").nnunet->mirrored_axes.size(), 3U);
  EXPECT_NE(parse_descriptor(other, "m.json").identity, d.identity);
  auto remarked = example();
  remarked["comment"] = "a remark";
  EXPECT_EQ(parse_descriptor(remarked, "m.json").identity, d.identity);
}

TEST(NnunetDescriptor, RefusesWhatDoesNotFitTogether) {
  const auto refused = [](const char* pointer, const nlohmann::json& value) {
    auto json = example();
    json[nlohmann::json::json_pointer(pointer)] = value;
    try {
      (void)parse_descriptor(json, "model.json");
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::usage);
      return std::string(e.what());
    }
    return std::string("taken");
  };
  const auto says = [&](const char* pointer, const nlohmann::json& value, const char* words) {
    const std::string said = refused(pointer, value);
    EXPECT_NE(said.find(words), std::string::npos) << pointer << ": " << said;
  };
  says("/patch", {128, 128}, "differ in length");
  says("/patch", {128, 126, 128}, "no multiple of what network.strides divide it by (126 by 4)");
  says("/network/features", {32, 64}, "number of stages");
  says("/network/strides/0", {2, 2, 2}, "must keep the resolution");
  says("/network/strides/1", {2, 2}, "another number of axes");
  says("/network/class", "ResidualEncoderUNet", "stem_channels");
  says("/network/class", "ResidualUNet", "/network/class");
  says("/orientation", "SAL", "taken");
  says("/orientation", "SSR", "one letter each");
  says("/normalization/scheme", "ZScoreNormalization", "goes with CTNormalization");
  says("/normalization", {{"scheme", "CTNormalization"}}, "needed there");
  says("/normalization/scheme", "RescaleTo01Normalization", "/normalization/scheme");
  says("/liver", {4}, "which no head paints");
  says("/activation", "sigmoid", "paints 0");
  says("/resampling/data/order", 2, "/resampling/data/order");
  says("/mirror_axes", {0, 3}, "/mirror_axes");
}

TEST(NnunetVoxel, IsWhatTheLargestLabelOrTheLastRegionSays) {
  NnunetModel labels;
  labels.liver_head = {false, true, true};
  const auto voxel = [](const NnunetModel& model, std::vector<float> logits) {
    return nnunet_voxel(model, logits.data(), 1);
  };
  // Two labels of liver, neither of which is the largest: background wins with less than a half.
  const NnunetVoxel split = voxel(labels, {1.0F, 0.9F, 0.9F});
  EXPECT_FALSE(split.liver);
  const double e = std::exp(-0.1);
  EXPECT_NEAR(split.probability, 2 * e / (1 + 2 * e), 1e-6);
  EXPECT_TRUE(voxel(labels, {1.0F, 0.9F, 1.1F}).liver);
  EXPECT_FALSE(voxel(labels, {1.0F, 1.0F, 0.0F}).liver) << "of equals the first";
  EXPECT_FALSE(voxel(labels, {NAN, NAN, NAN}).liver);
  EXPECT_EQ(voxel(labels, {NAN, NAN, NAN}).probability, 0);
  // Two voxels, their logits side by side.
  const std::vector<float> strided{0, 5, 3, -5, 1, -5};
  EXPECT_TRUE(nnunet_voxel(labels, strided.data(), 2).liver);
  EXPECT_FALSE(nnunet_voxel(labels, strided.data() + 1, 2).liver);
  NnunetModel regions;
  regions.regions = true;
  regions.liver_head = {true, false};
  EXPECT_TRUE(voxel(regions, {0.1F, -0.1F}).liver);
  EXPECT_FALSE(voxel(regions, {9.0F, 0.1F}).liver) << "painted over";
  EXPECT_FALSE(voxel(regions, {-0.1F, -0.1F}).liver);
  EXPECT_NEAR(voxel(regions, {2.0F, 0.1F}).probability, 1 / (1 + std::exp(-2.0)), 1e-6);
}

// scipy 1.10: ndimage.zoom(order=3, mode="nearest", grid_mode=True) of 1, 0, 0, 0, 0 to 7 samples.
TEST(NnunetGrid, SplineIsSciPys) {
  WSP_REQUIRE_PYTHON("numpy, scipy");
  for (const auto& [from, to] : std::vector<std::pair<int, int>>{{5, 7}, {23, 9}, {3, 40}, {1, 4}})
    for (const int order : {0, 1, 3}) {
      int status = 0;
      const std::string said = test::run_command(
          test::python() +
              " -c 'import numpy as np, scipy.ndimage as n; [print(*v) for v in "
              "n.zoom(np.eye(" +
              std::to_string(from) + "), (1, " + std::to_string(to) + " / " + std::to_string(from) +
              "), order=" + std::to_string(order) + ", mode=\"nearest\", grid_mode=True)]'",
          status);
      ASSERT_EQ(status, 0);
      std::istringstream numbers(said);
      const auto taps = spline_taps(from, to, order);
      ASSERT_EQ(taps.size(), static_cast<std::size_t>(to));
      double largest = 0;
      for (std::int64_t i = 0; i < from; ++i)
        for (const AxisTaps& t : taps) {
          double expected = NAN;
          numbers >> expected;
          const std::int64_t k = i - t.first;
          const double weight = k >= 0 && k < static_cast<std::int64_t>(t.weight.size())
                                    ? static_cast<double>(t.weight[static_cast<std::size_t>(k)])
                                    : 0;
          largest = std::max(largest, std::abs(weight - expected));
        }
      EXPECT_LT(largest, 2e-7) << from << " " << to << " " << order;
    }
}

// Positions by nnunetv2 2.8.1's compute_steps_for_sliding_window.
TEST(NnunetWindows, StandWhereNnunetPutsThem) {
  using Starts = std::vector<std::int64_t>;
  EXPECT_EQ(nnunet_window_starts(110, 64), (Starts{0, 23, 46}));
  EXPECT_EQ(nnunet_window_starts(64, 64), (Starts{0}));
  EXPECT_EQ(nnunet_window_starts(65, 64), (Starts{0, 1}));
  EXPECT_EQ(nnunet_window_starts(39, 20), (Starts{0, 10, 19}));           // 9.5 to even
  EXPECT_EQ(nnunet_window_starts(24, 7), (Starts{0, 3, 7, 10, 14, 17}));  // steps of 3.5 at most
  EXPECT_EQ(nnunet_window_starts(3, 1), (Starts{0, 1, 2}));               // single slices
}

}  // namespace
}  // namespace wsp

#pragma once
#include <gtest/gtest.h>
#include <tbb/global_control.h>

#include <cmath>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "preprocess/segment/model_runtime.hpp"
#include "support/python.hpp"
#include "support/test_data.hpp"

/// Models that python3-torch makes (models.py), and what they give by loops there.
namespace wsp {

namespace fs = std::filesystem;

// Smooth, and different in every direction: a flip or a transposition of it is another volume.
inline Volume make_volume(std::array<std::int64_t, 3> size) {
  Volume v;
  v.geometry.size = size;
  v.geometry.spacing_mm = {1.5, 1.25, 2};
  for (std::int64_t z = 0; z < size[2]; ++z) {
    v.z_mm.push_back(static_cast<double>(z) * 2);
    v.source_index.push_back(static_cast<std::int32_t>(z));
    for (std::int64_t y = 0; y < size[1]; ++y)
      for (std::int64_t x = 0; x < size[0]; ++x) {
        const double a = static_cast<double>(x), b = static_cast<double>(y),
                     c = static_cast<double>(z);
        v.hu.push_back(static_cast<std::int16_t>(
            std::lround(150 + 170 * std::sin(a / 7 + c / 11) * std::cos(b / 9 - a / 40) +
                        60 * std::sin(c / 5 + 1) - 2 * b)));
      }
  }
  return v;
}

class ModelsByPython : public testing::Test {
 protected:
  static bool python(const std::string& arguments) {
    int status = 0;
    const std::string said =
        test::run_command(test::python() + " " + WSP_SOURCE_DIR +
                              "/tests/preprocess/segment/models.py " + arguments + " 2>&1",
                          status);
    if (status != 0) std::fprintf(stderr, "*** %s ***\n", said.c_str());
    return status == 0;
  }
  static void SetUpTestSuite() {
    work_ = std::make_unique<test::TemporaryDirectory>();
    has_torch_ = test::python_has("numpy, torch");
    made_ = has_torch_ && python("make " + models().string());
  }
  static void TearDownTestSuite() { work_.reset(); }
  static fs::path models() { return work_->path() / "m"; }
  void SetUp() override {
    if (!has_torch_) {
      std::fprintf(stderr, "*** PYTHON LACKS numpy, torch: this test did not run ***\n");
      GTEST_SKIP() << "Python lacks numpy, torch";
    }
    ASSERT_TRUE(made_);
  }

  static fs::path descriptor(const std::string& name) { return models() / (name + ".json"); }

  // Have models.py work out the probabilities of these models.
  static void expect(const std::string& names, const Volume& volume) {
    const fs::path hu = work_->path() / "hu.raw", json = work_->path() / "volume.json";
    write_file_atomic(hu, bytes_of(std::span<const std::int16_t>(volume.hu)));
    write_file_atomic(json, nlohmann::json{{"size", volume.geometry.size}, {"hu", hu}}.dump());
    ASSERT_TRUE(python("expect " + models().string() + " " + json.string() + " " + names));
  }
  // [z][y][x]
  static std::vector<float> expected(const std::string& name) {
    const std::string bytes = read_file(models() / (name + ".raw"));
    std::vector<float> p(bytes.size() / sizeof(float));
    std::memcpy(p.data(), bytes.data(), bytes.size());
    return p;
  }

  static Segmentation segment(const std::string& name, const Volume& volume,
                              SegmentationPlan plan = {0}) {
    auto answer = make_segmenter(descriptor(name), "cpu", plan)->segment(volume);
    EXPECT_TRUE(answer.ok()) << answer.rejection().detail;
    return std::move(answer).value();
  }

  static void expect_usage(const fs::path& path, const std::string& words,
                           const std::string& device = "cpu") {
    try {
      (void)make_segmenter(path, device, {});
      FAIL() << "expected an error with '" << words << "'";
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::usage);
      EXPECT_NE(std::string(e.what()).find(words), std::string::npos) << e.what();
    }
  }

  // The masks and probabilities of models NAME + `suffix`, against those that Python expects of
  // NAME.
  static void expect_equal_to_python(const std::string& suffix) {
    const Volume volume = make_volume({37, 45, 29});
    expect("band turned padded below above labels ramp rolled", volume);

    for (const auto& [name, threshold] : std::map<std::string, float>{{"band", 0.5F},
                                                                      {"turned", 0.5F},
                                                                      {"padded", 0.5F},
                                                                      {"below", 0.5F},
                                                                      {"above", 0.5F},
                                                                      {"labels", 0.5F},
                                                                      {"ramp", 0.5F},
                                                                      {"rolled", 0.6F}}) {
      SCOPED_TRACE(name);
      const auto p = expected(name);
      const Segmentation made = segment(name + suffix, volume);
      ASSERT_EQ(p.size(), volume.hu.size());
      ASSERT_EQ(made.mask.voxels.size(), p.size());
      ASSERT_EQ(made.probability.size(), p.size());
      std::size_t liver = 0, unclear = 0;
      for (std::size_t i = 0; i < p.size(); ++i) {
        ASSERT_NEAR(made.probability[i] / 255.0, p[i], 0.5 / 255 + 1e-4) << i;
        if (std::abs(p[i] - threshold) < 1e-4F) {
          ++unclear;
          continue;
        }
        ASSERT_EQ(made.mask.voxels[i], p[i] >= threshold ? 1 : 0) << i;
        liver += made.mask.voxels[i];
      }
      EXPECT_LT(unclear, p.size() / 1000);
      // A mask that a flip or a transposition would change.
      EXPECT_GT(liver, p.size() / 50);
      EXPECT_LT(liver, p.size() * 49 / 50);
    }
  }

  static void expect_same_at_any_number_of_threads(const std::string& suffix) {
    const Volume volume = make_volume({64, 50, 40});
    for (const std::string name : {"band", "below", "ramp"}) {
      std::vector<Segmentation> made;
      for (const std::size_t threads : {1U, 4U}) {
        const tbb::global_control limit(tbb::global_control::max_allowed_parallelism, threads);
        made.push_back(segment(name + suffix, volume));
      }
      EXPECT_EQ(made[0].mask.voxels, made[1].mask.voxels) << name;
      EXPECT_EQ(made[0].probability, made[1].probability) << name;
    }
  }

  static inline std::unique_ptr<test::TemporaryDirectory> work_;
  static inline bool has_torch_ = false, made_ = false;
};

}  // namespace wsp

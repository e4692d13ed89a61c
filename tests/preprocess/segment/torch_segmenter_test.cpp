#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "io/core/atomic_file.hpp"
#include "io/core/error.hpp"
#include "io/core/hash.hpp"
#include "preprocess/segment/half_precision.hpp"
#include "preprocess/segment/model_runtime.hpp"
#include "preprocess/segment/models_by_python.hpp"

namespace wsp {
namespace {

using TorchSegmenterTest = ModelsByPython;

c10::Device torch_card() { return {c10::kCUDA, 0}; }

// Every kind of model, on a grid whose sizes fit neither patches nor multiples.
TEST_F(TorchSegmenterTest, EqualsAnExplicitReferenceToTheVoxel) { expect_equal_to_python(""); }

TEST_F(TorchSegmenterTest, GivesTheSameBytesAtAnyNumberOfThreads) {
  expect_same_at_any_number_of_threads("");
}

// What the coarse pass skips holds no liver, so that the mask is the one of a full pass.
TEST_F(TorchSegmenterTest, CoarsePassGivesTheFullPassesMask) {
  Volume volume = make_volume({64, 50, 90});
  // Liver in the slices 40 to 59 alone, in a corner: above it and below it, fat.
  for (std::int64_t z = 0; z < 90; ++z)
    for (std::int64_t y = 0; y < 50; ++y)
      for (std::int64_t x = 0; x < 64; ++x) {
        auto& hu = volume.hu[static_cast<std::size_t>((z * 50 + y) * 64 + x)];
        hu = z >= 40 && z < 60 && y < 30 && x > 20 && x < 50 ? hu : std::int16_t{-100};
      }
  for (const char* name : {"band", "below"}) {
    const Segmentation full = segment(name, volume, {0}), coarse = segment(name, volume, {12});
    EXPECT_EQ(full.mask.voxels, coarse.mask.voxels) << name;
    EXPECT_GT(std::count(full.mask.voxels.begin(), full.mask.voxels.end(), 1), 5000) << name;
  }
}

TEST_F(TorchSegmenterTest, SaysWhatIsWrongBeforeTheFirstCase) {
  expect_usage(descriptor("absent"), "absent.json");
  expect_usage(descriptor("wrong_shape"), "the model's output has the shape");
  expect_usage(descriptor("always_not_finite"), "not finite");
  expect_usage(descriptor("raises"), "this model never runs");
  expect_usage(descriptor("crashes"), "crashes on a small input");
  expect_usage(descriptor("band"), "--device is 'gpu': expected auto, cpu", "gpu");
  expect_usage(descriptor("band"), "--device is 'cuda:", "cuda:999");

  const fs::path other = work_->path() / "other";
  fs::create_directories(other);
  auto json = nlohmann::json::parse(read_file(descriptor("band")));
  const auto write = [&] { write_file_atomic(other / "m.json", json.dump()); };
  write();
  expect_usage(other / "m.json", "does not exist");
  write_file_atomic(other / "band.ts", std::string_view("no model"));
  expect_usage(other / "m.json", "expected SHA-256 " + json["sha256"].get<std::string>());
  json["sha256"] = hex(sha256("no model"));
  write();
  expect_usage(other / "m.json", "cannot be loaded: expected TorchScript");
  json["output"]["liver_channels"] = {3};
  fs::copy_file(models() / "band.ts", other / "band.ts", fs::copy_options::overwrite_existing);
  json["sha256"] = nlohmann::json::parse(read_file(descriptor("band")))["sha256"];
  write();
  expect_usage(other / "m.json", "liver_channels names channel 3");
}

// The probe is small: what only a real slice shows is the case's trouble, and has a code.
TEST_F(TorchSegmenterTest, RejectsTheCaseWhoseOutputIsNoProbability) {
  Volume volume = make_volume({80, 80, 3});
  for (const char* name : {"shape_by_content", "not_finite"}) {
    auto& air = volume.hu;
    if (std::string(name) == "not_finite") std::fill(air.begin(), air.end(), std::int16_t{-1000});
    const auto answer = make_segmenter(descriptor(name), "cpu", {})->segment(volume);
    ASSERT_FALSE(answer.ok()) << name;
    EXPECT_EQ(answer.rejection().code, Code::SEGMENTER_BAD_OUTPUT) << name;
    EXPECT_FALSE(answer.rejection().detail.empty());
  }
  expect_usage(descriptor("out_of_range"), "[0, 1]");
}

// bfloat16 stands in for what a card does in half precision: convolutions in it, probabilities and
// threshold in float32.
TEST_F(TorchSegmenterTest, HalfPrecisionStaysNearAndIsAskedFor) {
  const Volume volume = make_volume({64, 50, 12});
  for (const char* name : {"convolved", "viewed"}) {
    SCOPED_TRACE(name);
    const auto made = [&](const std::string& precision) {
      return std::move(make_segmenter(descriptor(name), "cpu", {0}, precision)->segment(volume))
          .value();
    };
    const Segmentation exact = made("fp32"), usual = made("auto"), half = made("bf16");
    EXPECT_EQ(exact.mask.voxels, usual.mask.voxels);
    EXPECT_EQ(exact.probability, usual.probability);
    double worst = 0;
    std::size_t other = 0, liver = 0;
    for (std::size_t i = 0; i < exact.probability.size(); ++i) {
      worst = std::max(worst,
                       std::abs(half.probability[i] - static_cast<double>(exact.probability[i])));
      other += half.mask.voxels[i] != exact.mask.voxels[i];
      liver += exact.mask.voxels[i];
    }
    EXPECT_GT(liver, exact.probability.size() / 20);
    EXPECT_GT(worst, 0);  // it was in half precision
    EXPECT_LT(worst, 0.05 * 255);
    EXPECT_LT(other, liver / 20);
  }
}

TEST_F(TorchSegmenterTest, PrecisionFollowsOptionAndDescriptor) {
  const auto identity = [&](const fs::path& path, const std::string& precision) {
    return make_segmenter(path, "cpu", {}, precision)->identity();
  };
  const std::string usual = identity(descriptor("band"), "auto");
  EXPECT_EQ(usual, identity(descriptor("band"), "fp32"));
  EXPECT_NE(usual, identity(descriptor("band"), "bf16"));  // other masks, other cache
  // What a descriptor says is for cards: on the CPU nothing changes.
  auto json = nlohmann::json::parse(read_file(descriptor("band")));
  json["precision"] = "bf16";
  write_file_atomic(models() / "told.json", json.dump());
  EXPECT_EQ(load_descriptor(models() / "told.json").precision, "bf16");
  EXPECT_EQ(usual, identity(models() / "told.json", "auto"));
  EXPECT_EQ(half_precision("auto", "bf16", torch_card()), c10::kBFloat16);
  EXPECT_EQ(half_precision("auto", "fp16", torch_card()), c10::kHalf);
  EXPECT_EQ(half_precision("auto", "", torch_card()), std::nullopt);
  EXPECT_EQ(half_precision("fp32", "fp16", torch_card()), std::nullopt);
  for (const char* precision : {"fp16", "int8"}) try {
      (void)identity(descriptor("band"), precision);
      FAIL() << precision;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::usage);
      EXPECT_NE(std::string(e.what()).find("--precision"), std::string::npos) << e.what();
    }
  json["precision"] = "double";
  write_file_atomic(models() / "told.json", json.dump());
  expect_usage(models() / "told.json", "precision");
}

TEST_F(TorchSegmenterTest, EndsAModelThatNeverReturns) {
  const ModelDescriptor model = load_descriptor(descriptor("hangs"));
  try {
    (void)load_checked_network(model, "cpu", "auto", std::chrono::seconds(3));
    FAIL() << "a model that never returns was taken";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::usage);
    EXPECT_NE(std::string(e.what()).find("within 3 s"), std::string::npos) << e.what();
  }
}

// In its own words, without paths; a lack of memory is named.
TEST_F(TorchSegmenterTest, SaysWhyAModelFailedOnAVolume) {
  const Volume volume = make_volume({80, 80, 3});
  for (const auto& [name, words] :
       std::map<std::string, std::string>{{"raises_by_content", "no room for 96 columns in (path)"},
                                          {"grows_by_content", "no memory to run the model"},
                                          {"never_fits", "no memory on the card"}}) {
    const auto answer = make_segmenter(descriptor(name), "cpu", {})->segment(volume);
    ASSERT_FALSE(answer.ok()) << name;
    EXPECT_EQ(answer.rejection().code, Code::SEGMENTER_FAILED) << name;
    EXPECT_NE(answer.rejection().detail.find(words), std::string::npos)
        << answer.rejection().detail;
    EXPECT_EQ(answer.rejection().detail.find("/home"), std::string::npos);
  }
}

// Where memory does not do for a batch, the model is run on smaller ones.
TEST_F(TorchSegmenterTest, PartsABatchThatDoesNotFit) {
  const Volume volume = make_volume({80, 80, 7});
  testing::internal::CaptureStderr();
  const Segmentation parted = segment("one_at_a_time", volume);
  const std::string said = testing::internal::GetCapturedStderr();
  const Segmentation whole = segment("band", volume);
  EXPECT_EQ(parted.mask.voxels, whole.mask.voxels);
  EXPECT_EQ(parted.probability, whole.probability);
  EXPECT_GT(std::count(whole.mask.voxels.begin(), whole.mask.voxels.end(), 1), 0);
  const std::string warning =
      "too little memory to run the model on 2 samples at once: it is run on 1";
  EXPECT_NE(said.find(warning), std::string::npos) << said;
  EXPECT_EQ(said.find(warning), said.rfind(warning)) << said;
}

// Another model file, another descriptor, another way of running it: another identity.
TEST_F(TorchSegmenterTest, IdentityFollowsWhatShapesTheMask) {
  const auto identity = [&](const std::string& name, double coarse) {
    return make_segmenter(descriptor(name), "cpu", {coarse})->identity();
  };
  const std::string band = identity("band", 10);
  EXPECT_EQ(band.size(), 64U);
  EXPECT_EQ(band, identity("band", 10));
  EXPECT_NE(band, identity("band", 0));
  EXPECT_NE(band, identity("turned", 10));
}

}  // namespace
}  // namespace wsp
